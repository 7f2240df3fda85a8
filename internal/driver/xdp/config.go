//go:build linux

package xdp

import (
	"fmt"
	"math/bits"
	"net/netip"
	"os"
	"slices"
	"time"

	"golang.org/x/sys/unix"

	"github.com/zctap/zctap/internal/buf"
)

// Config says which queues of which interface to receive from, and how.
type Config struct {
	// Interface is the interface's name. It is looked up once: the driver stays
	// with the interface when that is renamed.
	Interface string
	// Index is the interface's index, taken instead of an empty Interface.
	Index int
	// Queues are the receive queues to bind to. Empty: all that the interface
	// has, without which the flows that its hash spreads are not all seen.
	Queues []int

	// Pool is what is received into and sent from. Its region has buffers of one
	// page and is not heap memory.
	Pool *buf.Pool

	// Mode is how frames get into the region.
	Mode Mode
	// Headroom is how many bytes more than the kernel's own 256 are left free in
	// front of each frame, in the buffer that it begins in.
	Headroom int
	// Rings are the sizes of the rings of each queue.
	Rings Rings
	// TxBuffers is how many buffers of the pool are set apart for sending. They
	// bound what is on its way out, and a frame takes one for each 4 KiB.
	// 0: 256, or an eighth of the region if that is less.
	TxBuffers int

	// Resolver knows the next hops. Needed for sending: without one, every frame
	// is dropped.
	Resolver Resolver

	// Register, if not nil, is called for each queue when its socket is bound,
	// to put the socket into the map that the XDP program redirects to; fd is the
	// driver's. Its error fails Open. Unregister, if not nil, is called before a
	// registered queue's socket is closed.
	Register   func(queue, fd int) error
	Unregister func(queue int)

	// BusyPoll, if not 0, has each Poll that finds no frame run the interface's
	// receive work itself (SO_PREFER_BUSY_POLL), and is the kernel's limit on one
	// such run, to the microsecond. It is of use with zero-copy drivers, whose
	// interrupts are deferred by the interface's napi_defer_hard_irqs and
	// gro_flush_timeout. Needs CAP_NET_ADMIN.
	BusyPoll time.Duration

	// CloseTimeout bounds how long Close, and an Open that fails, wait for the kernel
	// to let go of the queues. It does so from a work queue, which is a matter of
	// milliseconds, and of seconds on a machine with many times more work than cores.
	// 0: 10 s.
	CloseTimeout time.Duration
}

// Rings are how much a queue's rings hold.
type Rings struct {
	// Fill is the number of buffers that the kernel has to receive into, at least
	// 32: so many frames of up to 3.8 KiB may come between two calls of Poll. 0: as
	// many as the stack will promise its peers when all queues have theirs, and a
	// little more, at most 4,096. So even if all of that comes at one queue at once
	// it finds buffers.
	Fill int
	// RX is the number of frames, or pieces of long ones, that may wait, a power of
	// two and at least 32. One smaller than Fill overflows before buffers run out.
	// 0: as many as Fill.
	RX int
}

// A Mode is how received frames get into the region.
type Mode uint8

// The modes.
const (
	// Auto is ZeroCopy if the interface can, else Copy. What was obtained, and
	// why it is not zero-copy, Driver.Mode and Driver.Fallback tell.
	Auto Mode = iota
	// ZeroCopy: the NIC writes frames into the region.
	ZeroCopy
	// Copy: the kernel copies them there. Works on every Ethernet interface.
	Copy
)

func (m Mode) String() string {
	switch m {
	case Auto:
		return "auto"
	case ZeroCopy:
		return "zero-copy"
	case Copy:
		return "copy"
	}
	return fmt.Sprintf("Mode(%d)", uint8(m))
}

// A Resolver knows the link address of the next hop towards an IP address.
type Resolver interface {
	// MAC returns the link address that a frame to dst is sent to: dst's own, a
	// router's, or a group's. If ok is false it is not known: the frame is
	// dropped, and the resolver sees to it that it will be. It is called on the
	// engine's goroutine, once for each run of frames to one address, and must
	// not block.
	MAC(dst netip.Addr) (mac [6]byte, ok bool)
}

