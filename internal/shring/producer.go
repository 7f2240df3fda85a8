package shring

import (
	"fmt"
	_ "sync/atomic" // see interleave/atomic

	"github.com/zctap/zctap/internal/interleave/atomic"
)

// NeedWakeup is the bit of a ring's flag word by which the kernel asks to be told of new entries with a system call.
// IORING_SQ_NEED_WAKEUP (linux/io_uring.h) and XDP_RING_NEED_WAKEUP (linux/if_xdp.h) are both this bit.
const NeedWakeup uint32 = 1 << 0

// Producer is the producing side of a ring: io_uring's submission queue and refill ring, AF_XDP's fill and TX rings.
// One goroutine at a time may use it; only Corruptions is open to all. It allocates nothing.
type Producer struct {
	faults

	tailWord *uint32 // shared, written by us
	headWord *uint32 // shared, written by the peer
	flags    *uint32 // shared, written by the kernel; nil if the ring has none

	size uint32
	tail uint32 // next entry to publish; what tailWord holds, kept so that the shared word need not be believed
	head uint32 // the peer's index when last looked at: always in [tail-size, tail]
}

// NewProducer makes the producing side of the ring on w, going on from the indices found there.
// It fails with ErrCorrupt if they are further apart than the ring is long.
func NewProducer(w Words) (*Producer, error) {
	tail, head, err := w.load()
	if err != nil {
		return nil, err
	}
	return &Producer{
		tailWord: w.Producer, headWord: w.Consumer, flags: w.Flags,
		size: w.Size, tail: tail, head: head,
	}, nil
}

// Size returns the number of entries of the ring.
func (p *Producer) Size() uint32 { return p.size }

// Mask turns a free-running index into a slot: slot = index & Mask().
func (p *Producer) Mask() uint32 { return p.size - 1 }

// Reserve finds up to n free entries. They are start, start+1, ... start+got-1, each in slot index & Mask(), and
// belong to the caller until Submit. Reserve moves nothing: called again before Submit it returns the same start.
// got is 0 when the ring is full, and also while the peer's index is impossible (see Err).
func (p *Producer) Reserve(n uint32) (start, got uint32) {
	free := p.size - (p.tail - p.head)
	if free < n {
		p.refresh()
		free = p.size - (p.tail - p.head)
	}
	return p.tail, min(n, free)
}

// Submit publishes the first n entries of what Reserve returned; the caller has filled them. It panics if n is more
// than was free, because that would hand the peer entries it has not yet read.
func (p *Producer) Submit(n uint32) {
	if free := p.size - (p.tail - p.head); n > free {
		panic(fmt.Sprintf("shring: submit of %d entries where %d were reserved", n, free))
	}
	if n == 0 {
		return
	}
	p.tail += n
	// Release: pairs with the peer's load-acquire of the producer index (smp_load_acquire in the kernel), which
	// so sees the entries written before this store.
	atomic.StoreUint32(p.tailWord, p.tail)
}

// InFlight returns how many published entries the peer has not consumed yet, by the peer's present index.
func (p *Producer) InFlight() uint32 {
	p.refresh()
	return p.tail - p.head
}

// Flags returns the ring's flag word, or 0 if it has none.
func (p *Producer) Flags() uint32 {
	if p.flags == nil {
		return 0
	}
	// Acquire: pairs with the kernel's write of the word. See NeedsWakeup for the full barrier before it.
	return atomic.LoadUint32(p.flags)
}

// NeedsWakeup reports whether the kernel sleeps and must be woken with a system call to see what Submit published.
// Ask after Submit: the kernel sets the flag and then looks at the producer index once more, we store the
// index and then look at the flag. With a full barrier between the two steps on both sides at least one sees
// the other. Ours is in Submit: Go's atomic store and this atomic load are sequentially consistent, so the load can not
// pass the store, as it could with a mere store-release.
func (p *Producer) NeedsWakeup() bool { return p.Flags()&NeedWakeup != 0 }

// refresh looks at the peer's index. A possible one lies between the last one seen and our own.
func (p *Producer) refresh() {
	// Acquire: pairs with the peer's store-release of the consumer index. The peer has read every entry before it,
	// so the slots may be written again.
	seen := atomic.LoadUint32(p.headWord)
	if seen-p.head > p.tail-p.head {
		p.refuse(seen, p.head, p.tail)
		return
	}
	p.head = seen
}
