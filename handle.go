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

// Handle has h called with the completions of everything that is armed on the queue. The
// calls come on the engine's own thread (one of them, with ZCRXConfig.Rings), at the end
// of each batch that was received: run to completion, with no other goroutine to be woken.
// They are the completions that Wait would return, in the same order. Wait fails with EBUSY
// from now on. With h nil the handling ends, and Wait goes on where the handler left off.
//
// h is never called concurrently with itself. The Completions and the memory of their Iovs
// are the queue's, valid until h returns; the payload is the application's until Release,
// by h or later and anywhere: copy the Iovs for that.
//
// While h runs the engine's thread receives and sends nothing, for no connection. So h
// should be done in some tens of microseconds. What arrives meanwhile waits in the kernel's
// sockets, or in the NIC's ring, and is lost when that is full: 1,024 frames of 1,500
// bytes come in 1.2 ms at 10 Gbit/s. A panic in h ends the process, as in any goroutine. h
// must return: runtime.Goexit, which testing's FailNow calls, would end the engine.
//
// What h may call:
//
//   - Arm, Disarm, Release, CloseWrite, Stats, the setters and Handle itself do what they
//     always do.
//   - Write, and WriteTo of a PacketConn, take what there is room for and then fail with
//     EAGAIN, as they do while another goroutine waits in them. Hand the rest to a
//     goroutine.
//   - Close of a connection, a listener or a PacketConn returns at once, and what is left
//     of it is done behind h's back.
//   - What would wait for the engine fails at once, with EDEADLK: Listen, Dial,
//     ListenPacket, DialPacket, AcceptZC, RecvZC, RecvFromZC, Read, JoinGroup, LeaveGroup,
//     Wait, Queue.Close and what is made of them. Call it in a goroutine of its own, for
//     which h does not wait.
//
// When Handle returns, the handler before does not run, and is not called again; called by
// that handler, it takes effect when that returns. The same holds for Queue.Close. If the
// engine fails h gets the last completions of what is armed; Arm fails with the reason
// then.
//
// With one processor (GOMAXPROCS=1) Go's runtime takes it from the engine's thread in each
// sleep, and wakes another thread in vain: on a machine of one CPU set 2.
//
// Errors: net.ErrClosed after Close, the reason if the engine has failed, ErrNotSupported
// on other systems than Linux.
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
