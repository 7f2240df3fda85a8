//go:build linux

package uring

import (
	"fmt"
	"sync"

	"golang.org/x/sys/unix"
)

// Waker posts a completion on a ring from any goroutine, which ends a wait in Enter: the way to tell the ring's thread that
// there is something for it to do. It works with IORING_REGISTER_SEND_MSG_RING, by a thread that has no ring of its own
// (Linux 6.13; Have(MsgRingWake) tells). Any number of goroutines may use one Waker at once.
type Waker struct {
	gate *wakeGate
	sqe  SQE          // read by the kernel in each Wake, never changed
	call func() error // of a Waker that is not a Ring's; gate is nil then
}

// wakeGate stands between a ring's Wakers and Close: the descriptor must not be closed, and its number perhaps given to
// another file, while a Waker is about to use it.
type wakeGate struct {
	mu sync.RWMutex
	fd int // -1 when the ring is closed
}

func (g *wakeGate) close() {
	g.mu.Lock()
	g.fd = -1
	g.mu.Unlock()
}

// Waker returns a Waker whose completions have the given user data and result (not negative). The ring's thread makes it
// and gives it away.
func (r *Ring) Waker(userData uint64, res int32) *Waker {
	return &Waker{gate: r.gate, sqe: MsgRing(r.fd, userData, res, 0)}
}

// Wake posts the completion. Each call posts one: who wakes for a queue does so when the queue becomes non-empty. If the
// completion queue is full the kernel keeps the completion, so no wake is lost. It fails with ErrClosed after the
// ring's Close, with ErrNotSupported on kernels before 6.13, with EBADFD while the ring is disabled and with EOWNERDEAD when
// the ring's issuing thread has ended.
func (w *Waker) Wake() error {
	if w.call != nil {
		return w.call()
	}
	w.gate.mu.RLock()
	defer w.gate.mu.RUnlock()
	if w.gate.fd < 0 {
		return ErrClosed
	}
	switch errno := registerStruct(-1, registerSendMsgRing, &w.sqe, 1); errno {
	case 0:
		return nil
	case unix.EINVAL, unix.EBADF: // EBADF: kernels that look up descriptor -1 before the operation
		return fmt.Errorf("%w: the kernel cannot post from outside a ring (Linux 6.13): %w",
			wrapRegister("SEND_MSG_RING", errno), ErrNotSupported)
	default:
		return wrapRegister("SEND_MSG_RING", errno)
	}
}
