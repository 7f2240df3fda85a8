//go:build linux

package vfiouser

import (
	"errors"
	"fmt"

	"golang.org/x/sys/unix"
)

// Errors of Bus and Server, for errors.Is.
var (
	// ErrAddress: an address range of the guest's is not, or not in one piece,
	// memory that the device can reach.
	ErrAddress = errors.New("vfiouser: not guest memory")
	// ErrDetached: the client is gone, and the Bus with it.
	ErrDetached = errors.New("vfiouser: no client is attached")
	// ErrFault: an access to guest memory raised SIGBUS or SIGSEGV, because the
	// client truncated the file behind it, ran out of huge pages, or shared it
	// for reading only.
	ErrFault = errors.New("vfiouser: fault in guest memory")
	// ErrBusy: the device has a client already.
	ErrBusy = errors.New("vfiouser: the device has a client already")
	// ErrProtocol: the client does not speak vfio-user.
	ErrProtocol = errors.New("vfiouser: protocol violation")
)

// errnoOf returns what tells the client of err.
func errnoOf(err error) unix.Errno {
	var errno unix.Errno
	switch {
	case errors.As(err, &errno) && errno != 0:
		return errno
	case errors.Is(err, ErrAddress), errors.Is(err, ErrFault):
		return unix.EFAULT
	}
	return unix.EIO
}

// violation is an error after which the stream can't be trusted: the client is
// told errno, and the connection ends.
func violation(errno unix.Errno, format string, args ...any) error {
	return fmt.Errorf("%w: %s: %w", ErrProtocol, fmt.Sprintf(format, args...), errno)
}
