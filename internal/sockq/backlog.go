package sockq

import (
	"net"

	"github.com/zctap/zctap/internal/interleave/atomic"
	"github.com/zctap/zctap/internal/interleave/sync"
	"github.com/zctap/zctap/internal/park"
	"github.com/zctap/zctap/internal/reuse"
)

// A Backlog is a listener's connections, complete and not yet accepted. It is
// bounded by its engine, which refuses connections beyond the listener's
// backlog (Len tells).
type Backlog[T any] struct {
	Source
	items fifo[T]
	park.Parker
	end atomic.Pointer[error] // what Abort was told; producer

	mu sync.Mutex // consumers
}

// NewBacklog makes an empty backlog.
func NewBacklog[T any]() *Backlog[T] {
	b := &Backlog[T]{}
	b.items.init(new(reuse.Pool[chunk[T]]))
	b.Init(b.Ready)
	return b
}

// Push adds a connection and shows it. Producer only.
func (b *Backlog[T]) Push(c T) {
	b.items.push(c)
	b.items.publish()
	b.Raise()
	b.Unpark()
}

// Len is the number of connections that wait.
func (b *Backlog[T]) Len() int { return b.items.len() }

// Ready reports whether Poll has something to give. Any goroutine.
func (b *Backlog[T]) Ready() bool { return b.items.len() > 0 || b.end.Load() != nil }

// Accept waits for a connection and takes it. Errors: net.ErrClosed,
// os.ErrDeadlineExceeded, EBUSY while armed, what Abort was told.
func (b *Backlog[T]) Accept() (c T, err error) {
	b.mu.Lock()
	defer b.leave(&b.mu, b.Ready)
	if b.Armed() {
		return c, errArmed
	}
	if err := b.Park(); err != nil {
		return c, err
	}
	if end := b.end.Load(); end != nil {
		return c, *end
	}
	c, _ = b.take()
	return c, nil
}

// Poll takes a connection without waiting; ok is false if there is none. more
// says that another one waits. See Queue.Poll.
func (b *Backlog[T]) Poll() (c T, ok, more bool, err error) {
	if !b.mu.TryLock() {
		return c, false, false, nil
	}
	defer b.mu.Unlock()
	if b.Closed() {
		return c, false, false, net.ErrClosed
	}
	if end := b.end.Load(); end != nil {
		return c, false, false, *end
	}
	c, ok = b.take()
	return c, ok, b.items.len() > 0, nil
}

func (b *Backlog[T]) take() (c T, ok bool) {
	p := b.items.peek()
	if p == nil {
		return c, false
	}
	var none T
	c, *p = *p, none // the chunk outlives the item: don't keep the connection
	b.items.drop()
	b.items.settle()
	return c, true
}

// Close ends the consumer's side: Accept fails with net.ErrClosed.
func (b *Backlog[T]) Close() {
	b.Parker.Close()
	b.mu.Lock()
	defer b.mu.Unlock()
	b.Disarm()
}

// Abort ends b with err, as an engine that has failed does: whoever waits or comes
// later is told, before any connection that waits, and so is who armed b. When it
// returns no consumer takes a connection any more. Producer only.
func (b *Backlog[T]) Abort(err error) {
	b.end.Store(&err)
	b.Raise()
	b.Unpark()
	b.mu.Lock() // a consumer that waited with it was woken
	defer b.leave(&b.mu, b.Ready)
}

// Drain takes what was never accepted, for the engine to reset. After Close or
// Abort.
func (b *Backlog[T]) Drain(f func(T)) {
	for c, ok := b.take(); ok; c, ok = b.take() {
		f(c)
	}
}
