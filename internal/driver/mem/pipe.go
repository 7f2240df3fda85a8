// Package mem is a wire in memory that joins two ends in one process, each a
// driver.Driver: what the tests of the stack run over, without root, devices or
// a clock.
//
// A sent frame's bytes are put into a bounded queue, and the receiver's Poll
// copies them from there into buffers of its own pool. That second copy stands
// in for a NIC's DMA: it is made at Poll because a pool's buffers are allocated
// by one goroutine only, the one that receives into it. A test that drives both
// ends from one goroutine with Poll and Send, and never calls Wait, is
// deterministic.
package mem

import (
	"fmt"
	"syscall"

	"github.com/zctap/zctap/internal/buf"
	"github.com/zctap/zctap/internal/driver"
)

// Offload says what an end's device does about the checksums of what it sends.
type Offload uint8

const (
	// Local is two interfaces of one machine: a checksum that Send is asked to
	// complete stays as it is, and all frames arrive vouched for.
	Local Offload = iota
	// Completed is a NIC with transmit offload whose peer has none for receive:
	// Send computes the checksums that it is asked for, and all frames arrive
	// unverified.
	Completed
	// Plain is a device that knows nothing of checksums, as AF_XDP: the sender
	// computes them (Caps.TxChecksum is false), and all frames arrive
	// unverified.
	Plain
)

// maxFrame is the length in bytes of the longest frame: an IPv6 header, the
// payload that its length field can tell of, and a link header with VLAN tags.
const maxFrame = 40 + 65535 + 22

// Config describes one end as if it were a network device.
type Config struct {
	// Pool is what the end receives into. Required.
	Pool *buf.Pool
	// MTU is the length in bytes of the largest IP packet that the end sends.
	// 0: 1500.
	MTU int
	// MaxGSO is the length in bytes of the largest TCP super-segment that the
	// end sends, IP header included, up to 65535; it travels whole, and arrives
	// as one frame. 0: none, the sender's stack cuts its segments.
	MaxGSO int
	// Offload is about the checksums of what the end sends.
	Offload Offload
	// LinkHeader is the length in bytes of the link header of frames in both
	// directions: 0, or 14 for Ethernet, whose content is the stacks' business.
	LinkHeader int
	// NoSplit makes headers share the first buffer with the payload when the
	// end receives, as AF_XDP does. Otherwise they go to Frame.Head, and the
	// payload begins at the start of a buffer.
	NoSplit bool
	// QueueFrames and QueueBytes bound what the end has sent and its peer has
	// not received. 0: 512 frames, 1 MiB. QueueBytes has room for one frame of
	// the largest size in any case.
	QueueFrames, QueueBytes int
}

// withDefaults fills in what is 0, or says what is wrong.
func (c Config) withDefaults() (Config, error) {
	if c.MTU == 0 {
		c.MTU = 1500
	}
	if c.QueueFrames == 0 {
		c.QueueFrames = 512
	}
	if c.QueueBytes == 0 {
		c.QueueBytes = 1 << 20
	}
	switch {
	case c.Pool == nil:
		return c, invalid("no pool to receive into")
	case c.MTU < 68 || c.MTU > 65535: // RFC 791 section 3.2
		return c, invalid("MTU %d is not from 68 to 65535", c.MTU)
	case c.MaxGSO < 0 || c.MaxGSO > 65535:
		return c, invalid("MaxGSO %d is not from 0 to 65535", c.MaxGSO)
	case c.LinkHeader != 0 && c.LinkHeader != 14:
		return c, invalid("link header of %d bytes: 0 and 14 are known", c.LinkHeader)
	case c.Offload > Plain:
		return c, invalid("unknown offload %d", c.Offload)
	case c.MaxGSO > 0 && c.Offload == Plain:
		return c, invalid("a device that cuts up segments has to compute their checksums")
	case c.QueueFrames < 0 || c.QueueBytes < 0:
		return c, invalid("queue of %d frames and %d bytes", c.QueueFrames, c.QueueBytes)
	}
	c.QueueBytes = max(c.QueueBytes, c.LinkHeader+max(c.MTU, c.MaxGSO))
	return c, nil
}

// largest is the length in bytes of the longest frame that the end sends.
func (c *Config) largest() int { return c.LinkHeader + max(c.MTU, c.MaxGSO) }

// caps is the end's driver.Caps. ZeroCopy is false, for the copy that stands in
// for DMA is made by our own CPU.
func (c *Config) caps() driver.Caps {
	return driver.Caps{
		Name: "mem", LinkHeader: c.LinkHeader, MTU: c.MTU, MaxGSO: c.MaxGSO,
		TxChecksum: c.Offload != Plain,
	}
}

// Pipe makes a wire with the ends a and b; EINVAL says what is wrong with a
// Config. What one end sends the other receives, in order and unharmed. The
// ends may be used by two goroutines. The pools stay the caller's: they are
// closed after the ends.
func Pipe(a, b Config) (*End, *End, error) {
	a, err := a.withDefaults()
	if err != nil {
		return nil, nil, err
	}
	if b, err = b.withDefaults(); err != nil {
		return nil, nil, err
	}
	if a.LinkHeader != b.LinkHeader {
		return nil, nil, invalid("link headers of %d and %d bytes on one wire", a.LinkHeader, b.LinkHeader)
	}
	for _, way := range []struct{ from, to *Config }{{&a, &b}, {&b, &a}} {
		r := way.to.Pool.Region()
		if need := buffersFor(way.from.largest(), r.BufferSize()); need > r.Count() {
			return nil, nil, invalid("region of %d buffers can't hold a frame of %d bytes", r.Count(), way.from.largest())
		}
	}
	ab, ba := newQueue(a.QueueFrames, a.QueueBytes), newQueue(b.QueueFrames, b.QueueBytes)
	x, y := newEnd(a, ab, ba), newEnd(b, ba, ab)
	x.peer, y.peer = y, x
	return x, y, nil
}

// buffersFor is how many buffers of size bytes n bytes take.
func buffersFor(n, size int) int { return (n + size - 1) / size }

func invalid(format string, args ...any) error {
	return fmt.Errorf("mem: "+format+": %w", append(args, syscall.EINVAL)...)
}
