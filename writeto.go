package zctap

import (
	"io"
	"math"
	"net"
	"os"
)

// WriteTo hands everything that is received to w, without a copy on the way,
// until the peer's end: io.Copy(w, conn) calls it. A file or a net.Conn gets
// many views in one writev; other writers get one Write a view and must not
// keep it, as the io.Writer contract says anyhow.
//
// If w fails, what had been received and not been written is lost. Errors are w's and
// those of RecvZC, but for io.EOF.
func (c *Conn) WriteTo(w io.Writer) (int64, error) {
	n, err := c.writeTo(w, math.MaxInt64)
	if err == io.EOF {
		err = nil
	}
	return n, err
}

// WriteToN is WriteTo for the next n bytes of the stream: a record or a body whose
// length is known. (io.CopyN and io.LimitReader would copy them.) What follows them stays
// to be received.
//
// The error is nil if and only if all n were written: io.EOF if the stream ended before
// the first, io.ErrUnexpectedEOF if it ended before the last, else as of WriteTo.
func (c *Conn) WriteToN(w io.Writer, n int64) (written int64, err error) {
	if n <= 0 {
		return 0, nil
	}
	written, err = c.writeTo(w, n)
	if err == io.EOF && written > 0 {
		err = io.ErrUnexpectedEOF
	}
	return written, err
}

// writeTo hands limit bytes to w; io.EOF if the stream has less.
func (c *Conn) writeTo(w io.Writer, limit int64) (total int64, err error) {
	var (
		iovs  [64]Iov
		store [64][]byte
	)
	for total < limit {
		n, err := c.RecvZCMax(iovs[:], int(min(limit-total, math.MaxInt)))
		if err != nil {
			return total, err
		}
		views, size := net.Buffers(store[:n]), 0
		for i := range iovs[:n] {
			views[i] = iovs[i].Bytes()
			size += len(views[i])
		}
		k, err := writeViews(w, views)
		total += k
		if err == nil && k != int64(size) {
			err = io.ErrShortWrite
		}
		if _, rerr := c.q.Release(iovs[:n]); err == nil {
			err = rerr
		}
		if err != nil {
			return total, err
		}
	}
	return total, nil
}

// writeViews writes all views. net.Buffers knows writev for connections of
// package net only.
func writeViews(w io.Writer, views net.Buffers) (int64, error) {
	if f, ok := w.(*os.File); ok {
		return writeFile(f, views)
	}
	return views.WriteTo(w)
}
