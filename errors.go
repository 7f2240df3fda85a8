package zctap

import (
	"errors"
	"fmt"
	"net"
	"net/netip"
	"strings"
	"syscall"
)

// ErrNotSupported says that this system, device or version of zctap can't do
// what was asked for. The error that wraps it names the obstacle. It is also
// errors.ErrUnsupported to errors.Is.
var ErrNotSupported error = notSupported{}

type notSupported struct{}

func (notSupported) Error() string { return "not supported" }
func (notSupported) Unwrap() error { return errors.ErrUnsupported }

// An OpError is the error of an operation on a queue, as net.OpError is of one
// on a socket. errors.Is finds the cause in it: an errno, net.ErrClosed,
// os.ErrDeadlineExceeded, ErrNotSupported. io.EOF is never wrapped.
type OpError struct {
	Op        string // "open", "listen", "dial", "recv", "release", ...
	Interface string // the interface of the queue; empty for none
	Queue     int    // the RX queue, with Interface; -1: none was chosen yet
	Err       error
}

// Error names the operation, the interface queue and the cause.
func (e *OpError) Error() string {
	var b strings.Builder
	b.WriteString("zctap: ")
	b.WriteString(e.Op)
	if e.Interface != "" {
		b.WriteString(" " + e.Interface)
		if e.Queue >= 0 {
			fmt.Fprintf(&b, "/%d", e.Queue)
		}
	}
	b.WriteString(": ")
	b.WriteString(e.Err.Error())
	return b.String()
}

// Unwrap is the cause.
func (e *OpError) Unwrap() error { return e.Err }

// Timeout reports whether a deadline ended the operation (net.Error).
func (e *OpError) Timeout() bool {
	var t interface{ Timeout() bool }
	return errors.As(e.Err, &t) && t.Timeout()
}

// Temporary is part of net.Error, and true for time-outs as in package net.
func (e *OpError) Temporary() bool { return e.Timeout() }

var _ net.Error = (*OpError)(nil)

// What a caller did wrong, beside the errno that it is.
var (
	errNoRoom  = fmt.Errorf("no room to receive into: give it at least one to fill, and a limit of 1 or more: %w", syscall.EINVAL)
	errHandled = fmt.Errorf("there is a handler, which gets the completions (Queue.Handle): %w", syscall.EBUSY)
	errNoHost  = fmt.Errorf("the address names no host to connect to: %w", syscall.EDESTADDRREQ)
)

// noRoom is errNoRoom if that is what err, of a receive call, is about.
func noRoom(err error, none bool) error {
	if none && err == syscall.EINVAL {
		return errNoRoom
	}
	return err
}

// bindError is err, of binding a socket to address, with what can be done about it.
func (q *Queue) bindError(network string, address netip.AddrPort, err error) error {
	port := address.Port()
	switch {
	case errors.Is(err, syscall.EACCES) && port > 0 && port < 1024:
		err = fmt.Errorf("%w (ports below net.ipv4.ip_unprivileged_port_start, 1024 by default, need CAP_NET_BIND_SERVICE)", err)
	case errors.Is(err, syscall.EADDRINUSE) && port > 0 && q.Engine() != User:
		err = fmt.Errorf("%w (see `ss -an%cp sport = :%d`)", err, network[0], port)
	}
	return addressError(network, address, err)
}

// addressError is err with the address that it is about.
func addressError(network string, address netip.AddrPort, err error) error {
	if !address.Addr().IsValid() { // all of them
		return fmt.Errorf("%s :%d: %w", network, address.Port(), err)
	}
	return fmt.Errorf("%s %v: %w", network, address, err)
}
