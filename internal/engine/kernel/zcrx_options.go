//go:build linux

package kernel

import (
	"errors"
	"fmt"
	"math/bits"
	"net/netip"
	"os"
	"syscall"

	"golang.org/x/sys/unix"

	"github.com/zctap/zctap/internal/buf"
	"github.com/zctap/zctap/internal/uring"
)

// ZCRXOptions say which interface queue the engine receives from, and how. The
// queue is prepared already (package nic): channels, header split, RSS.
type ZCRXOptions struct {
	// Interface is the index of the interface in the network namespace of the
	// thread that calls New, Queue the number of its receive queue.
	Interface, Queue int

	// NoDevice does without an interface (ZCRX_REG_NODEV): the whole protocol
	// runs over any interface, loopback included, and the kernel copies every
	// byte. For tests, and to learn the price of copies. Interface and Queue are 0.
	NoDevice bool

	// BufferSize is the size of the kernel's buffers (rx_buf_len), 0 a page. It
	// divides the region's buffers; beyond a page the region must be contiguous
	// in pieces of it (huge pages), and the driver must know of such buffers.
	BufferSize int

	// Reserve is how many of the region's buffers are kept back from the NIC: for
	// UDP, for payload that is copied out, and for small payloads. 0 is an eighth
	// of the region.
	Reserve int

	// Areas is in how many areas the NIC's part of the region is registered; 0 is
	// one. More need Linux 7.3.
	Areas int

	// Rings is how many rings receive from the queue, each on a thread of its own,
	// among which the connections are spread; 0 is one. More need Linux 6.19.
	Rings int

	// DMABuf, if not 0, is the descriptor of a DMA buffer, of which the region's
	// beginning is a mapping: it is the area, as long as it is, and Reserve is not
	// looked at. Payload that the NIC did not put there itself can't be copied there,
	// and ends its connection.
	DMABuf int

	// RefillEntries is the size of the refill ring, a power of two up to
	// uring.MaxRefill. 0 is as many as the NIC has buffers, as far as that goes.
	// What does not fit waits in a list.
	RefillEntries int

	// RefillMemory has the refill ring in memory that the engine maps, rather than
	// in the kernel's.
	RefillMemory bool

	// Mixed asks for a completion queue with entries of both sizes (Linux 6.18).
	Mixed bool

	// Steer makes the NIC put what is for local into the queue: a listener's address,
	// without one if it listens for both families, or a dialed connection's. undo
	// takes it back, when the listener and all connections that it accepted are
	// closed. Any goroutine of ours calls them. nil: it is done already, or not at
	// all; then the kernel copies.
	Steer func(local netip.AddrPort) (undo func() error, err error)

	// SteerDials has dialed connections steered too, each by a rule of its own, of
	// which NICs have few hundreds or thousands. Else, and where that fails, the
	// kernel copies what they receive.
	SteerDials bool

	// NAPI is the id of what polls the queue (netdev queue-get, napi-id), asked for
	// when the ring has been bound to it and when connections seem to come in by
	// another. nil: connections that come in by another queue are not recognized,
	// and what the kernel copies from the linear part of their packets is counted
	// as not copied.
	NAPI func() (uint32, error)

	// Counters are those of the driver for the queue, looked at about once a second
	// while connections wait for payload and none comes: packets that it received,
	// and that it dropped. ENODEV is that the interface is no more, which ends the
	// engine. nil: neither that nor a queue whose packets are all dropped, for their
	// headers are not split off, is recognized.
	Counters func() (received, dropped uint64, err error)

	// Incoming is the id of what polled the last packet of a socket; nil asks the
	// kernel (SO_INCOMING_NAPI_ID). Tests move flows to other queues here.
	Incoming func(fd int) (uint32, error)

	// QueueFree waits until the queue is bound to no ring any more, for 5 seconds at
	// most (nic.WaitQueueFree). Called when the ring has been closed.
	QueueFree func() error

	// Ring makes the ring; nil is uring.New. Tests put a ring of their own here.
	Ring func(entries uint32, p uring.Params) (uring.Instance, error)
}

