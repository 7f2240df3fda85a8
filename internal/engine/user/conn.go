package user

import (
	"fmt"
	"math"
	"net"
	"net/netip"
	"sync/atomic"
	"syscall"
	"time"

	"github.com/zctap/zctap/internal/engine"
	"github.com/zctap/zctap/internal/mono"
	"github.com/zctap/zctap/internal/sockq"
	"github.com/zctap/zctap/internal/stack/tcp"
)

// What a Conn's command asks for.
const (
	connSend       = 1 << iota // look at what was written
	connCloseWrite             // FIN behind it
	connClose                  // both directions are given up
	connAbort                  // with a reset
)

// A Conn is a connection in the application's hands.
type Conn struct {
	engine *Engine
	tcp    *tcp.Conn // the engine's, but for its Tuple
	recv   *sockq.Queue
	send   *tcp.SendBuffer
	ask    command
	linger atomic.Int32 // seconds; negative: the default
	closed atomic.Bool  // by the application
}

var _ engine.Conn = (*Conn)(nil)

// newConn makes the application's side of t, whose handshake is complete. Engine.
func (e *Engine) newConn(t *tcp.Conn) *Conn {
	c := &Conn{engine: e, tcp: t, recv: t.Recv, send: t.Send}
	c.ask.run = c.command
	c.linger.Store(-1)
	c.send.Notify = c.written
	e.conns[c] = struct{}{}
	return c
}

// written has the engine look at what was written.
func (c *Conn) written() { c.engine.post(&c.ask, connSend) }

// command does what the application asked for. Engine.
func (c *Conn) command(now mono.Time, bits uint32) {
	if _, open := c.engine.conns[c]; !open {
		return
	}
	if bits&connSend != 0 {
		c.tcp.Kick()
	}
	switch {
	case bits&connAbort != 0:
		c.abort(now)
	case bits&connClose != 0:
		c.tcp.Close(now)
		if sec := c.linger.Load(); sec > 0 {
			c.tcp.Linger(now, time.Duration(sec)*time.Second)
		}
		c.forget()
	case bits&connCloseWrite != 0:
		c.tcp.CloseWrite(now)
	}
}

// abort resets the connection and drops what was not received; the queue is
// closed. Engine.
func (c *Conn) abort(now mono.Time) {
	c.tcp.Abort(now)
	c.recv.Drain()
	c.forget()
}

// forget: the application has nothing to do with the connection any more; the
// stack may. Engine.
func (c *Conn) forget() { delete(c.engine.conns, c) }

// shut makes every call of the application fail with net.ErrClosed.
func (c *Conn) shut() {
	c.send.Close()
	c.recv.Close()
}

// Queue is where received payload is.
func (c *Conn) Queue() *sockq.Queue { return c.recv }

// Write copies p into the send buffer; see engine.Conn.
func (c *Conn) Write(p []byte) (int, error) {
	n, err := c.write(p)
	if err != nil {
		err = c.engine.explain(err, c.closed.Load())
	}
	return n, err
}

func (c *Conn) write(p []byte) (int, error) {
	if !c.engine.handling() {
		return c.send.Write(p)
	}
	n, err := c.send.TryWrite(p)
	if err == nil && n < len(p) {
		err = syscall.EAGAIN
	}
	return n, err
}

// SetWriteDeadline makes Write fail from t on, also one that waits.
func (c *Conn) SetWriteDeadline(t time.Time) { c.send.SetDeadline(t) }

// CloseWrite sends FIN after what was written; see engine.Conn.
func (c *Conn) CloseWrite() error {
	if c.closed.Load() {
		return net.ErrClosed
	}
	c.send.Shut()
	c.engine.post(&c.ask, connCloseWrite)
	return nil
}

// Close gives up both directions; see engine.Conn.
func (c *Conn) Close() error {
	if c.closed.Swap(true) {
		return nil
	}
	c.shut()
	if c.linger.Load() == 0 {
		c.engine.post(&c.ask, connAbort)
	} else {
		c.engine.post(&c.ask, connClose)
	}
	return nil
}

// SetLinger as net.TCPConn has it: with sec < 0, the default, what was written is
// sent after Close, in the background; with 0 it is dropped, and Close resets;
// with sec > 0 it is sent in the background for that long, then dropped.
func (c *Conn) SetLinger(sec int) error {
	return c.set(func() { c.linger.Store(int32(min(max(sec, -1), math.MaxInt32))) })
}

// SetNoDelay switches Nagle's algorithm off, as it is at first, or on.
func (c *Conn) SetNoDelay(on bool) error {
	return c.set(func() {
		c.engine.do(func(mono.Time) {
			c.tcp.Nagle = !on
			c.tcp.Kick() // what waited may go now
		})
	})
}

// SetKeepAlive has the connection probed when it has been idle for so long, and
// ended if nobody answers. idle 0 or less is 15 s, package net's default.
func (c *Conn) SetKeepAlive(on bool, idle time.Duration) error {
	return c.set(func() {
		c.engine.do(func(now mono.Time) { c.tcp.SetKeepAlive(now, on, idle) })
	})
}

// SetUserTimeout bounds how long written bytes may wait; see engine.Conn.
func (c *Conn) SetUserTimeout(d time.Duration) error {
	if d < 0 {
		return fmt.Errorf("user timeout %v: %w", d, syscall.EINVAL)
	}
	return c.set(func() { c.engine.do(func(mono.Time) { c.tcp.SetUserTimeout(d) }) })
}

// SetTrafficClass sets the DSCP of what is sent from now on; see engine.Conn.
func (c *Conn) SetTrafficClass(tc uint8) error {
	return c.set(func() { c.engine.do(func(mono.Time) { c.tcp.SetDSCP(tc >> 2) }) })
}

func (c *Conn) set(f func()) error {
	if c.closed.Load() {
		return net.ErrClosed
	}
	f()
	return nil
}

// LocalAddr is our end.
func (c *Conn) LocalAddr() netip.AddrPort { return c.tcp.Tuple().Local }

// RemoteAddr is the peer's end.
func (c *Conn) RemoteAddr() netip.AddrPort { return c.tcp.Tuple().Remote }
