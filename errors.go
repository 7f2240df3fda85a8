package zctap

import (
	"errors"
	"fmt"
	"net"
	"strings"
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
