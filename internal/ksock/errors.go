//go:build linux

package ksock

import (
	"errors"
	"fmt"
	"net"

	"golang.org/x/sys/unix"
)

// checkNetwork refuses what is not transport, transport4 or transport6.
func checkNetwork(network, transport string) error {
	switch network {
	case transport, transport + "4", transport + "6":
		return nil
	}
	return fmt.Errorf("ksock: %w: want %s, %s4 or %s6", net.UnknownNetworkError(network), transport, transport, transport)
}

// IsPending reports whether a connect goes on in the background. A signal does
// not end one: EINTR says the same as EINPROGRESS (POSIX).
func IsPending(err error) bool {
	return errors.Is(err, unix.EINPROGRESS) || errors.Is(err, unix.EINTR)
}

// IsWouldBlock reports whether err says that a call would have had to wait.
func IsWouldBlock(err error) bool { return err == unix.EAGAIN }

// IsConnGone reports whether err of Accept concerns only the one connection
// that it would have returned: the next may be sound. Linux hands errors that
// wait on the new socket to accept(2), which has the list.
func IsConnGone(err error) bool {
	switch err {
	case unix.ECONNABORTED, unix.EPROTO, unix.ENETDOWN, unix.ENOPROTOOPT, unix.EHOSTDOWN,
		unix.ENONET, unix.EHOSTUNREACH, unix.EOPNOTSUPP, unix.ENETUNREACH:
		return true
	}
	return false
}
