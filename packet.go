package zctap

import (
	"context"
	"errors"
	"net"
	"net/netip"
	"sync"
	"sync/atomic"
	"time"

	"github.com/zctap/zctap/internal/buf"
	"github.com/zctap/zctap/internal/engine"
	"github.com/zctap/zctap/internal/sockq"
)

// A PacketConn is a UDP socket whose datagrams are received into the region of
// its queue. It is a net.PacketConn, and a net.Conn if it was dialed.
type PacketConn struct {
	q  *Queue
	c  engine.PacketConn
	rx *sockq.Datagrams

	closed    atomic.Bool
	closeOnce sync.Once
}

var (
	_ net.PacketConn = (*PacketConn)(nil)
	_ net.Conn       = (*PacketConn)(nil)
)

// A Datagram is what comes with the iovs of one datagram.
type Datagram struct {
	Src, Dst netip.AddrPort
	// Iovs is the number of iovs that it took; 0 for an empty datagram.
	Iovs int
	// Len is its length in bytes as sent, also of what did not fit.
	Len int
	// Truncated: its tail was lost, because it had more pieces than the iovs
	// given or than the engine could hold. No other datagram is concerned.
	Truncated bool
}

// ListenPacket makes a UDP socket on network "udp", "udp4" or "udp6"; address
// as for net.ListenPacket.
func (q *Queue) ListenPacket(network, address string) (*PacketConn, error) {
	c, err := q.packetConn(context.Background(), network, address, "")
	return c, q.opError("listen", err)
}

// DialPacket makes a UDP socket that exchanges datagrams with address only.
func (q *Queue) DialPacket(network, address string) (*PacketConn, error) {
	c, err := q.packetConn(context.Background(), network, "", address)
	return c, q.opError("dial", err)
}

func (q *Queue) packetConn(ctx context.Context, network, laddr, raddr string) (*PacketConn, error) {
	if err := isDatagram(network); err != nil {
		return nil, err
	}
	var ends [2]netip.AddrPort
	for i, a := range []string{laddr, raddr} {
		if a == "" {
			continue
		}
		addrs, err := resolve(ctx, network, a)
		if err != nil {
			return nil, err
		}
		ends[i] = addrs[0]
	}
	c, err := q.engine.ListenPacket(network, ends[0], ends[1])
	if err != nil {
		return nil, err
	}
	pc := &PacketConn{q: q, c: c, rx: c.Queue()}
	pc.rx.Owner = pc
	return pc, nil
}

// RecvFromZC receives whole datagrams without a copy. It blocks until there is
// one, then takes as many as are there and fit: n datagrams, described by
// dgrams[:n], whose iovs stand in iovs one datagram after the other. A datagram
// that alone has more pieces than iovs is cut and marked Truncated. Release the
// iovs as those of RecvZC.
func (c *PacketConn) RecvFromZC(iovs []Iov, dgrams []Datagram) (n int, err error) {
	var msgs [32]sockq.Message
	n, _, err = c.rx.Recv(inner(iovs), msgs[:min(len(msgs), len(dgrams))])
	if err != nil {
		return 0, c.q.opError("recv", c.q.cause(err, c.closed.Load()))
	}
	for i, m := range msgs[:n] {
		dgrams[i] = Datagram(m)
	}
	c.q.recvCalls.Add(1)
	return n, nil
}

// ReadFromAddrPort receives one datagram with a copy into p; what does not fit
// is lost, as for net.UDPConn.
func (c *PacketConn) ReadFromAddrPort(p []byte) (n int, src netip.AddrPort, err error) {
	var iovs [maxDatagramIovs]Iov
	var msg [1]sockq.Message
	_, k, err := c.rx.Recv(inner(iovs[:]), msg[:])
	if err != nil {
		return 0, src, c.q.opError("read", c.q.cause(err, c.closed.Load()))
	}
	for i := range iovs[:k] {
		n += copy(p[n:], iovs[i].Bytes())
	}
	c.q.readBytes.Add(uint64(n))
	_, err = c.q.Release(iovs[:k])
	return n, msg[0].Src, err
}

// maxDatagramIovs is the pieces of the largest datagram, 64 KiB, in pages of
// 4 KiB that begin at any offset.
const maxDatagramIovs = 18

// ReadFrom is part of net.PacketConn; see ReadFromAddrPort.
func (c *PacketConn) ReadFrom(p []byte) (int, net.Addr, error) {
	n, src, err := c.ReadFromAddrPort(p)
	if err != nil {
		return 0, nil, err
	}
	return n, net.UDPAddrFromAddrPort(src), nil
}

// Read is ReadFrom without the address.
func (c *PacketConn) Read(p []byte) (int, error) {
	n, _, err := c.ReadFromAddrPort(p)
	return n, err
}

// WriteTo is part of net.PacketConn: addr is a *net.UDPAddr.
func (c *PacketConn) WriteTo(p []byte, addr net.Addr) (int, error) {
	a, ok := addr.(*net.UDPAddr)
	if !ok {
		return 0, c.q.opError("write", &net.AddrError{Err: "not a UDP address", Addr: addr.String()})
	}
	return c.WriteToAddrPort(p, a.AddrPort())
}

// WriteToAddrPort sends p as one datagram. EMSGSIZE if it does not fit into one.
func (c *PacketConn) WriteToAddrPort(p []byte, to netip.AddrPort) (int, error) {
	to = netip.AddrPortFrom(to.Addr().Unmap(), to.Port())
	n, err := c.c.WriteTo(p, to)
	return n, c.q.opError("write", err)
}

// Write sends p to the peer of a dialed socket.
func (c *PacketConn) Write(p []byte) (int, error) {
	n, err := c.c.WriteTo(p, netip.AddrPort{})
	return n, c.q.opError("write", err)
}

// Arm makes each datagram complete in Queue.Wait, with userData.
func (c *PacketConn) Arm(userData uint64) error {
	err := c.q.arm(&c.rx.Source, userData, c.rx.Closed())
	if err == nil && c.rx.Len() > 0 {
		c.q.raise(&c.rx.Source)
	}
	return c.q.opError("arm", err)
}

func (c *PacketConn) complete(cqe *Completion, iovs []buf.Iov) (done, again bool) {
	var msg [1]sockq.Message
	n, k, more, err := c.rx.Poll(iovs, msg[:])
	if err != nil || n == 0 {
		return false, false
	}
	m := &msg[0]
	cqe.Iovs, cqe.Res, cqe.Src, cqe.Dst = cqe.Iovs[:k], m.Len, m.Src, m.Dst
	if m.Truncated {
		cqe.Flags |= Truncated
	}
	return true, more
}

// Close closes the socket; datagrams not received are dropped.
func (c *PacketConn) Close() error {
	err := error(net.ErrClosed)
	c.closeOnce.Do(func() {
		c.closed.Store(true)
		c.rx.Close()
		err = c.c.Close()
	})
	return c.q.opError("close", err)
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

// SetWriteDeadline is for the writes.
func (c *PacketConn) SetWriteDeadline(t time.Time) error {
	if c.rx.Closed() {
		return c.q.opError("set", net.ErrClosed)
	}
	c.c.SetWriteDeadline(t)
	return nil
}
