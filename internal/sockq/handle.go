package sockq

import (
	"net"

	"github.com/zctap/zctap/internal/interleave/atomic"
)

// dispatchBatches bounds how many batches a handler gets before the engine looks
// after itself again.
const dispatchBatches = 16

// A Handler takes completions on the engine's thread, in place of a goroutine that
// calls Next.
type Handler struct {
	// Visit is called for each source that has something, as Next's f is.
	Visit func(s *Source) (again, more bool)
	// Deliver is called behind the Visits of a batch, to work on what they took.
	Deliver func()
}

// A Thread is one of the operating system's. 0 is none.
type Thread int32

// handling is a CQ's part that concerns handlers.
type handling struct {
	handler atomic.Pointer[Handler]
	left    atomic.Bool  // sources are pending; holders of mu
	thread  atomic.Int32 // where Deliver runs now; 0: nowhere. Holders of mu
	kick    func()       // set by the engine, before there is a handler
}

// OnKick says how to have the engine call Dispatch soon; fn must not block. While the
// engine is made, by itself; of several, the last one counts.
func (q *CQ) OnKick(fn func()) { q.kick = fn }

func (q *CQ) wakeEngine() {
	if q.kick != nil {
		q.kick()
	}
}

// Handle has the engine call h from now on, or nobody if h is nil. Whoever waits in Next,
// or comes while there is a handler, gets EBUSY. When it returns the handler before does
// not run any more; but called by that handler itself it takes effect when Deliver has
// returned. net.ErrClosed after Close, what Fail was told after that.
func (q *CQ) Handle(h *Handler) error {
	if q.Closed() {
		return net.ErrClosed
	}
	if err := q.Failure(); err != nil && h != nil {
		return err
	}
	q.handler.Store(h)
	if q.Handling() {
		return nil
	}
	q.Unpark()
	q.mu.Lock() // who waited, or handled, has left
	q.left.Store(len(q.pending) > 0)
	q.mu.Unlock()
	if h == nil {
		return nil
	}
	if err := q.Failure(); err != nil {
		// Just now: the engine may have found no handler, or mu taken, for the last time.
		q.handler.CompareAndSwap(h, nil)
		return err
	}
	q.wakeEngine()
	return nil
}

// Handled reports whether there is a handler.
func (q *CQ) Handled() bool { return q.handler.Load() != nil }

// Handling reports whether the caller is the handler, and so on the engine's thread:
// it must not wait for anything that the engine does.
func (q *CQ) Handling() bool {
	t := Thread(q.thread.Load())
	return t != 0 && t == CurrentThread()
}

// Ready reports whether Dispatch has something to do. The engine looks before it
// sleeps, after it has said so to whom it could be kicked by.
func (q *CQ) Ready() bool {
	// If some thread runs the handler it looks again.
	return q.waits() && q.thread.Load() == 0
}

func (q *CQ) waits() bool {
	return q.handler.Load() != nil && (q.raised.Load() != nil || q.left.Load()) && !q.Closed()
}

// Dispatch calls the handler with what was raised, if there is one. Once a batch, on the
// engine's thread, which is here, where it may be called back. Of the threads of one engine
// the others go on while one is in the handler, and it takes what they raise meanwhile.
func (q *CQ) Dispatch(here Thread) {
	for range dispatchBatches {
		if !q.dispatch(here) {
			return
		}
	}
}

// dispatch does one batch, and reports whether there may be another one.
func (q *CQ) dispatch(here Thread) bool {
	// Who has mu looks again when it has let go of it: a handler here, Next by a kick.
	if !q.waits() || !q.mu.TryLock() {
		return false
	}
	defer q.mu.Unlock()
	h := q.handler.Load()
	if h == nil || q.Closed() {
		return false
	}
	q.collect()
	q.visit(h.Visit)
	q.left.Store(len(q.pending) > 0)
	q.thread.Store(int32(here))
	h.Deliver()
	q.thread.Store(0)
	return true
}
