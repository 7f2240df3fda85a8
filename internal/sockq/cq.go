package sockq

import (
	"fmt"
	"slices"
	"syscall"

	"github.com/zctap/zctap/internal/interleave/atomic"
	"github.com/zctap/zctap/internal/interleave/sync"
	"github.com/zctap/zctap/internal/park"
)

// A Source is something that can complete: a socket queue, a listener's
// backlog, a queue's notices. It is linked into its CQ at most once.
type Source struct {
	// Owner is what the consumer of the CQ knows the source as. Set before the
	// source is armed, then read-only.
	Owner any

	next     *Source // while linked
	userData atomic.Uint64
	queued   atomic.Bool        // linked, or in the consumer's hands and not yet looked at
	cq       atomic.Pointer[CQ] // last: see Queue
}

// errArmed is for who wants to receive from an armed source.
var errArmed = fmt.Errorf("it is armed: what arrives goes to Queue.Wait, or to the handler: %w", syscall.EBUSY)

// Arm makes s complete on cq with userData, from now on and until Disarm. The
// caller raises s if it has something already. A source completes on one CQ
// only, its interface queue's: armed on another it could still be linked in the
// first, and be missed.
func (s *Source) Arm(cq *CQ, userData uint64) {
	s.userData.Store(userData)
	s.cq.Store(cq)
}

// Disarm stops completions, and reports whether s was armed. A link that is in
// the CQ already is passed over there.
func (s *Source) Disarm() bool { return s.cq.Swap(nil) != nil }

// Armed reports whether s completes on a CQ.
func (s *Source) Armed() bool { return s.cq.Load() != nil }

// UserData is what Arm was given.
func (s *Source) UserData() uint64 { return s.userData.Load() }

// Raise links s into its CQ, if it is armed and not linked yet. It does not
// wake the CQ's consumer: the engine does that once a batch, with CQ.Flush.
func (s *Source) Raise() {
	cq := s.cq.Load()
	if cq == nil || s.queued.Swap(true) {
		return
	}
	for {
		old := cq.raised.Load()
		s.next = old
		if cq.raised.CompareAndSwap(old, s) {
			return
		}
	}
}

// leave lets go of mu, the lock of s's consumers. Who had it may have waited with it, and if
// s was armed meanwhile the CQ's consumer may have been there and have found it taken: what
// there is, as ready says, is raised once more.
func (s *Source) leave(mu *sync.Mutex, ready func() bool) {
	mu.Unlock()
	if cq := s.cq.Load(); cq != nil && ready() {
		s.Raise()
		cq.Nudge()
	}
}

// A CQ collects the sources that have something to complete, of one interface
// queue. Any goroutine may raise a source; consumers take turns, or the engine calls
// a handler (see Handle).
type CQ struct {
	raised atomic.Pointer[Source] // newest first; producers push, the consumer takes all
	park.Parker

	failure atomic.Pointer[error] // why nothing will be raised any more; engine

	mu      sync.Mutex // consumers
	pending []*Source  // oldest first; consumer

	handling
}

// NewCQ makes an empty CQ.
func NewCQ() *CQ {
	q := &CQ{}
	q.Init(q.collect)
	return q
}

// Flush wakes the consumer if there is something for it. Once a batch.
func (q *CQ) Flush() {
	if q.raised.Load() != nil {
		q.Unpark()
	}
}

// Nudge is Flush for who is not the engine, of what it has raised: if there is a handler
// it makes the engine call that. Any goroutine.
func (q *CQ) Nudge() {
	q.Flush()
	if q.handler.Load() != nil {
		q.wakeEngine()
	}
}

// Fail has Next return err when nothing is left, instead of waiting: the engine has
// failed, and ended its sources before. A handler gets what is left. Engine only.
func (q *CQ) Fail(err error) {
	q.failure.Store(&err)
	q.Unpark()
	for here := CurrentThread(); q.dispatch(here); {
	}
}

// Failure is what Fail was told, or nil. Any goroutine.
func (q *CQ) Failure() error {
	if f := q.failure.Load(); f != nil {
		return *f
	}
	return nil
}

// Next waits until a source has something, and calls f for each source in turn
// until f has no room for more (more is false) or none is left. again tells
// that the source was not exhausted: it is visited again after the others.
// The source is f's own while f runs. EBUSY while there is a handler.
func (q *CQ) Next(f func(s *Source) (again, more bool)) error {
	if q.handler.Load() != nil {
		return syscall.EBUSY
	}
	q.mu.Lock()
	err := q.Park()
	handled := q.handler.Load() != nil
	if err == nil && !handled && len(q.pending) == 0 && q.Failure() != nil {
		q.collect() // what was raised before that, and after Park had looked
	}
	switch {
	case err != nil:
	case !handled && len(q.pending) > 0:
		q.visit(f)
	case !handled && q.Failure() != nil:
		err = q.Failure()
	default:
		err = syscall.EBUSY // a handler came, and perhaps is gone again
	}
	if handled {
		q.left.Store(len(q.pending) > 0) // Handle may have looked before Park collected
	}
	q.mu.Unlock()
	if handled {
		q.wakeEngine() // it may have found mu taken
	}
	return err
}

// visit is Next's part with the sources that are pending now; the caller holds mu.
func (q *CQ) visit(f func(s *Source) (again, more bool)) {
	n, seen := len(q.pending), 0
	for seen < n {
		s := q.pending[seen]
		seen++
		// Before f looks: what is published from here on raises s anew.
		s.queued.Store(false)
		if s.cq.Load() != q {
			continue // disarmed since
		}
		again, more := f(s)
		if again && !s.queued.Swap(true) {
			q.pending = append(q.pending, s)
		}
		if !more {
			break
		}
	}
	q.pending = slices.Delete(q.pending, 0, seen)
}

// collect moves what was raised behind what is pending, oldest first, and
// reports whether Next has something to return: a source, or why there will be none.
func (q *CQ) collect() bool {
	n := len(q.pending)
	for s := q.raised.Swap(nil); s != nil; {
		next := s.next
		s.next = nil
		q.pending = append(q.pending, s)
		s = next
	}
	slices.Reverse(q.pending[n:])
	return len(q.pending) > 0 || q.failure.Load() != nil || q.handler.Load() != nil
}
