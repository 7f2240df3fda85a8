//go:build linux

package kernel

import (
	"net/netip"
	"time"

	"github.com/zctap/zctap/internal/engine"
	"github.com/zctap/zctap/internal/ksock"
	"github.com/zctap/zctap/internal/sockq"
)

// retryAfter is when to try again what failed for want of something, above all
// of descriptors: what frees one need not be ours to see.
const retryAfter = 100 * time.Millisecond

// A listener accepts TCP connections, as soon as they come: they receive into
// the region before the application has taken them from the backlog.
type listener struct {
	socket
	backlog *sockq.Backlog[engine.Conn]
	max     int // connections that backlog holds
}

var _ engine.Listener = (*listener)(nil)

// Listen implements engine.Engine. backlog < 1 is as many connections as the
// system allows.
func (e *Engine) Listen(network string, addr netip.AddrPort, backlog int) (engine.Listener, error) {
	if why := e.loop.broke.Load(); why != nil {
		return nil, *why // and not what steering to a NIC that is gone fails with
	}
	sock, err := ksock.Bind(network, addr)
	if err != nil {
		return nil, err
	}
	n := &listener{backlog: sockq.NewBacklog[engine.Conn](), max: ksock.Backlog(backlog)}
	n.init(e.loop, sock)
	n.listener = n
	// Before the first connection: one that came earlier would come in elsewhere.
	if n.flow, err = e.steering.steer(wildcard(network, addr, sock.LocalAddr())); err != nil {
		sock.Close()
		return nil, err
	}
	err = sock.SetCongestion(e.congestion)
	if err == nil {
		err = sock.Listen(backlog)
	}
	if err != nil {
		sock.Close()
		n.flow.drop()
		return nil, err
	}
	if err := e.loop.attach(&n.socket); err != nil {
		sock.Close()
		n.flow.drop()
		return nil, err
	}
	return n, nil
}

// Backlog implements engine.Listener.
func (n *listener) Backlog() *sockq.Backlog[engine.Conn] { return n.backlog }

// Addr implements engine.Listener.
func (n *listener) Addr() netip.AddrPort { return n.sock.LocalAddr() }

// Close implements engine.Listener.
func (n *listener) Close() error {
	n.backlog.Close()
	if n.l.cq.Handling() {
		// For each connection that is reset it waits. An error would be of a
		// descriptor that is gone already.
		go func() { _ = n.leave() }()
		return nil
	}
	return n.leave()
}

// leave is Close without the backlog's.
func (n *listener) leave() error {
	return n.release(func() error {
		n.backlog.Drain(func(c engine.Conn) { c.(*conn).reset() })
		err := n.sock.Close()
		n.flow.drop()
		return err
	})
}

// accepted serves the connection fd and shows it to the application. The
// loop's.
func (l *loop) accepted(n *listener, fd int) {
	sock, err := ksock.Adopt(fd)
	if err != nil {
		l.stats.acceptGone.Add(1)
		return
	}
	to := l.place()
	c := newConn(to, sock)
	c.flow = n.flow.keep()
	if n.backlog.Len() >= n.max || !l.handTo(to, &c.socket) {
		to.unplace()
		l.stats.acceptRefused.Add(1)
		_ = sock.Reset()
		c.flow.drop() // the listener's reference is left
		return
	}
	n.backlog.Push(c)
	l.received = true
}

// starve notes that n could not accept: EMFILE, ENFILE, ENOBUFS or ENOMEM, as a
// rule. The connection waits in the kernel.
func (l *loop) starve(n *listener) {
	l.stats.acceptStarved.Add(1)
	l.starved = append(l.starved, &n.socket)
}

// retryStarved tries again for the sockets that wait for what they lacked.
func (l *loop) retryStarved() {
	waiting := l.starved
	l.starved = nil
	for _, s := range waiting {
		if !s.detaching {
			l.back.receive(s)
		}
	}
}
