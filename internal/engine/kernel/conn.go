//go:build linux

package kernel

import (
	"io"
	"net/netip"
	"os"
	"sync/atomic"
	"syscall"
	"time"

	"github.com/zctap/zctap/internal/engine"
	"github.com/zctap/zctap/internal/ksock"
	"github.com/zctap/zctap/internal/sockq"
)

// A conn is a TCP connection.
type conn struct {
	socket
	queue *sockq.Queue

	finished atomic.Bool   // CloseWrite was called
	failed   atomic.Uint32 // errno that ended receiving; 0 is none. Stored by the loop
	unread   int           // bytes that the loop dropped from queue when it let go
}

var _ engine.Conn = (*conn)(nil)

func newConn(l *loop, sock *ksock.Socket) *conn {
	c := &conn{queue: sockq.NewQueue(l.pool)}
	c.init(l, sock)
	c.conn = c
	return c
}

// Queue implements engine.Conn.
func (c *conn) Queue() *sockq.Queue { return c.queue }

// CloseWrite implements engine.Conn.
func (c *conn) CloseWrite() error {
	c.finished.Store(true)
	err := c.sock.CloseWrite()
	c.notifyWritable() // a Write that waits for space fails now
	return err
}

// Close implements engine.Conn.
func (c *conn) Close() error {
	c.queue.Close()
	return c.release(c.leave)
}

// leave closes c's socket; the loop has let go of it.
func (c *conn) leave() error {
	defer c.flow.drop()
	if c.unread > 0 {
		// The kernel resets by itself for what it still has; this is what we had
		// taken from it already.
		return c.sock.Reset()
	}
	return c.sock.Close()
}

// reset closes c without a farewell.
func (c *conn) reset() {
	c.queue.Close()
	// An error would be of a descriptor that is gone already.
	_ = c.release(func() error {
		defer c.flow.drop()
		return c.sock.Reset()
	})
}

// SetLinger implements engine.Conn.
func (c *conn) SetLinger(sec int) error {
	c.lingers.Store(sec > 0)
	return c.sock.SetLinger(sec)
}

// SetNoDelay implements engine.Conn.
func (c *conn) SetNoDelay(on bool) error { return c.sock.SetNoDelay(on) }

// SetKeepAlive implements engine.Conn.
func (c *conn) SetKeepAlive(on bool, idle time.Duration) error { return c.sock.SetKeepAlive(on, idle) }

// SetUserTimeout implements engine.Conn.
func (c *conn) SetUserTimeout(d time.Duration) error { return c.sock.SetUserTimeout(d) }

// SetTrafficClass implements engine.Conn; the kernel leaves ECN's bits as they are.
func (c *conn) SetTrafficClass(tc uint8) error { return c.sock.SetTrafficClass(tc) }

// LocalAddr implements engine.Conn.
func (c *conn) LocalAddr() netip.AddrPort { return c.sock.LocalAddr() }

// RemoteAddr implements engine.Conn.
func (c *conn) RemoteAddr() netip.AddrPort { return c.sock.RemoteAddr() }

// end finishes the receiving side: errno 0 is an orderly end. The loop's.
func (c *conn) end(errno syscall.Errno) {
	if errno == 0 {
		c.finish(io.EOF)
		return
	}
	c.fail(errno, os.NewSyscallError("recv", errno))
}

// fail ends the connection with errno, which err explains. The loop's.
func (c *conn) fail(errno syscall.Errno, err error) {
	if c.ending {
		return
	}
	c.failed.Store(uint32(errno))
	c.finish(err)
	c.notifyWritable()
}

func (c *conn) finish(err error) {
	if c.ending {
		return
	}
	c.ending = true
	c.l.closeTail(&c.socket)
	c.queue.End(err)
	c.l.touch(&c.socket)
}

// took notes n bytes pushed to c's queue. The loop's.
func (c *conn) took(n int) {
	c.l.stats.copied.Add(uint64(n))
	c.l.touch(&c.socket)
}
