package packet

import (
	"context"
	"errors"
	"net"
	"net/netip"
	"os"
	"strconv"
	"syscall"
	"time"

	"github.com/zctap/zctap/internal/buf"
	"github.com/zctap/zctap/internal/engine"
	"github.com/zctap/zctap/internal/sockq"
)

// moment is how long a call may take that is to block nobody.
const moment = 20 * time.Millisecond

// engineListener is a listener of the user engine.
type engineListener struct {
	e        *engineTarget
	listener engine.Listener
}

func (e *engineTarget) Listen(local netip.AddrPort) (Listener, error) {
	l, err := e.engine.Listen("tcp", local, 0)
	if err != nil {
		return nil, err
	}
	return &engineListener{e, l}, nil
}

func (l *engineListener) Set(string, string) error { return syscall.ENOTSUP }

func (l *engineListener) Accept() (Conn, error) {
	c, ok, _, err := l.listener.Backlog().Poll()
	if err == nil && !ok {
		err = syscall.EAGAIN
	}
	if err != nil {
		return nil, err
	}
	return &engineConn{e: l.e, conn: c}, nil
}

func (l *engineListener) Close() error {
	l.listener.Backlog().Close()
	return errors.Join(l.listener.Close(), l.e.settle())
}

// engineConn is a connection of the user engine.
type engineConn struct {
	e    *engineTarget
	conn engine.Conn // nil until it is connected
	// Of Connect: the outcome, when done is closed.
	cancel func()
	done   chan struct{}
	err    error
	dialed engine.Conn
}

// Connect dials on a goroutine of its own, since Dial returns only when it is over.
func (e *engineTarget) Connect(local, remote netip.AddrPort) (Conn, error) {
	c := &engineConn{e: e, done: make(chan struct{})}
	ctx, stop := context.WithCancel(context.Background())
	c.cancel = func() {
		stop()
		<-c.done
	}
	go func() {
		c.dialed, c.err = e.engine.Dial(ctx, "tcp", local, remote)
		close(c.done)
	}()
	e.dials = append(e.dials, c)
	return c, nil
}

// Connected waits for the goroutine to be told, which is not the engine's, and so may
// take long on a busy machine. Few scripts expect that it is not.
func (c *engineConn) Connected() error {
	select {
	case <-c.done:
		c.conn = c.dialed
		return c.err
	case <-time.After(10 * moment):
		return syscall.EAGAIN
	}
}

func (c *engineConn) Set(name, value string) error {
	var err error
	switch name {
	case "nodelay":
		err = c.conn.SetNoDelay(value == "on")
	case "keepalive":
		idle, off := time.ParseDuration(value)
		err = c.conn.SetKeepAlive(off == nil, idle)
	case "usertimeout":
		var d time.Duration
		if d, err = time.ParseDuration(value); err == nil {
			err = c.conn.SetUserTimeout(d)
		}
	case "dscp":
		var n uint64
		if n, err = strconv.ParseUint(value, 10, 6); err == nil {
			err = c.conn.SetTrafficClass(uint8(n) << 2)
		}
	case "linger":
		var sec int
		if sec, err = strconv.Atoi(value); err == nil {
			err = c.conn.SetLinger(sec)
		}
	default:
		err = syscall.ENOTSUP
	}
	return errors.Join(err, c.e.settle())
}

func (c *engineConn) Send(p []byte) (int, error) {
	if c.conn == nil {
		return 0, syscall.ENOTCONN
	}
	c.conn.SetWriteDeadline(time.Now().Add(moment))
	n, err := c.conn.Write(p)
	if errors.Is(err, os.ErrDeadlineExceeded) {
		if err = nil; n == 0 {
			err = syscall.EAGAIN
		}
	}
	return n, errors.Join(err, c.e.settle())
}

func (c *engineConn) Recv(p []byte) (int, error) {
	if c.conn == nil {
		return 0, syscall.ENOTCONN
	}
	n, err := readQueue(c.conn.Queue(), c.e.pool, p)
	return n, errors.Join(err, c.e.settle())
}

// readQueue copies what there is of a stream to p, and gives the buffers back. It is
// EAGAIN if there is nothing.
func readQueue(q *sockq.Queue, pool *buf.Pool, p []byte) (total int, err error) {
	var iovs [64]buf.Iov
	for total < len(p) {
		n, _, _, err := q.Poll(iovs[:], len(p)-total)
		if err != nil && total == 0 {
			return 0, err
		}
		if n == 0 {
			break
		}
		for i := range iovs[:n] {
			total += copy(p[total:], iovs[i].Bytes())
		}
		if _, err := pool.Return(iovs[:n]); err != nil {
			return total, err
		}
	}
	if total == 0 && len(p) > 0 {
		return 0, syscall.EAGAIN
	}
	return total, nil
}

func (c *engineConn) Shutdown() error {
	return errors.Join(c.conn.CloseWrite(), c.e.settle())
}

func (c *engineConn) Close() error {
	if c.conn == nil {
		c.cancel()
		return c.e.settle()
	}
	c.conn.Queue().Close()
	return errors.Join(c.conn.Close(), c.e.settle())
}

func (c *engineConn) Abort() error {
	if c.conn == nil {
		return net.ErrClosed
	}
	return errors.Join(c.conn.SetLinger(0), c.Close())
}

// engineDatagrams is a UDP socket of the user engine.
type engineDatagrams struct {
	arrival
	e    *engineTarget
	conn engine.PacketConn
}

func (e *engineTarget) OpenUDP(local, remote netip.AddrPort) (Datagrams, error) {
	c, err := e.engine.ListenPacket("udp", local, remote)
	if err != nil {
		return nil, err
	}
	return &engineDatagrams{e: e, conn: c}, nil
}

func (u *engineDatagrams) Set(string, string) error { return syscall.ENOTSUP }

func (u *engineDatagrams) Send(p []byte, addr netip.AddrPort) (int, error) {
	n, err := u.conn.WriteTo(p, addr)
	return n, errors.Join(err, u.e.settle())
}

func (u *engineDatagrams) Recv(p []byte) (int, netip.AddrPort, error) {
	return u.take(u.conn.Queue(), u.e.pool, p)
}

func (u *engineDatagrams) Join(group netip.Addr) error  { return u.conn.JoinGroup(group) }
func (u *engineDatagrams) Leave(group netip.Addr) error { return u.conn.LeaveGroup(group) }

// arrival is what is known of the datagram that was received last.
type arrival struct{ ecn uint8 }

func (a *arrival) ECN() uint8 { return a.ecn }

// take copies one datagram to p, as much as fits, and gives its buffers back.
func (a *arrival) take(q *sockq.Datagrams, pool *buf.Pool, p []byte) (int, netip.AddrPort, error) {
	var (
		iovs [32]buf.Iov
		msgs [1]sockq.Message
	)
	n, k, _, err := q.Poll(iovs[:], msgs[:])
	if err == nil && n == 0 {
		err = syscall.EAGAIN
	}
	if err != nil {
		return 0, netip.AddrPort{}, err
	}
	total := 0
	for i := range iovs[:k] {
		total += copy(p[total:], iovs[i].Bytes())
	}
	_, err = pool.Return(iovs[:k])
	a.ecn = msgs[0].TrafficClass & 3
	return total, msgs[0].Src, err
}

func (u *engineDatagrams) Close() error {
	u.conn.Queue().Close()
	return errors.Join(u.conn.Close(), u.e.settle())
}
