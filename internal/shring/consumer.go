package shring

import (
	"fmt"
	_ "sync/atomic" // see interleave/atomic

	"github.com/zctap/zctap/internal/interleave/atomic"
)

// Consumer is the consuming side of a ring: io_uring's completion queue, AF_XDP's completion and RX rings.
// One goroutine at a time may use it; only Corruptions is open to all. It allocates nothing.
type Consumer struct {
	faults

	headWord *uint32 // shared, written by us
	tailWord *uint32 // shared, written by the peer

	size uint32
	head uint32 // next entry to read; what headWord holds, kept so that the shared word need not be believed
	tail uint32 // the peer's index when last looked at: always in [head, head+size]
}

// NewConsumer makes the consuming side of the ring on w, going on from the indices found there.
// It fails with ErrCorrupt if they are further apart than the ring is long.
func NewConsumer(w Words) (*Consumer, error) {
	tail, head, err := w.load()
	if err != nil {
		return nil, err
	}
	return &Consumer{
		headWord: w.Consumer, tailWord: w.Producer,
		size: w.Size, head: head, tail: tail,
	}, nil
}

// Size returns the number of entries of the ring.
func (c *Consumer) Size() uint32 { return c.size }

// Mask turns a free-running index into a slot: slot = index & Mask().
func (c *Consumer) Mask() uint32 { return c.size - 1 }

// Peek finds up to n published entries. They are start, start+1, ... start+got-1, each in slot index & Mask(), and
// stay unchanged until Release. Peek moves nothing: called again before Release it returns the same start.
// got is 0 when the ring is empty; it is what was known before while the peer's index is impossible (see Err).
func (c *Consumer) Peek(n uint32) (start, got uint32) {
	ready := c.tail - c.head
	if ready < n {
		c.refresh()
		ready = c.tail - c.head
	}
	return c.head, min(n, ready)
}

// Release hands the first n entries of what Peek returned back to the producer, which may overwrite them at once. It
// panics if n is more than was published, because the producer would then be told of entries it never wrote.
func (c *Consumer) Release(n uint32) {
	if ready := c.tail - c.head; n > ready {
		panic(fmt.Sprintf("shring: release of %d entries where %d were published", n, ready))
	}
	if n == 0 {
		return
	}
	c.head += n
	// Release: pairs with the peer's load-acquire of the consumer index; our reads of the entries are done before the
	// peer can see their slots as free.
	atomic.StoreUint32(c.headWord, c.head)
}

// Ready returns how many entries wait to be read, by the peer's present index.
func (c *Consumer) Ready() uint32 {
	c.refresh()
	return c.tail - c.head
}

// refresh looks at the peer's index. A possible one lies between the last one seen and a full ring.
func (c *Consumer) refresh() {
	// Acquire: pairs with the peer's store-release of the producer index (smp_store_release in the kernel); the
	// entries before it are complete.
	seen := atomic.LoadUint32(c.tailWord)
	if seen-c.tail > c.head+c.size-c.tail {
		c.refuse(seen, c.tail, c.head+c.size)
		return
	}
	c.tail = seen
}
