//go:build linux

package uring

import (
	"errors"
	"fmt"
	"os"

	"golang.org/x/sys/unix"
)

var (
	// ErrNotSupported says that this kernel, or the way it is set up, cannot do what was asked: trying again does not
	// help. It matches errors.ErrUnsupported.
	ErrNotSupported = fmt.Errorf("uring: %w", errors.ErrUnsupported)

	// ErrClosed says that the Ring or BufRing was closed. It matches os.ErrClosed.
	ErrClosed = fmt.Errorf("uring: ring closed: %w", os.ErrClosed)

	// ErrQueueFull says that Push found no free SQE. Call Submit and push again.
	ErrQueueFull = errors.New("uring: submission queue full: submit, then push again")
)

// Busy reports whether err means that the kernel could not take requests just now, but that they are still queued:
// reap completions and enter again. The kernel says so with EBUSY (completions overflow the queue and must be reaped
// first) and EAGAIN (no memory for a request).
func Busy(err error) bool {
	return errors.Is(err, unix.EBUSY) || errors.Is(err, unix.EAGAIN)
}

// enterErrors are what Enter and Submit return, made once so that a loop under load does not allocate.
// The list is that of the kernel's io_uring_enter.
var enterErrors = map[unix.Errno]error{
	unix.EAGAIN:     enterError(unix.EAGAIN, "the kernel had no memory for a request; reap, then enter again"),
	unix.EBUSY:      enterError(unix.EBUSY, "completions overflow the queue; reap, then enter again"),
	unix.EBADR:      enterError(unix.EBADR, "the kernel dropped completions for want of memory; see Stats"),
	unix.EBADFD:     enterError(unix.EBADFD, "the ring is disabled; call Enable"),
	unix.EEXIST:     enterError(unix.EEXIST, "another thread is the ring's single issuer"),
	unix.EOWNERDEAD: enterError(unix.EOWNERDEAD, "the thread that issued for this ring has ended"),
}

func enterError(errno unix.Errno, hint string) error {
	return fmt.Errorf("uring: io_uring_enter: %w: %s", errno, hint)
}

// wrapEnter turns an errno of io_uring_enter into an error.
func wrapEnter(errno unix.Errno) error {
	if err, ok := enterErrors[errno]; ok {
		return err
	}
	return fmt.Errorf("uring: io_uring_enter: %w", errno)
}

// wrapRegister turns an errno of io_uring_register into an error.
func wrapRegister(verb string, errno unix.Errno) error {
	return fmt.Errorf("uring: io_uring_register: %s: %w", verb, errno)
}
