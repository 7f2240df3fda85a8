package packet

import (
	"errors"
	"net"
	"net/netip"
	"strconv"
	"syscall"
	"time"

	"github.com/zctap/zctap/internal/stack"
	"github.com/zctap/zctap/internal/stack/tcp"
	"github.com/zctap/zctap/internal/stack/udp"
)

// zctapListener is a listener of our stack. The backlog has no end: scripts are
// short.
type zctapListener struct {
	z        *zctapTarget
	listener *stack.Listener
	backlog  []*zctapConn
}

func (z *zctapTarget) Listen(local netip.AddrPort) (Listener, error) {
	l := &zctapListener{z: z}
	var err error
	l.listener, err = z.stack.Listen("tcp", local, func() bool { return false }, func(c *tcp.Conn) {
		l.backlog = append(l.backlog, z.adopt(c))
	})
	if err != nil {
		return nil, err
	}
	z.sockets = append(z.sockets, l)
	return l, nil
}

func (l *zctapListener) Set(string, string) error { return syscall.ENOTSUP }

func (l *zctapListener) Accept() (Conn, error) {
	if len(l.backlog) == 0 {
		return nil, syscall.EAGAIN
	}
	c := l.backlog[0]
	l.backlog = l.backlog[1:]
	l.z.sockets = append(l.z.sockets, c)
	return c, nil
}

// Close does what the engine's listener does: what was not accepted is reset.
func (l *zctapListener) Close() error {
	l.discard()
	return l.z.settle()
}

func (l *zctapListener) discard() {
	l.listener.Close()
	for _, c := range l.backlog {
		c.discard()
	}
	l.backlog = nil
}

// zctapConn is a connection of our stack, used as the engine uses it.
type zctapConn struct {
	z         *zctapTarget
	conn      *tcp.Conn
	connected error // EAGAIN: not yet
	closed    bool
	reset     bool // Close does: linger 0
	linger    time.Duration
}

// adopt makes the application's side of a connection whose handshake is complete.
func (z *zctapTarget) adopt(c *tcp.Conn) *zctapConn {
	c.Send.Notify = c.Kick
	return &zctapConn{z: z, conn: c}
}

func (z *zctapTarget) Connect(local, remote netip.AddrPort) (Conn, error) {
	t, err := z.stack.Dial(z.now, "tcp", local, remote)
	if err != nil {
		return nil, err
	}
	c := &zctapConn{z: z, conn: t, connected: syscall.EAGAIN}
	t.OnConnect = func(err error) {
		if c.connected = err; err == nil {
			t.Send.Notify = t.Kick
		}
	}
	z.sockets = append(z.sockets, c)
	return c, z.settle()
}

func (c *zctapConn) Connected() error { return c.connected }

func (c *zctapConn) State() (string, error) { return c.conn.State().String(), nil }

func (c *zctapConn) Set(name, value string) error {
	switch name {
	case "nodelay":
		c.conn.Nagle = value == "off"
		c.conn.Kick() // what waited may go now
	case "keepalive":
		idle, err := time.ParseDuration(value)
		c.conn.SetKeepAlive(c.z.now, err == nil, idle)
		c.conn.Kick()
	case "usertimeout":
		d, err := time.ParseDuration(value)
		if err != nil {
			return err
		}
		c.conn.SetUserTimeout(d)
	case "dscp":
		n, err := strconv.ParseUint(value, 10, 6)
		if err != nil {
			return err
		}
		c.conn.SetDSCP(uint8(n))
	case "linger":
		n, err := strconv.Atoi(value)
		if err != nil {
			return err
		}
		c.reset, c.linger = n == 0, time.Duration(n)*time.Second
	default:
		return syscall.ENOTSUP
	}
	return c.z.settle()
}

func (c *zctapConn) Send(p []byte) (int, error) {
	switch {
	case c.closed:
		return 0, net.ErrClosed
	case c.conn.Send == nil:
		return 0, syscall.ENOTCONN
	}
	n, err := c.conn.Send.TryWrite(p)
	if err == nil && n == 0 && len(p) > 0 {
		err = syscall.EAGAIN
	}
	if e := c.z.settle(); e != nil {
		return n, e
	}
	return n, err
}

func (c *zctapConn) Recv(p []byte) (int, error) {
	switch {
	case c.closed:
		return 0, net.ErrClosed
	case c.conn.Recv == nil:
		return 0, syscall.ENOTCONN
	}
	n, err := readQueue(c.conn.Recv, c.z.pool, p)
	return n, errors.Join(err, c.z.settle())
}

func (c *zctapConn) Shutdown() error {
	c.conn.CloseWrite(c.z.now)
	return c.z.settle()
}

func (c *zctapConn) Close() error {
	if c.reset {
		return c.Abort()
	}
	c.shut()
	c.conn.Close(c.z.now)
	if c.linger > 0 {
		c.conn.Linger(c.z.now, c.linger)
	}
	return c.z.settle()
}

func (c *zctapConn) Abort() error {
	c.discard()
	return c.z.settle()
}

// shut makes the application's calls fail, as the engine does before it closes.
func (c *zctapConn) shut() {
	c.closed = true
	if c.conn.Recv != nil {
		c.conn.Recv.Close()
		c.conn.Send.Close()
	}
}

func (c *zctapConn) discard() {
	c.shut()
	c.conn.Abort(c.z.now)
	if c.conn.Recv != nil {
		c.conn.Recv.Drain()
	}
}

// zctapDatagrams is a UDP socket of our stack.
type zctapDatagrams struct {
	arrival
	z      *zctapTarget
	socket *udp.Socket
	closed bool
}

func (z *zctapTarget) OpenUDP(local, remote netip.AddrPort) (Datagrams, error) {
	s, err := z.stack.ListenPacket("udp", local, remote)
	if err != nil {
		return nil, err
	}
	u := &zctapDatagrams{z: z, socket: s}
	z.sockets = append(z.sockets, u)
	return u, nil
}

func (u *zctapDatagrams) Set(string, string) error { return syscall.ENOTSUP }

func (u *zctapDatagrams) Send(p []byte, addr netip.AddrPort) (int, error) {
	if err := u.z.stack.CheckDatagram(u.z.clock, u.socket, addr, len(p)); err != nil {
		return 0, err
	}
	if err := u.socket.Send.Write(p, addr); err != nil {
		return 0, err
	}
	u.z.stack.SendDatagrams(u.socket)
	return len(p), u.z.settle()
}

func (u *zctapDatagrams) Recv(p []byte) (int, netip.AddrPort, error) {
	return u.take(u.socket.Queue, u.z.pool, p)
}

func (u *zctapDatagrams) Join(group netip.Addr) error { return u.z.stack.JoinGroup(u.socket, group) }

func (u *zctapDatagrams) Leave(group netip.Addr) error { return u.z.stack.LeaveGroup(u.socket, group) }

func (u *zctapDatagrams) Close() error {
	u.discard()
	return u.z.settle()
}

func (u *zctapDatagrams) discard() {
	if u.closed {
		return
	}
	u.closed = true
	u.socket.Queue.Close()
	u.z.stack.CloseSocket(u.socket)
	u.socket.Queue.Drain()
}