// Check says what is wrong with o on a region of pool, or what the kernel can't do for it or
// this process may not. It touches no interface: there is no need to prepare one for an engine
// that can't be.
func (o *ZCRXOptions) Check(pool *buf.Pool) error {
	_, err := zcrxCandidates(*o)
	var p zcrxPlan
	if err == nil {
		p, err = o.plan(pool.Region())
	}
	if err == nil {
		_, err = o.probe()
	}
	if err == nil {
		err = o.tryPin(p, pool.Region())
	}
	if err != nil {
		return fmt.Errorf("kernel: backend %s: %w", BackendZCRX, err)
	}
	return nil
}

// tryPin finds out whether all that the kernel pins for the engine may be pinned: the NIC's part
// of the region, the refill ring and the rings. A DMA buffer is not pinned, nor is anything by a
// ring of the caller's.
func (o *ZCRXOptions) tryPin(p zcrxPlan, r *buf.Region) error {
	if o.Ring != nil {
		return nil
	}
	rings, err := unix.Mmap(-1, 0, uring.RefillSize(p.refill)+max(o.Rings, 1)*zcrxRingBytes, unix.PROT_READ|unix.PROT_WRITE, unix.MAP_PRIVATE|unix.MAP_ANON)
	if err != nil {
		return os.NewSyscallError("mmap", err)
	}
	area := r.Memory()[:p.lent*r.BufferSize()]
	if o.DMABuf != 0 {
		area = nil
	}
	err = uring.TryPin(area, rings)
	return errors.Join(err, os.NewSyscallError("munmap", unix.Munmap(rings)))
}

func badZCRX(format string, args ...any) error {
	return fmt.Errorf(format+": %w", append(args, syscall.EINVAL)...)
}

// zcrxPlan is what ZCRXOptions come to for one region.
type zcrxPlan struct {
	lent   int    // buffers of the region that are the NIC's
	areas  int    // of the same size that they make up
	unit   int    // bytes of a buffer of the kernel's
	refill uint32 // entries
}

func (o *ZCRXOptions) plan(r *buf.Region) (p zcrxPlan, err error) {
	page, size, count := os.Getpagesize(), r.BufferSize(), r.Count()
	p.unit = o.BufferSize
	if p.unit == 0 {
		p.unit = page
	}
	switch {
	case p.unit < page || bits.OnesCount(uint(p.unit)) != 1:
		return p, badZCRX("buffers of %d bytes: not a power of two from %d, a page, up", p.unit, page)
	case size%p.unit != 0:
		return p, badZCRX("buffers of %d bytes do not divide the region's, of %d: make the region's as large", p.unit, size)
	case o.Reserve < 0:
		return p, badZCRX("a reserve of %d buffers", o.Reserve)
	}
	if p.lent, err = o.lend(r); err != nil {
		return p, err
	}
	p.areas = max(o.Areas, 1)
	if p.lent -= p.lent % p.areas; p.lent < 1 || o.Areas < 0 || p.areas > 1 && o.DMABuf != 0 {
		return p, badZCRX("%d areas of %d buffers", o.Areas, count)
	}
	switch n := o.RefillEntries; {
	case n < 0 || n > uring.MaxRefill || bits.OnesCount(uint(n)) > 1:
		return p, badZCRX("a refill ring of %d entries: not a power of two up to %d", n, uring.MaxRefill)
	case n > 0:
		p.refill = uint32(n)
	default:
		for p.refill = 1; int(p.refill) < min(p.lent*(size/p.unit), uring.MaxRefill); {
			p.refill *= 2
		}
	}
	return p, nil
}

// lend is how many buffers of r are the NIC's.
func (o *ZCRXOptions) lend(r *buf.Region) (int, error) {
	if o.DMABuf != 0 {
		n, err := unix.Seek(o.DMABuf, 0, unix.SEEK_END)
		if err != nil {
			return 0, fmt.Errorf("size of the DMA buffer: %w", os.NewSyscallError("lseek", err))
		}
		size := int64(r.BufferSize())
		if n%size != 0 || n == 0 || n/size >= int64(r.Count()) {
			return 0, badZCRX("a DMA buffer of %d bytes can't be the beginning of a region of %d buffers of %d bytes", n, r.Count(), size)
		}
		return int(n / size), nil
	}
	reserve := o.Reserve
	if reserve == 0 {
		reserve = max(r.Count()/8, 1)
	}
	if reserve >= r.Count() {
		return 0, badZCRX("a region of %d buffers, of which %d are kept in reserve, has none for the NIC", r.Count(), reserve)
	}
	return r.Count() - reserve, nil
}
