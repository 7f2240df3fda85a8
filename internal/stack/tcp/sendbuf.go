package tcp

import (
	"net"
	"sync"
	"sync/atomic"
	"syscall"

	"github.com/zctap/zctap/internal/park"
)

// A SendBuffer is what the application has written and the peer has not
// acknowledged: a list of blocks, filled by writers, read and emptied by the
// engine. Its memory is taken when something is written and released when all
// is acknowledged.
//
// Writers may be any goroutines; mu makes them one producer. The engine takes
// no lock but where it says so, and never waits for one, but for sendMemory's while
// that is short. While the buffer is
// not empty the engine owns head, and the blocks below the one at the end; while
// it is empty the list belongs to whoever holds mu.
type SendBuffer struct {
	// Notify is called by a writer when there is something new and the engine
	// has been told nothing since it last looked: it makes the engine call
	// Conn.Kick. It must not block. Set before the first write.
	Notify func()
	// The parker waits for space. Its SetDeadline is the write deadline; its
	// Close, by the application, makes writes fail with net.ErrClosed.
	park.Parker

	limit  uint64      // bytes
	memory *sendMemory // of all the stack's buffers

	mu   sync.Mutex // writers
	head *sendBlock // see above
	tail *sendBlock // holders of mu

	wrote  atomic.Uint64         // bytes ever written; writers
	acked  atomic.Uint64         // bytes ever acknowledged; engine
	told   atomic.Bool           // engine was notified; a writer sets it, the engine takes it back
	shut   atomic.Bool           // no write may begin any more
	failed atomic.Pointer[error] // why nothing will be sent any more; engine, once

	// For want of memory; see sendMemory.
	short          atomic.Bool // no block to write to; take sets it, who has one for b takes it back
	granted        atomic.Bool // memory for a block was handed over; give sets it, the writer takes it back
	queued         bool        // was in line since it last left; holders of mu
	inLine         bool        // with those below: holders of memory.mu
	before, behind *SendBuffer
}

// NewSendBuffer makes an empty buffer for up to limit bytes, of memory; nil: of as
// much as it likes.
func NewSendBuffer(limit int, memory *sendMemory) *SendBuffer {
	b := &SendBuffer{limit: uint64(limit), memory: memory}
	b.Init(func() bool { return b.space() > 0 && !b.short.Load() || b.ended() != nil })
	return b
}

func (b *SendBuffer) space() uint64 { return b.limit - (b.wrote.Load() - b.acked.Load()) }

// Write buffers p, waiting for space, and returns how much it took: all, or
// err is not nil. Errors: EPIPE after Shut, what the connection failed with
// (ECONNRESET, ETIMEDOUT), net.ErrClosed after Close, os.ErrDeadlineExceeded.
func (b *SendBuffer) Write(p []byte) (n int, err error) {
	b.mu.Lock()
	for err = b.ended(); err == nil && n < len(p); {
		if err = b.Park(); err == nil {
			err = b.ended()
		}
		if err == nil {
			n += b.fill(p[n:])
		}
	}
	b.memory.leave(b)
	b.mu.Unlock()
	b.left()
	return n, err
}

// TryWrite is Write without waiting: it takes what there is space for, and nothing
// while another Write is at it.
func (b *SendBuffer) TryWrite(p []byte) (n int, err error) {
	if !b.mu.TryLock() {
		return 0, nil
	}
	if err = b.ended(); err == nil {
		_, err = b.Try() // the deadline
	}
	if err == nil {
		n = b.fill(p)
	}
	b.memory.leave(b)
	b.mu.Unlock()
	b.left()
	return n, err
}

// Shut makes writes fail with EPIPE, also one that waits. Any goroutine; the
// engine's CloseWrite and Close do it too, but only later than the application
// asked.
func (b *SendBuffer) Shut() {
	b.shut.Store(true)
	b.Unpark()
}

// Buffered is the number of bytes written and not acknowledged. Any goroutine.
func (b *SendBuffer) Buffered() int { return int(b.wrote.Load() - b.acked.Load()) }

// ended is why no more can be written, or nil.
func (b *SendBuffer) ended() error {
	switch e := b.failed.Load(); {
	case b.Closed():
		return net.ErrClosed
	case e != nil:
		return *e
	case b.shut.Load():
		return syscall.EPIPE
	}
	return nil
}

// fill copies as much of p as there is space for; the caller holds mu.
func (b *SendBuffer) fill(p []byte) (n int) {
	p = p[:min(uint64(len(p)), b.space())]
	for n < len(p) {
		end := b.wrote.Load()
		t := b.tail
		if t == nil || end == t.end() {
			if t = b.grow(end, len(p)-n); t == nil {
				break
			}
		}
		k := copy(t.mem[end-t.start:], p[n:])
		n += k
		// Release: pairs with the engine's load in Buffered and peek. Bytes and
		// links are written before.
		b.wrote.Store(end + uint64(k))
	}
	if n > 0 {
		b.tell()
	}
	return n
}

