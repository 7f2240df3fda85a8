//go:build linux

package uring

import (
	"fmt"
	"math/bits"
	"slices"
	"sync/atomic"
)

// MaxBufRing is the most buffers that a provided-buffer ring can hold.
const MaxBufRing = 1 << 15

// BufRingConfig says what provided-buffer ring to make.
type BufRingConfig struct {
	// Group is the id by which requests name the ring (SQE.BufGroup). One ring of a group can be registered at a time.
	Group uint16

	// Entries is how many buffers the ring can hold: a power of two, at most MaxBufRing.
	Entries uint32

	// Incremental lets the kernel fill a buffer bit by bit over several completions, instead of once
	// (IOU_PBUF_RING_INC, Linux 6.12; Have(IncrementalBuffers) tells).
	Incremental bool

	// Memory, if not nil, is where the ring is to lie: page-aligned mapped memory of BufRingSize(Entries) bytes or more,
	// the caller's, which must stay until the BufRing is closed. If nil, the kernel allocates it (Linux 6.4).
	Memory []byte
}

// bufEntry is struct io_uring_buf, one entry of a provided-buffer ring. The application writes entries between the head
// that the kernel keeps to itself and the tail; in an incremental group the kernel updates addr and len of the entry at
// its head. The field tail exists in entry 0 only: there it is the ring's tail, written by the application (struct
// io_uring_buf_ring).
type bufEntry struct {
	addr uint64
	len  uint32
	bid  uint16
	tail uint16
}

const (
	bufEntrySize = 16
	// bufTailWord is the offset of the 32-bit word made of entry 0's buffer id and the tail. Go has no atomic store of
	// 16 bits; the store of the pair is one, and the id in it is ours to write as well.
	bufTailWord = 12
)

// BufRingSize returns the size in bytes of a provided-buffer ring.
func BufRingSize(entries uint32) int { return int(entries) * bufEntrySize }

// BufRing is a provided-buffer ring: the buffers from which the kernel takes one when a receive has data. It belongs to the
// thread that owns the Ring. The buffers' memory is the caller's; it must be mapped or pinned, and stay until the kernel has
// given the buffer back (Consume says so) or no request can use the ring any more.
type BufRing struct {
	ring    *Ring
	group   uint16
	inc     bool
	mapped  []byte // the kernel's memory, which we have to unmap; nil with BufRingConfig.Memory
	entries []bufEntry
	tailBid *uint32 // shared, written by us: the pair (id of entry 0, tail)

	tail   uint16     // next entry to write
	first  uint16     // the id in entry 0, shadow of the shared word
	last   int32      // the id added last, or -1
	posted uint32     // buffers in the kernel's hands, as far as Consume knows
	bufs   []bufState // by buffer id
}

// bufState is what we know of a buffer without looking at shared memory.
type bufState struct {
	size   uint32
	off    uint32 // where the kernel goes on filling it (incremental)
	next   int32  // the buffer added after this one, or -1: a bundle goes on there
	posted bool
}

// NewBufRing registers a provided-buffer ring. The caller closes it; the ring's Close does so too.
func (r *Ring) NewBufRing(cfg BufRingConfig) (*BufRing, error) {
	if r.fd < 0 {
		return nil, ErrClosed
	}
	if bits.OnesCount32(cfg.Entries) != 1 || cfg.Entries > MaxBufRing {
		return nil, fmt.Errorf("uring: provided-buffer ring of %d entries: not a power of two up to %d", cfg.Entries, MaxBufRing)
	}
	b := &BufRing{
		ring: r, group: cfg.Group, inc: cfg.Incremental,
		last: -1, bufs: make([]bufState, cfg.Entries),
	}
	if err := b.register(cfg); err != nil {
		return nil, err
	}
	r.bufRings = append(r.bufRings, b)
	return b, nil
}

// Group returns the id by which requests name the ring.
func (b *BufRing) Group() uint16 { return b.group }

// Entries returns how many buffers the ring can hold, which is also the number of buffer ids: 0 to Entries-1.
func (b *BufRing) Entries() int { return len(b.bufs) }

// Posted returns how many buffers are in the kernel's hands: added, and not yet given back through Consume.
func (b *BufRing) Posted() int { return int(b.posted) }

// Add gives the size bytes at addr to the kernel as buffer bid, from the next Publish on. It fails, and changes nothing,
// if bid is not below Entries or is in the kernel's hands already; so there is always room.
func (b *BufRing) Add(addr uintptr, size uint32, bid uint16) error {
	switch {
	case b.ring == nil:
		return ErrClosed
	case int(bid) >= len(b.bufs):
		return fmt.Errorf("uring: buffer id %d in a provided-buffer ring of %d", bid, len(b.bufs))
	case b.bufs[bid].posted:
		return fmt.Errorf("uring: buffer %d is in the provided-buffer ring already", bid)
	case size == 0:
		return fmt.Errorf("uring: buffer %d of no size", bid)
	}
	at := int(b.tail) & (len(b.entries) - 1)
	e := &b.entries[at]
	e.addr, e.len = uint64(addr), size
	if at == 0 {
		b.first = bid // written with the tail
	} else {
		e.bid = bid
	}
	b.tail++
	b.posted++
	if b.last >= 0 {
		b.bufs[b.last].next = int32(bid)
	}
	b.bufs[bid] = bufState{size: size, next: -1, posted: true}
	b.last = int32(bid)
	return nil
}

// Publish shows the kernel the buffers added since the last Publish.
func (b *BufRing) Publish() {
	if b.ring == nil {
		return
	}
	// Release: pairs with the kernel's load-acquire of the tail when it selects a buffer, which so sees whole entries.
	atomic.StoreUint32(b.tailBid, tailWord(b.first, b.tail))
}

// Head asks the kernel how far it has taken buffers: a free-running count modulo 2^16 (IORING_REGISTER_PBUF_STATUS,
// Linux 6.8). It may be ahead of Consume by the completions not reaped yet.
func (b *BufRing) Head() (uint16, error) {
	if b.ring == nil {
		return 0, ErrClosed
	}
	status := bufStatus{group: uint32(b.group)}
	if errno := registerStruct(b.ring.fd, registerPbufStatus, &status, 1); errno != 0 {
		return 0, wrapRegister("PBUF_STATUS", errno)
	}
	return uint16(status.head), nil
}

// Close unregisters the ring and unmaps what the kernel allocated for it. The buffers in it are the caller's again, but for
// those that requests in flight have taken already. A second Close does nothing.
func (b *BufRing) Close() error {
	if b.ring == nil {
		return nil
	}
	reg := bufReg{group: b.group}
	if errno := registerStruct(b.ring.fd, unregisterPbufRing, &reg, 1); errno != 0 {
		return wrapRegister("UNREGISTER_PBUF_RING", errno)
	}
	r := b.ring
	r.bufRings = slices.DeleteFunc(r.bufRings, func(o *BufRing) bool { return o == b })
	return b.unmap()
}