// Defaults and bounds of a Config.
const (
	defaultFill      = 4096
	defaultTxBuffers = 256

	defaultCloseTimeout = 10 * time.Second

	minRing = 32      // the kernel's TX batch, and more than the longest frame has pieces
	maxRing = 1 << 16 // more entries than buffers make no sense

	// stackReserve is the part of a region that the stack promises to nobody: an
	// eighth (internal/stack/tcp, window.go). Half of that is posted besides what
	// it promises, for segments that take more buffers than the average.
	stackReserve = 8
)

// maxSegments is how many chunks a frame can have: the kernel's MAX_SKB_FRAGS
// of 17 and its linear part.
const maxSegments = 18

// withDefaults is c with what it leaves open filled in for an interface with so
// many receive queues; an error is EINVAL and says what is wrong with c.
func (c Config) withDefaults(queues int) (Config, error) {
	if err := c.checkPool(); err != nil {
		return c, err
	}
	if len(c.Queues) == 0 {
		for q := range queues {
			c.Queues = append(c.Queues, q)
		}
	}
	for i, q := range c.Queues {
		switch {
		case q < 0 || q >= queues:
			return c, invalid("queue %d: the interface has %d receive queues, numbered from 0 (see `ethtool -l`)", q, queues)
		case slices.Contains(c.Queues[:i], q):
			return c, invalid("queue %d is listed twice", q)
		}
	}
	if c.Mode > Copy {
		return c, invalid("mode %d", c.Mode)
	}
	if c.CloseTimeout == 0 {
		c.CloseTimeout = defaultCloseTimeout
	}
	if c.BusyPoll < 0 || c.BusyPoll > time.Second {
		return c, invalid("busy polling for %v at a time; at most a second", c.BusyPoll)
	}
	size := c.Pool.Region().BufferSize()
	if c.Headroom < 0 || c.Headroom > size/2 {
		return c, invalid("headroom of %d bytes; 0 to %d", c.Headroom, size/2)
	}
	return c.withSizes()
}

func (c *Config) checkPool() error {
	if c.Pool == nil {
		return invalid("no pool to receive into")
	}
	r := c.Pool.Region()
	if r.Kind() == buf.Heap {
		return invalid("the region is heap memory, which the kernel can't share: use a mapped one")
	}
	// The kernel's rule for chunks that frames may not cross (xdp_umem_reg).
	if page := os.Getpagesize(); r.BufferSize() != page {
		return invalid("the region's buffers are of %d bytes; AF_XDP takes buffers of a page, %d", r.BufferSize(), page)
	}
	return nil
}

// withSizes fills in the sizes of rings, and checks that the region is large
// enough.
func (c Config) withSizes() (Config, error) {
	count := c.Pool.Region().Count()
	if c.TxBuffers == 0 {
		c.TxBuffers = min(defaultTxBuffers, count/8)
	}
	if c.TxBuffers < maxSegments {
		return c, invalid("%d buffers to send from; at least %d (8 times as many in the region, or set TxBuffers)", c.TxBuffers, maxSegments)
	}
	if c.Rings.Fill == 0 {
		c.Rings.Fill = min(defaultFill, max(count-c.TxBuffers-count/stackReserve/2, 0)/(len(c.Queues)+1))
	}
	if c.Rings.Fill < minRing || c.Rings.Fill > maxRing {
		return c, invalid("fill ring of %d buffers; %d to %d (a larger region, or fewer queues, if it was not set)", c.Rings.Fill, minRing, maxRing)
	}
	if c.Rings.RX == 0 {
		c.Rings.RX = int(ringFor(c.Rings.Fill))
	}
	if r := c.Rings.RX; r < minRing || r > maxRing || r&(r-1) != 0 {
		return c, invalid("RX ring of %d entries; a power of two from %d to %d", r, minRing, maxRing)
	}
	if need := c.TxBuffers + len(c.Queues)*c.Rings.Fill; need > count {
		return c, invalid("the region has %d buffers; %d queues with fill rings of %d, and %d buffers to send from, take %d",
			count, len(c.Queues), c.Rings.Fill, c.TxBuffers, need)
	}
	return c, nil
}

// ringFor is the smallest ring for n entries.
func ringFor(n int) uint32 { return max(minRing, uint32(1)<<bits.Len(uint(n-1))) }

func invalid(format string, args ...any) error {
	return fmt.Errorf(format+": %w", append(args, unix.EINVAL)...)
}
