//go:build linux

package steer

import "fmt"

// A Verdict is what the program decided about a frame, and why.
type Verdict uint8

// The verdicts. The first three are redirected, the others left to the kernel.
const (
	// RedirectListener: TCP or UDP to an address and port of AddListener, or UDP to
	// those of AddGroup.
	RedirectListener Verdict = iota
	// RedirectFlow: TCP or UDP of a flow of AddFlow.
	RedirectFlow
	// RedirectError: an ICMP error about a packet of a listener or flow.
	RedirectError

	// PassNoSocket: matched, but the queue has no socket.
	PassNoSocket
	// PassUnmatched: TCP, UDP or an ICMP error that is not about us.
	PassUnmatched
	// PassNotIP: neither IPv4 nor IPv6, such as ARP.
	PassNotIP
	// PassProtocol: IP, but neither TCP nor UDP nor an ICMP error: a ping,
	// neighbor discovery, a tunnel.
	PassProtocol
	// PassFragment: a fragment of an IP packet, also the first.
	PassFragment
	// PassExtension: IPv6 with more extension headers than are walked, or with a
	// routing header that is not at its end.
	PassExtension
	// PassVLAN: of a VLAN, and so another interface's, with a tag of a service
	// provider (802.1ad), or with more than one tag.
	PassVLAN
	// PassGroup: sent to a group of stations, multicast or broadcast, and not a plain
	// datagram to a group of AddGroup, or to all hosts and a port of AddListener.
	PassGroup
	// PassMalformed: it ends within a header, or is not of the version that it
	// says it is.
	PassMalformed

	// Verdicts is the number of verdicts.
	Verdicts int = iota
)

var verdictNames = [Verdicts]string{
	RedirectListener: "redirect-listener",
	RedirectFlow:     "redirect-flow",
	RedirectError:    "redirect-icmp-error",
	PassNoSocket:     "pass-no-socket",
	PassUnmatched:    "pass-unmatched",
	PassNotIP:        "pass-not-ip",
	PassProtocol:     "pass-protocol",
	PassFragment:     "pass-fragment",
	PassExtension:    "pass-extension-header",
	PassVLAN:         "pass-vlan",
	PassGroup:        "pass-group",
	PassMalformed:    "pass-malformed",
}

// String returns a name that does for a metric's label, such as "pass-not-ip".
func (v Verdict) String() string {
	if int(v) < Verdicts {
		return verdictNames[v]
	}
	return fmt.Sprintf("verdict-%d", uint8(v))
}

// Redirected reports whether the frame was sent to a socket.
func (v Verdict) Redirected() bool { return v <= RedirectError }

// label is where the program jumps to for a verdict.
func (v Verdict) label() string { return v.String() }

// Counters are numbers of frames, by Verdict. A redirected frame is lost all the
// same if the socket's rings are full: the socket counts that (XDP_STATISTICS).
type Counters [Verdicts]uint64

// Redirected is the number of frames sent to sockets.
func (c *Counters) Redirected() uint64 {
	return c[RedirectListener] + c[RedirectFlow] + c[RedirectError]
}

// Passed is the number of frames left to the kernel.
func (c *Counters) Passed() uint64 {
	var n uint64
	for v, frames := range c {
		if !Verdict(v).Redirected() {
			n += frames
		}
	}
	return n
}

// Counters reads the counters of the program since Load, summed over the CPUs. The
// program goes on counting meanwhile, so that they are of about the same time.
func (p *Program) Counters() (Counters, error) {
	if err := p.use(); err != nil {
		return Counters{}, fmt.Errorf("steer: counters: %w", err)
	}
	defer p.mu.RUnlock()
	var c Counters
	var perCPU []uint64
	for v := range c {
		if err := p.counters.Lookup(uint32(v), &perCPU); err != nil {
			return Counters{}, fmt.Errorf("steer: reading the counter %s: %w", Verdict(v), err)
		}
		for _, n := range perCPU {
			c[v] += n
		}
	}
	return c, nil
}