// grow adds a block for n bytes from stream offset end on, or returns nil: b is in
// line for memory. The caller holds mu.
func (b *SendBuffer) grow(end uint64, n int) *sendBlock {
	t := b.tail
	large := t != nil || n > smallBlock
	for large && !b.memory.take(b) {
		// After short was set, on which ack looks.
		if b.acked.Load() == end {
			b.short.Store(false)
			b.clear()
			t, large = nil, false
		} else {
			return nil
		}
	}
	next := newSendBlock(end, large)
	if t == nil {
		b.head = next
	} else {
		t.next = next
	}
	b.tail = next
	return next
}

// tell notifies the engine, unless it was told since it last looked.
func (b *SendBuffer) tell() {
	if !b.told.Swap(true) && b.Notify != nil {
		b.Notify()
	}
}

// left runs when a writer has let go of mu. What the engine tried meanwhile, and
// had to leave because the writer held mu, is made up for.
func (b *SendBuffer) left() {
	if b.shut.Load() {
		b.tell() // see sealed
	}
	b.tidy()
}

// tidy releases the blocks when nobody needs them any more: all is acknowledged,
// or nothing will be sent. It gives up if a writer is active, who does it then.
func (b *SendBuffer) tidy() {
	if !b.unneeded() || !b.mu.TryLock() {
		return
	}
	if b.unneeded() {
		b.clear()
	}
	b.mu.Unlock()
}

// clear releases the blocks, which nobody needs; the caller holds mu.
func (b *SendBuffer) clear() {
	for t := b.head; t != nil; {
		next := t.next
		t.release(b.memory)
		t = next
	}
	b.head, b.tail = nil, nil
}

func (b *SendBuffer) unneeded() bool {
	return b.acked.Load() == b.wrote.Load() || b.failed.Load() != nil
}

// look is the engine's: whoever writes from here on notifies it again.
func (b *SendBuffer) look() { b.told.Store(false) }

// A sendCursor is where the engine peeked into a SendBuffer, so that a large one is not walked
// over for each segment: last, and farthest. What is sent again comes from the one, and
// what is new from the other.
type sendCursor struct{ near, far *sendBlock }

// peek returns up to n bytes from off bytes behind the oldest unacknowledged
// one, in two pieces. Fewer than n mean that they lie in more than two blocks.
// The bytes stay as they are until ack frees them. Engine only; the caller has
// seen in Buffered that they are there.
func (b *SendBuffer) peek(c *sendCursor, off, n int) (p [2][]byte) {
	if n == 0 {
		return p
	}
	at := b.acked.Load() + uint64(off)
	t := b.head
	if c.near != nil && c.near.start <= at {
		t = c.near
	}
	if c.far != nil && c.far.start <= at {
		t = c.far
	}
	for at >= t.end() {
		t = t.next
	}
	if c.far == nil || c.far.start < t.start {
		c.far = t
	} else {
		c.near = t
	}
	p[0] = t.mem[at-t.start:]
	if len(p[0]) >= n {
		p[0] = p[0][:n]
		return p
	}
	n -= len(p[0])
	p[1] = t.next.mem[:min(n, len(t.next.mem))]
	return p
}

// ack frees the oldest n bytes. Engine only.
func (b *SendBuffer) ack(c *sendCursor, n int) {
	acked := b.acked.Load() + uint64(n)
	if acked < b.wrote.Load() {
		// Blocks that end here are linked to one with more, which is not
		// where writers are: they are the engine's.
		for t := b.head; t.end() <= acked; t = b.head {
			b.head = t.next
			if c.near == t {
				c.near = nil
			}
			if c.far == t {
				c.far = nil
			}
			t.release(b.memory)
		}
	} else {
		*c = sendCursor{} // from here on whoever holds mu may release all
	}
	b.acked.Store(acked) // release: pairs with a writer's load in space
	b.tidy()
	if b.short.Load() && acked == b.wrote.Load() {
		b.short.Store(false) // it may have a small block; see grow
		b.Unpark()
	}
	if b.space() >= b.limit/4 {
		// A writer that is faster than the connection is not woken for every
		// acknowledgment.
		b.Unpark()
	}
}

// fail ends the buffer: nothing will be sent any more, and writes fail with err.
// Calls after the first change nothing. Engine only.
func (b *SendBuffer) fail(err error) {
	if b.failed.CompareAndSwap(nil, &err) {
		b.tidy()
		b.Unpark()
	}
}

// sealed reports whether nothing will be written any more. A writer that was
// active when Shut came may be at it still: sealed is false then, and the writer
// notifies the engine when it has left. Engine only.
func (b *SendBuffer) sealed() bool {
	if !b.shut.Load() || !b.mu.TryLock() {
		return false
	}
	b.mu.Unlock()
	return true
}
