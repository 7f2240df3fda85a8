//go:build linux

package nic

import (
	"fmt"
	"net/netip"
	"slices"

	"golang.org/x/sys/unix"
)

// AnyQueue leaves the choice of a queue to [NewPlan]: the last one that is free.
const AnyQueue = -1

// DefaultJournalDir is where journals are kept if nothing else is said: a
// directory that does not survive a reboot, as the state of a NIC does not.
const DefaultJournalDir = "/run/zctap/nic"

// Want is what a queue is to be prepared for. Its zero value asks for queue 0,
// which the kernel never gives away: set Queue.
type Want struct {
	// Queue is the index of the receive queue, or AnyQueue.
	Queue int
	// Flows are those to be steered to the queue from the start. More can be
	// added to what was applied: [Applied.AddFlow].
	Flows []Flow
	// ManualSteering leaves the RSS table and flow rules to somebody else, for
	// NICs that are steered by other means. Flows is ignored then, and AddFlow
	// does nothing.
	ManualSteering bool
	// RSSContext steers by way of an RSS context of our own that holds the
	// queue alone, for NICs whose flow rules take a context and no queue.
	RSSContext bool
	// JournalDir is the directory of the journals. Empty is DefaultJournalDir,
	// and if that cannot be written, memory: see [Applied.Volatile].
	JournalDir string
	// DryRun makes a plan that is only to be looked at: it needs no capability
	// and cannot be applied.
	DryRun bool
}

// Proto is a transport protocol by its IP protocol number.
type Proto uint8

// The protocols that can be steered.
const (
	TCP Proto = unix.IPPROTO_TCP
	UDP Proto = unix.IPPROTO_UDP
)

// String returns "tcp" or "udp".
func (p Proto) String() string {
	switch p {
	case TCP:
		return "tcp"
	case UDP:
		return "udp"
	}
	return fmt.Sprintf("protocol %d", uint8(p))
}

// A Flow is what a listener or a connection receives: packets to a local
// address and port. The zero Addr stands for every address of both IP versions,
// 0.0.0.0 for every IPv4 address and :: for every IPv6 one; an IPv4 address
// mapped to IPv6 is that IPv4 address.
type Flow struct {
	Proto Proto
	Local netip.AddrPort
}

// String returns such as "tcp 10.0.0.1:9000" or "tcp *:9000".
func (f Flow) String() string {
	if !f.Local.Addr().IsValid() {
		return fmt.Sprintf("%v *:%d", f.Proto, f.Local.Port())
	}
	return fmt.Sprintf("%v %v", f.Proto, f.Local)
}

// matches returns what the rules for the flow match, one for each IP version.
func (f Flow) matches() ([]Match, error) {
	if f.Proto != TCP && f.Proto != UDP {
		return nil, fmt.Errorf("nic: %v: only tcp and udp can be steered: %w", f, unix.EPROTONOSUPPORT)
	}
	if f.Local.Port() == 0 {
		return nil, fmt.Errorf("nic: %v: a flow needs a port: %w", f, unix.EINVAL)
	}
	addr := f.Local.Addr().Unmap().WithZone("")
	m := Match{Proto: f.Proto, Port: f.Local.Port(), IPv6: addr.Is6()}
	switch {
	case !addr.IsValid():
		six := m
		six.IPv6 = true
		return []Match{m, six}, nil
	case !addr.IsUnspecified():
		m.Addr = addr
	}
	return []Match{m}, nil
}

// matchesOf returns those of several flows, each once.
func matchesOf(flows []Flow) ([]Match, error) {
	var all []Match
	for _, f := range flows {
		ms, err := f.matches()
		if err != nil {
			return nil, err
		}
		for _, m := range ms {
			if !slices.Contains(all, m) {
				all = append(all, m)
			}
		}
	}
	return all, nil
}
