package zctap

import (
	"context"
	"errors"
	"net"
	"net/netip"
	"sync/atomic"
	"time"

	"github.com/zctap/zctap/internal/engine"
	"github.com/zctap/zctap/internal/sockq"
)

// A PacketConn is a UDP socket whose datagrams are received into the region of
// its queue. It is a net.PacketConn, and a net.Conn if it was dialed.
type PacketConn struct {
	q  *Queue
	c  engine.PacketConn
	rx *sockq.Datagrams

	closed atomic.Bool
}

var (
	_ net.PacketConn = (*PacketConn)(nil)
	_ net.Conn       = (*PacketConn)(nil)
)

// ListenPacket makes a UDP socket on network "udp", "udp4" or "udp6"; address
// as for net.ListenPacket, and which addresses are meant by none as for Listen. Errors as
// of Listen.
//
// A socket on all addresses, or on a broadcast address, also receives what is sent to all
// hosts of an IPv4 network, or of the wire (255.255.255.255); over AF_XDP only what comes
// in one frame.
func (q *Queue) ListenPacket(network, address string) (*PacketConn, error) {
	c, err := q.listenPacket(network, address)
	return c, q.opError("listen", err)
}

// DialPacket makes a UDP socket that exchanges datagrams with address only. Nothing is
// sent yet. Errors as of DialContext, as far as they can be known then.
func (q *Queue) DialPacket(network, address string) (*PacketConn, error) {
	c, err := q.dialPacket(network, address)
	return c, q.opError("dial", err)
}

func (q *Queue) listenPacket(network, address string) (*PacketConn, error) {
	if err := errors.Join(isDatagram(network), q.mayWait()); err != nil {
		return nil, err
	}
	addrs, err := resolve(context.Background(), network, address)
	if err != nil {
		return nil, err
	}
	c, err := q.engine.ListenPacket(network, addrs[0], netip.AddrPort{})
	if err != nil {
		return nil, q.bindError(network, addrs[0], err)
	}
	return newPacketConn(q, c), nil
}

func (q *Queue) dialPacket(network, address string) (*PacketConn, error) {
	if err := errors.Join(isDatagram(network), q.mayWait()); err != nil {
		return nil, err
	}
	addrs, err := resolveRemote(context.Background(), network, address)
	if err != nil {
		return nil, err
	}
	c, err := q.engine.ListenPacket(network, netip.AddrPort{}, addrs[0])
	if err != nil {
		return nil, addressError(network, addrs[0], err)
	}
	return newPacketConn(q, c), nil
}

func newPacketConn(q *Queue, c engine.PacketConn) *PacketConn {
	pc := &PacketConn{q: q, c: c, rx: c.Queue()}
	pc.rx.Owner = pc
	return pc
}

// Close closes the socket; datagrams not received are dropped.
func (c *PacketConn) Close() error {
	if c.closed.Swap(true) {
		// Not when the first call is done: that may wait for the engine, on whose
		// thread this may be (Queue.Handle).
		return c.q.opError("close", net.ErrClosed)
	}
	c.rx.Close()
	return c.q.opError("close", c.c.Close())
}

// LocalAddr is a *net.UDPAddr.
func (c *PacketConn) LocalAddr() net.Addr { return net.UDPAddrFromAddrPort(c.c.LocalAddr()) }

// RemoteAddr is a *net.UDPAddr, nil if the socket is not dialed.
func (c *PacketConn) RemoteAddr() net.Addr {
	if a := c.c.RemoteAddr(); a.IsValid() {
		return net.UDPAddrFromAddrPort(a)
	}
	return nil
}

// SetDeadline sets both deadlines; the zero time means none.
func (c *PacketConn) SetDeadline(t time.Time) error {
	return errors.Join(c.SetReadDeadline(t), c.SetWriteDeadline(t))
}

// SetReadDeadline is for RecvFromZC and the reads.
func (c *PacketConn) SetReadDeadline(t time.Time) error {
	if c.rx.Closed() {
		return c.q.opError("set", net.ErrClosed)
	}
	c.rx.SetDeadline(t)
	return nil
}

// SetReadBuffer sets how much the kernel keeps of what came and was not received yet
// (SO_RCVBUF), in bytes. The kernel doubles the number, because it counts its memory: each datagram
// takes some hundred bytes beside its payload, or a whole page where drivers receive into pages. What comes when that is full is lost, and counted as datagram-no-room-in-kernel.
// Without CAP_NET_ADMIN the kernel gives no more than net.core.rmem_max, without a word.
// Engine User receives into the region at once, whose size is what counts: nothing is set.
// Errors: EINVAL for less than a byte, net.ErrClosed.
func (c *PacketConn) SetReadBuffer(bytes int) error {
	if c.rx.Closed() {
		return c.q.opError("set", net.ErrClosed)
	}
	return c.q.opError("set", c.c.SetReadBuffer(bytes))
}

// SetWriteDeadline is for the writes.
func (c *PacketConn) SetWriteDeadline(t time.Time) error {
	if c.rx.Closed() {
		return c.q.opError("set", net.ErrClosed)
	}
	c.c.SetWriteDeadline(t)
	return nil
}
