//go:build linux

package kernel

import (
	"syscall"

	"github.com/zctap/zctap/internal/buf"
	"github.com/zctap/zctap/internal/ksock"
)

// readStream reads once: behind the open tail, then into free buffers. It
// reports whether more may wait in the kernel; it has paused c if that was for
// want of buffers.
func (l *loop) readStream(c *conn) (more bool) {
	s := &c.socket
	if c.ending {
		return false
	}
	l.vec.Reset()
	n := 0
	if credit := l.credit(s); credit > 0 {
		n = l.stockUp(min(credit, l.perCall))
	}
	// After stockUp, which may have closed the tail.
	room := l.tailRoom(s)
	if room != nil {
		l.vec.Add(room)
	}
	for i := range n {
		l.vec.Add(l.pool.Region().Buffer(l.stock[len(l.stock)-1-i]))
	}
	if l.vec.Size() == 0 {
		l.pause(s)
		return false
	}
	n, err := c.sock.Recv(l.vec)
	l.stats.syscalls.Add(1)
	switch {
	case ksock.IsWouldBlock(err):
		return false
	case err != nil:
		c.end(err.(syscall.Errno))
		return false
	case n == 0:
		c.end(0)
		return false
	}
	l.stats.frames.Add(1)
	l.take(c, n, len(room))
	// Less than there was room for is all that there was, and what comes later
	// epoll tells; but it told of the end already if it did.
	return n == l.vec.Size() || s.hangup
}

// take pushes n bytes that were received, the first into the room of the tail,
// the others into buffers from stock.
func (l *loop) take(c *conn, n, room int) {
	s := &c.socket
	c.took(n)
	if k := min(n, room); k > 0 {
		c.queue.Push(l.extendTail(s, k))
		n -= k
	}
	for n > 0 {
		f := l.own(s, l.fromStock(), min(n, l.pool.Region().BufferSize()))
		if n -= f.Len(); n == 0 {
			l.openTail(s, f)
		}
		c.queue.Push(f)
	}
}

// own charges buffer b, of which the loop has the only reference, to s, and
// names its first n bytes as received.
func (l *loop) own(s *socket, b uint16, n int) buf.Frag {
	l.pool.Charge(b, &s.account)
	return l.pool.Frag(b, 0, n).AsCopied()
}
