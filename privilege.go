package zctap

import (
	"errors"
	"fmt"
	"syscall"
)

// DropCapabilities gives up, for the whole process and for good, what opening a
// queue needs and using it does not: CAP_NET_ADMIN, CAP_NET_RAW, CAP_BPF and
// CAP_IPC_LOCK. Listening, dialing, receiving and closing go on; only ports below
// 1,024 need a capability, CAP_NET_BIND_SERVICE, which stays, and so do all others
// that the process has. (For root, changing the user after Open does as well.) No
// further queue can be opened by those capabilities: call it after the last Open.
//
// Errors: EBUSY if this queue will need one of them still, and nothing is dropped:
// engine ZCRX, and engine User by generic XDP on an interface of which that has
// turned features off, put their interface back when they are closed.
// ErrNotSupported for a program that is linked with C (CGO_ENABLED=1), where Go
// does not reach all threads. All threads have to have the same capabilities, as
// they do unless the program has changed those of one.
func (q *Queue) DropCapabilities() error {
	err := q.needsCapabilities()
	if err == nil {
		err = dropCapabilities()
	}
	if errors.Is(err, syscall.ENOTSUP) {
		err = fmt.Errorf("%w: the program is linked with C; build it with CGO_ENABLED=0", ErrNotSupported)
	}
	return q.opError("drop capabilities", err)
}

// needsCapabilities is why the queue's engine needs capabilities still, or nil.
func (q *Queue) needsCapabilities() error {
	if e, ok := q.engine.(interface{ NeedsCapabilities() error }); ok {
		return e.NeedsCapabilities()
	}
	return nil
}
