package zctap

import (
	"errors"
	"io"
	"net"
	"net/netip"
	"sync/atomic"
	"syscall"
	"time"

	"github.com/zctap/zctap/internal/engine"
	"github.com/zctap/zctap/internal/sockq"
)

// A Conn is a TCP connection whose payload is received into the region of its
// queue. It is a net.Conn; its methods may be called from several goroutines. Concurrent
// receive calls take turns, and each byte goes to one of them.
type Conn struct {
	q  *Queue
	c  engine.Conn
	rx *sockq.Queue

	closed atomic.Bool
}

var (
	_ net.Conn    = (*Conn)(nil)
	_ io.WriterTo = (*Conn)(nil)
)

func newConn(q *Queue, c engine.Conn) *Conn {
	conn := &Conn{q: q, c: c, rx: c.Queue()}
	conn.rx.Owner = conn
	return conn
}

// Write sends p. It blocks until all of p is in the transmit buffers, to which
// it is copied once: zero-copy is promised for receive only. Errors: EPIPE after
// CloseWrite, ECONNRESET, ETIMEDOUT, os.ErrDeadlineExceeded, net.ErrClosed; n
// bytes were taken before.
func (c *Conn) Write(p []byte) (int, error) {
	n, err := c.c.Write(p)
	return n, c.q.opError("write", err)
}

// CloseWrite ends the stream to the peer (FIN) behind what was written.
// Receiving goes on.
func (c *Conn) CloseWrite() error { return c.q.opError("close", c.c.CloseWrite()) }

// Close closes both directions. What was written is still sent; what was not
// received is dropped, and the peer is told so by a reset. Iovs that are out
// stay valid until they are released. Blocked calls return net.ErrClosed.
func (c *Conn) Close() error {
	if c.closed.Swap(true) {
		// Not when the first call is done: that may wait for the engine, on whose
		// thread this may be (Queue.Handle).
		return c.q.opError("close", net.ErrClosed)
	}
	c.rx.Close()
	return c.q.opError("close", c.c.Close())
}

// SetLinger sets what Close does with bytes that are not sent yet, as
// net.TCPConn.SetLinger: with 0 it discards them and resets the connection.
func (c *Conn) SetLinger(sec int) error { return c.q.opError("set", c.c.SetLinger(sec)) }

// SetNoDelay switches Nagle's algorithm off (true, the default) or on.
func (c *Conn) SetNoDelay(on bool) error { return c.q.opError("set", c.c.SetNoDelay(on)) }

// SetKeepAlive probes a peer that has been silent for idle (0: the engine's default), and ends the
// connection with ETIMEDOUT if it does not answer.
func (c *Conn) SetKeepAlive(on bool, idle time.Duration) error {
	return c.q.opError("set", c.c.SetKeepAlive(on, idle))
}

// SetUserTimeout ends the connection with ETIMEDOUT when bytes that were written are
// not acknowledged within d, or can't be sent because the peer takes none for so long;
// 0 is the default: some minutes without an answer, and no bound for a peer that
// answers but does not read. It is the local half of RFC 5482 (TCP_USER_TIMEOUT).
func (c *Conn) SetUserTimeout(d time.Duration) error {
	return c.q.opError("set", c.c.SetUserTimeout(d))
}

// SetTrafficClass sets the differentiated services codepoint (RFC 2474) of what is sent
// from now on, in the upper six bits of tc. The others are ECN's, which is TCP's own: they
// are ignored.
func (c *Conn) SetTrafficClass(tc uint8) error {
	return c.q.opError("set", c.c.SetTrafficClass(tc))
}

// LocalAddr is a *net.TCPAddr.
func (c *Conn) LocalAddr() net.Addr { return net.TCPAddrFromAddrPort(c.c.LocalAddr()) }

// RemoteAddr is a *net.TCPAddr.
func (c *Conn) RemoteAddr() net.Addr { return net.TCPAddrFromAddrPort(c.c.RemoteAddr()) }

// RemoteAddrPort is the peer's address without an allocation.
func (c *Conn) RemoteAddrPort() netip.AddrPort { return c.c.RemoteAddr() }

// SetDeadline sets both deadlines; the zero time means none. As for every
// net.Conn a deadline also ends calls that wait already, and stays until it is
// set anew.
func (c *Conn) SetDeadline(t time.Time) error {
	return errors.Join(c.SetReadDeadline(t), c.SetWriteDeadline(t))
}

// SetReadDeadline is for RecvZC, Read and WriteTo; see SetDeadline. Completions of what
// is armed do not end by it; Queue.Wait has a deadline of its own.
func (c *Conn) SetReadDeadline(t time.Time) error {
	if c.rx.Closed() {
		return c.q.opError("set", net.ErrClosed)
	}
	c.rx.SetDeadline(t)
	return nil
}

// SetWriteDeadline is for Write.
func (c *Conn) SetWriteDeadline(t time.Time) error {
	if c.rx.Closed() {
		return c.q.opError("set", net.ErrClosed)
	}
	c.c.SetWriteDeadline(t)
	return nil
}

// opError wraps what an engine or a socket queue returned. io.EOF stays as it
// is: io.Reader promises it bare.
func (q *Queue) opError(op string, err error) error {
	if err == nil || err == io.EOF {
		return err
	}
	var already *OpError
	if errors.As(err, &already) {
		return err
	}
	return &OpError{Op: op, Interface: q.iface, Queue: q.rxQueue, Err: err}
}

// errnoOf is err as a completion's result: a negative errno.
func errnoOf(err error) int {
	var e syscall.Errno
	switch {
	case errors.Is(err, io.EOF):
		return 0
	case errors.As(err, &e):
		return -int(e)
	case errors.Is(err, net.ErrClosed):
		return -int(syscall.EBADF)
	}
	return -int(syscall.EIO)
}
