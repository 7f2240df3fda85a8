//go:build linux

package uring

import (
	"errors"
	"fmt"
	"math/bits"
	"os"
)

// MaxRefill is the most entries that a refill ring can hold (IO_RQ_MAX_ENTRIES). A region of more buffers than that needs
// a list of what does not fit yet: no return may be dropped.
const MaxRefill = 1 << 15

// maxArea is the largest area that the kernel takes.
const maxArea = 1 << 40

// Area is memory that the payload of an interface queue goes to.
type Area struct {
	// Memory is whole pages of mapped, writable memory: Go must not move it. The kernel pins it, which counts against
	// RLIMIT_MEMLOCK without CAP_IPC_LOCK. It stays the caller's and must stay mapped until the IFQ's queue is free again
	// (a while after the ring's Close); reading it is possible for as long as it is mapped.
	Memory []byte

	// DMABuf is the descriptor of a DMA buffer of Size bytes, used if Memory is nil (Linux 6.16). The kernel keeps its own
	// reference. There is no copy fallback for such an area: what the NIC did not place there ends a receive with ENOMEM.
	DMABuf int
	Size   int
}

// Len returns the size of the area in bytes.
func (a *Area) Len() int {
	if a.Memory != nil {
		return len(a.Memory)
	}
	return a.Size
}

// ZCRXConfig says which interface queue to receive from, and into what.
type ZCRXConfig struct {
	// Interface is the index of a network interface in the calling thread's network namespace, Queue the number of one of
	// its receive queues. Only what the NIC steers to that queue can be received.
	Interface, Queue int

	// NoDevice registers without an interface (ZCRX_REG_NODEV, Linux 7.1; Have(ZCRXNoDevice) tells): Interface and Queue must
	// be 0, every byte is copied by the kernel, any TCP socket will do, and refill entries are consumed by Flush only.
	NoDevice bool

	Area Area

	// RefillEntries is the size of the refill ring: a power of two, at most MaxRefill.
	RefillEntries uint32

	// RefillMemory, if not nil, is where the refill ring is to lie: whole pages of mapped memory, at least RefillSize bytes,
	// the caller's, which must stay until the ring is closed. If nil, the kernel allocates it.
	RefillMemory []byte

	// BufferSize is how much a buffer of the area holds: a power of two, a page at least. 0 is a page, which every kernel
	// can do. More needs Have(ZCRXBufferSize), a driver that supports it, and an area that is contiguous in pieces of that
	// size (huge pages).
	BufferSize int

	// Events are what the kernel shall tell with completions that carry EventUserData: see ParseZCRXEvent. Not 0 needs
	// Have(ZCRXNotices).
	Events        ZCRXEvents
	EventUserData uint64

	// Stats has the kernel count copies: IFQ.Stats. Needs Have(ZCRXNotices).
	Stats bool
}

// check refuses what the kernel would refuse with a bare EINVAL or EFAULT. It returns what was wrong.
func (c *ZCRXConfig) check() error {
	page := os.Getpagesize()
	switch {
	case c.NoDevice && (c.Interface != 0 || c.Queue != 0):
		return fmt.Errorf("NoDevice with interface %d and queue %d: both must be 0", c.Interface, c.Queue)
	case !c.NoDevice && c.Interface <= 0:
		return fmt.Errorf("interface index %d: take that of a network interface, or NoDevice", c.Interface)
	case c.Queue < 0 || int64(c.Queue) >= 1<<32-1:
		return fmt.Errorf("queue %d is no receive queue", c.Queue)
	case c.Area.Memory == nil && c.NoDevice:
		return errors.New("a DMA buffer without a device: the kernel could not copy to it")
	case c.RefillEntries > MaxRefill || bits.OnesCount32(c.RefillEntries) != 1:
		return fmt.Errorf("a refill ring of %d entries: not a power of two up to %d", c.RefillEntries, MaxRefill)
	case c.Events&^knownZCRXEvents != 0:
		return fmt.Errorf("events %#x: not known", uint32(c.Events&^knownZCRXEvents))
	}
	size := page
	if c.BufferSize != 0 {
		size = c.BufferSize
	}
	switch {
	case size < page || bits.OnesCount(uint(size)) != 1 || int64(size) > 1<<31:
		return fmt.Errorf("buffers of %d bytes: not a power of two from %d up", size, page)
	case c.NoDevice && size != page:
		return fmt.Errorf("buffers of %d bytes: without a device only pages, %d", size, page)
	}
	if err := c.Area.check(size); err != nil {
		return err
	}
	m := c.RefillMemory
	switch {
	case m == nil:
	case AddrOf(m)%uintptr(page) != 0:
		return errors.New("the memory of the refill ring does not start on a page: map it (mmap), do not make it")
	case len(m)%page != 0:
		return fmt.Errorf("the refill ring's memory of %d bytes: not a multiple of the page size, %d", len(m), page)
	case len(m) < RefillSize(c.RefillEntries):
		return fmt.Errorf("the refill ring's memory of %d bytes: %d entries need %d", len(m), c.RefillEntries, RefillSize(c.RefillEntries))
	}
	return nil
}

// check is the same for an area of buffers of the given size.
func (a *Area) check(buffer int) error {
	n := a.Len()
	switch {
	case n <= 0:
		return errors.New("an area of no size")
	case n%buffer != 0:
		return fmt.Errorf("an area of %d bytes: not a multiple of the size of its buffers, %d", n, buffer)
	case int64(n) > maxArea:
		return fmt.Errorf("an area of %d bytes: at most %d", n, int64(maxArea))
	case a.Memory != nil && AddrOf(a.Memory)%uintptr(os.Getpagesize()) != 0:
		return errors.New("the area's memory does not start on a page: map it (mmap), do not make it")
	case a.Memory == nil && a.DMABuf < 0:
		return fmt.Errorf("an area in descriptor %d", a.DMABuf)
	}
	return nil
}

// RefillSize returns how much memory a refill ring of so many entries needs, statistics included, in whole pages. It asks
// the kernel for the size of the ring's header, and reckons with a page where the kernel can't say.
func RefillSize(entries uint32) int {
	page := os.Getpagesize()
	n := refillStatsOffset(refillHeader(), entries) + zcrxStatsSize
	return (n + page - 1) &^ (page - 1)
}

// refillHeader is how much room the refill ring's words take before the entries.
func refillHeader() int {
	if q, err := QueryZCRX(); err == nil && q.RefillAlign > 0 {
		return (q.RefillHeader + q.RefillAlign - 1) / q.RefillAlign * q.RefillAlign
	}
	return os.Getpagesize()
}

const zcrxStatsSize = 16 // of struct zcrx_stats

// refillStatsOffset is where the statistics go in the region of a refill ring: behind the entries, 8-byte aligned.
func refillStatsOffset(header int, entries uint32) int {
	return (header + int(entries)*refillEntrySize + 7) &^ 7
}
