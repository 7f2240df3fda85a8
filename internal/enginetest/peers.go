package enginetest

import (
	"context"
	"net"
	"net/netip"

	"github.com/zctap/zctap"
)

// KernelPeer is the Linux kernel's TCP and UDP on the other end.
type KernelPeer struct {
	// Queue is the queue's address as the kernel reaches it, Own the kernel's.
	Queue, Own netip.Addr
	// In runs a function where the kernel's sockets are to be made; nil: here.
	In func(func() error) error
}

func (k KernelPeer) in(f func() error) error {
	if k.In == nil {
		return f()
	}
	return k.In(f)
}

// Host is the queue's address.
func (k KernelPeer) Host() string { return k.Queue.String() }

// Dial connects to the queue.
func (k KernelPeer) Dial(network, address string) (c net.Conn, err error) {
	err = k.in(func() (err error) {
		c, err = (&net.Dialer{}).DialContext(context.Background(), network, address)
		return err
	})
	return c, err
}

// Listen listens on the kernel's address.
func (k KernelPeer) Listen(network string) (ln net.Listener, err error) {
	err = k.in(func() (err error) {
		ln, err = net.Listen(network, net.JoinHostPort(k.Own.String(), "0"))
		return err
	})
	return ln, err
}

// ListenPacket makes a UDP socket on the kernel's address.
func (k KernelPeer) ListenPacket(network string) (c net.PacketConn, err error) {
	err = k.in(func() (err error) {
		c, err = net.ListenPacket(network, net.JoinHostPort(k.Own.String(), "0"))
		return err
	})
	return c, err
}

// QueuePeer is another queue of zctap's.
type QueuePeer struct {
	Q          *zctap.Queue
	Queue, Own netip.Addr
}

// Host is the queue's address.
func (p QueuePeer) Host() string { return p.Queue.String() }

// Dial connects to the queue under test.
func (p QueuePeer) Dial(network, address string) (net.Conn, error) {
	c, err := p.Q.Dial(network, address)
	if err != nil {
		return nil, err // not c: a nil *Conn in an interface is not nil
	}
	return c, nil
}

// Listen listens on the peer's address.
func (p QueuePeer) Listen(network string) (net.Listener, error) {
	ln, err := p.Q.Listen(network, net.JoinHostPort(p.Own.String(), "0"))
	if err != nil {
		return nil, err
	}
	return ln, nil
}

// ListenPacket makes a UDP socket on the peer's address.
func (p QueuePeer) ListenPacket(network string) (net.PacketConn, error) {
	c, err := p.Q.ListenPacket(network, net.JoinHostPort(p.Own.String(), "0"))
	if err != nil {
		return nil, err
	}
	return c, nil
}

// SendSegments sends b as datagrams of size bytes, one by one.
func (p QueuePeer) SendSegments(c net.PacketConn, b []byte, size int, to netip.AddrPort) error {
	for len(b) > 0 {
		n := min(size, len(b))
		if _, err := c.(*zctap.PacketConn).WriteToAddrPort(b[:n], to); err != nil {
			return err
		}
		b = b[n:]
	}
	return nil
}

// SetTrafficClass sets DSCP and ECN of what c sends.
func (p QueuePeer) SetTrafficClass(c net.PacketConn, tc uint8) error {
	return c.(*zctap.PacketConn).SetTrafficClass(tc)
}
