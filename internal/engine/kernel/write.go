//go:build linux

package kernel

import (
	"errors"
	"net"
	"net/netip"
	"os"
	"syscall"

	"github.com/zctap/zctap/internal/ksock"
)

// Write implements engine.Conn. The kernel copies p to the socket's send buffer.
func (c *conn) Write(p []byte) (n int, err error) {
	if err := c.takeTurn(); err != nil {
		return 0, wrapSend(err)
	}
	defer c.wmu.Unlock()
	for {
		k, err := c.attempt(func() (int, error) {
			if n == len(p) {
				return 0, nil // nothing to send, but the deadline and Close count
			}
			return c.sock.Send(p[n:])
		})
		n += k
		if err != nil {
			return n, c.sendError(err)
		}
		c.l.stats.sent.Add(uint64(k))
		if n == len(p) {
			return n, nil
		}
	}
}

// WriteTo implements engine.PacketConn.
func (p *packetConn) WriteTo(b []byte, to netip.AddrPort) (int, error) {
	if err := p.takeTurn(); err != nil {
		return 0, wrapSend(err)
	}
	defer p.wmu.Unlock()
	// The loop may have been told, in our place, what became of something sent.
	if err := p.queue.Failure(); err != nil {
		return 0, wrapSend(err)
	}
	n, err := p.attempt(func() (int, error) {
		if p.sock.RemoteAddr().IsValid() {
			return p.sock.Send(b)
		}
		return p.sock.SendTo(b, to)
	})
	if err != nil {
		return 0, wrapSend(err)
	}
	p.l.stats.sent.Add(uint64(n))
	return n, nil
}

// takeTurn takes wmu. EAGAIN if somebody has it, who may wait for the loop, and so
// the completion queue's handler must not wait.
func (s *socket) takeTurn() error {
	switch {
	case !s.l.cq.Handling():
		s.wmu.Lock()
	case !s.wmu.TryLock():
		return syscall.EAGAIN
	}
	return nil
}

// awaitSpace returns when there may be space. Likewise.
func (s *socket) awaitSpace() error {
	if !s.l.cq.Handling() {
		return s.writer.Park()
	}
	ready, err := s.writer.Try()
	if err == nil && !ready {
		err = syscall.EAGAIN
	}
	return err
}

// attempt calls send, and again when there is space if there is none, until the
// write deadline or the end of s. The caller holds wmu.
func (s *socket) attempt(send func() (int, error)) (int, error) {
	for {
		// Waits only if the attempt before found no space.
		if err := s.awaitSpace(); err != nil {
			return 0, s.explain(err)
		}
		// Before the attempt: space that appears after it sets the flag again.
		s.writable.Store(false)
		n, err := send()
		s.l.stats.syscalls.Add(1)
		if !ksock.IsWouldBlock(err) {
			s.writable.Store(true)
			return n, err
		}
		if s.conn == nil || !s.l.streamEdges {
			if !s.l.post(command{op: opArmWrite, s: s}) {
				return 0, s.explain(net.ErrClosed)
			}
		}
	}
}

// sendError turns what a send said into what engine.Conn promises. After a
// reset the kernel says ECONNRESET only once, to whichever call comes first,
// be it a receive, and EPIPE from then on.
func (c *conn) sendError(err error) error {
	if err == syscall.EPIPE && !c.finished.Load() {
		err = syscall.ECONNRESET
		if errno := c.failed.Load(); errno != 0 {
			err = syscall.Errno(errno)
		}
	}
	return wrapSend(err)
}

func wrapSend(err error) error {
	var errno syscall.Errno
	if errors.As(err, &errno) {
		return os.NewSyscallError("send", errno)
	}
	return err
}
