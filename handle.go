package zctap

import (
	"fmt"
	"syscall"

	"github.com/zctap/zctap/internal/sockq"
)

// What a handler is given at a time, at most.
const (
	handlerCompletions = 64
	handlerIovs        = 64 // of one completion
)

// Handle has h called with the completions of everything that is armed on the queue, at
// once and on the engine's own thread, behind each batch that was received: run to
// completion, with no other goroutine to be woken. They are those that Wait returns, in
// the same order, and Wait fails with EBUSY from now on. h nil ends it, and Wait goes on
// where h has left off.
//
// h is never called concurrently with itself. The Completions and the memory of their Iovs
// are the queue's, and valid until h returns; the payload is the application's until
// Release, by h or later, anywhere: copy the Iovs for that.
//
// While h runs the engine receives and sends nothing: not for the other connections of the
// queue either. At 10 Gbit/s 1,024 frames of 1,500 bytes, a usual NIC's ring, come in 1.2 ms;
// what comes while the ring is full is lost. So h should be done in some tens of microseconds, and
// must not wait for what another goroutine gets from this queue. What would wait for the engine
// fails in h, at once, with EDEADLK: Listen, Dial, ListenPacket, DialPacket, AcceptZC, RecvZC,
// RecvFromZC, Read, JoinGroup, Wait, Queue.Close and the like; use a goroutine of its own. Write
// and WriteTo take what there is room for, and then fail with EAGAIN, also while another
// goroutine writes: hand the rest to a goroutine. Close of a connection, a listener or a
// PacketConn returns at once, and the engine does the rest. Arm, Disarm, Release, CloseWrite, Handle and
// the setters do what they always do. A panic in h ends the process, as in any goroutine.
//
// When Handle returns the handler before does not run, and is not called again; but from
// within that it takes effect when it returns. Likewise after Queue.Close. If the
// engine fails h gets the last completions of what is armed; what is armed later fails with the
// reason.
//
// Errors: net.ErrClosed after Close, the reason if the engine has failed,
// ErrNotSupported on other systems than Linux.
func (q *Queue) Handle(h func([]Completion)) error {
	if !sockq.CanHandle {
		return q.opError("handle", ErrNotSupported)
	}
	if h == nil {
		return q.opError("handle", q.cq.Handle(nil))
	}
	return q.opError("handle", q.cq.Handle(newHandler(q, h)))
}

// A handler is a function that is called with completions, and what they are in. The
// engine's threads have it in turn.
type handler struct {
	q     *Queue
	call  func([]Completion)
	cqes  []Completion
	store []Iov // handlerIovs for each of cqes
	n     int   // of cqes, filled
}

func newHandler(q *Queue, call func([]Completion)) *sockq.Handler {
	h := &handler{
		q: q, call: call,
		cqes:  make([]Completion, handlerCompletions),
		store: make([]Iov, handlerCompletions*handlerIovs),
	}
	return &sockq.Handler{Visit: h.visit, Deliver: h.deliver}
}

// visit takes a result of s.
func (h *handler) visit(s *sockq.Source) (again, more bool) {
	c := &h.cqes[h.n]
	from := h.n * handlerIovs
	// Each time anew: the application may have changed it.
	c.Iovs = h.store[from : from : from+handlerIovs]
	done, again := h.q.complete(s, c)
	if done {
		h.n++
	}
	return again, h.n < len(h.cqes)
}

// deliver calls the application with what there is.
func (h *handler) deliver() {
	if h.n == 0 {
		return
	}
	cqes := h.cqes[:h.n]
	h.n = 0
	h.q.recvCalls.Add(1)
	h.call(cqes)
	for i := range cqes {
		if cqes[i].Conn != nil {
			cqes[i].Conn = nil // don't keep it
		}
	}
}

var errInHandler = fmt.Errorf("called by the handler (Queue.Handle), on the engine's thread, for which it would wait; call it in a goroutine of its own: %w", syscall.EDEADLK)

// mayWait is an error for a handler: what it calls would wait for the engine, whose
// thread it is on.
func (q *Queue) mayWait() error {
	if q.cq.Handling() {
		return errInHandler
	}
	return nil
}
