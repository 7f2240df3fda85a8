//go:build linux

package uring

import (
	"time"

	"golang.org/x/sys/unix"
)

// enterArg is what io_uring_enter is given when it waits. It lies in mapped memory because one part points to the other.
type enterArg struct {
	arg getEventsArg
	ts  timespec
}

// Submit hands the pending requests to the kernel, without waiting for any, and returns how many it took. Requests that
// can complete at once do so in the call. It also lets completions that overflowed into the queue. With nothing to do it
// makes no system call.
//
// The kernel may take less than all: it stops at a request that is invalid in itself (unless SetupSubmitAll; the
// request has its CQE) or when it runs out of memory. What it did not take stays queued, for errors too, and goes with the
// next Submit or Enter. Busy tells the errors that pass.
//
// The system call is made without telling the Go scheduler. It does not sleep, but takes as long as the requests in it
// take to start.
func (r *Ring) Submit() (int, error) {
	if r.fd < 0 {
		return 0, ErrClosed
	}
	n := r.publish()
	var flags uint32
	if r.sq.Flags()&(sqCQOverflow|sqTaskrun) != 0 {
		flags = enterGetEvents
	} else if n == 0 {
		return 0, nil
	}
	return r.enter(n, 0, flags|r.enterFlag, false)
}

// Enter hands the pending requests to the kernel like Submit, lets it run the completions that are due, and waits until
// at least wait completions are in the queue or timeout has passed. A negative timeout waits without limit; wait 0 or
// timeout 0 does not wait. It returns how many requests the kernel took. With SetupCQEMixed wait counts 16 byte slots.
//
// A nil error does not mean that wait completions are there: Enter returns early, without error, when the time is over or
// a signal comes (the Go runtime sends SIGURG to preempt threads). Reap, and look at the clock if it matters. That is by
// necessity: when it took requests in the same call, the kernel keeps ETIME and EINTR to itself. Any other error is
// as with Submit. While it waits the thread is given up to the Go scheduler like in every blocking system call.
func (r *Ring) Enter(wait int, timeout time.Duration) (int, error) {
	if r.fd < 0 {
		return 0, ErrClosed
	}
	n, flags := r.publish(), enterGetEvents|r.enterFlag
	if wait <= 0 || timeout == 0 {
		return r.enter(n, 0, flags, false)
	}
	if timeout > 0 {
		flags |= enterExtArg
		r.enterArg.ts = toTimespec(timeout)
	}
	return r.enter(n, uint32(wait), flags, true)
}

// publish makes the pushed requests visible to the kernel and returns how many it has to take.
func (r *Ring) publish() uint32 {
	r.sq.Submit(r.pending)
	r.pending = 0
	return r.sq.InFlight()
}

// enter calls io_uring_enter(2).
func (r *Ring) enter(submit, wait, flags uint32, block bool) (int, error) {
	n, errno := r.sysEnter(submit, wait, flags, block)
	switch errno {
	case 0:
		return n, nil
	case unix.EINTR, unix.ETIME:
		return 0, nil
	}
	return 0, wrapEnter(errno)
}
