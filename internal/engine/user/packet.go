package user

import (
	"errors"
	"fmt"
	"net"
	"net/netip"
	"slices"
	"sync"
	"sync/atomic"
	"syscall"
	"time"

	"github.com/zctap/zctap/internal/engine"
	"github.com/zctap/zctap/internal/mono"
	"github.com/zctap/zctap/internal/sockq"
	"github.com/zctap/zctap/internal/stack/udp"
	"github.com/zctap/zctap/internal/wire"
)

// A PacketConn is a UDP socket.
type PacketConn struct {
	engine *Engine
	socket *udp.Socket // the engine's, but for Queue and Send, and its addresses
	ask    command     // to send
	claim  *claim      // of the port; the engine's
	closed atomic.Bool // by the application

	joining sync.Mutex   // one change of groups at a time, in stack and host
	groups  []netip.Addr // joined at the host
}

var _ engine.PacketConn = (*PacketConn)(nil)

// ListenPacket makes a UDP socket; see engine.Engine.
func (e *Engine) ListenPacket(network string, local, remote netip.AddrPort) (engine.PacketConn, error) {
	p := &PacketConn{engine: e}
	var err error
	if remote.IsValid() {
		local, p.claim, err = e.takeFlow(wire.ProtoUDP, local, remote)
	} else {
		local, p.claim, err = e.takePort(wire.ProtoUDP, network, local)
	}
	if err != nil {
		return nil, err
	}
	e.do(func(mono.Time) {
		if err = e.cause; err == nil {
			p.socket, err = e.stack.ListenPacket(network, local, remote)
		}
		if err != nil {
			p.claim.drop()
			return
		}
		e.packets[p] = struct{}{}
	})
	if err != nil {
		return nil, err
	}
	p.ask.run = func(mono.Time, uint32) { e.stack.SendDatagrams(p.socket) }
	return p, nil
}

// Queue is where received datagrams are.
func (p *PacketConn) Queue() *sockq.Datagrams { return p.socket.Queue }

// WriteTo sends one datagram; see engine.PacketConn. It blocks while many wait
// to be sent.
func (p *PacketConn) WriteTo(b []byte, to netip.AddrPort) (int, error) {
	if err := p.engine.stack.CheckDatagram(mono.Now, p.socket, to, len(b)); err != nil {
		return 0, err
	}
	write := p.socket.Send.Write
	if p.engine.handling() {
		write = p.socket.Send.TryWrite
	}
	if err := write(b, to); err != nil {
		return 0, p.engine.explain(err, p.closed.Load())
	}
	p.engine.post(&p.ask, 1)
	return len(b), nil
}

// JoinGroup receives what is sent to a multicast group; see engine.PacketConn.
func (p *PacketConn) JoinGroup(group netip.Addr) error {
	p.joining.Lock()
	defer p.joining.Unlock()
	err := p.inEngine(func() error { return p.engine.stack.JoinGroup(p.socket, group) })
	if err != nil || p.engine.host == nil {
		return err
	}
	if err := p.engine.host.Join(p.at(group)); err != nil {
		return errors.Join(err, p.leave(group))
	}
	p.groups = append(p.groups, group)
	return nil
}

// LeaveGroup takes JoinGroup back.
func (p *PacketConn) LeaveGroup(group netip.Addr) error {
	p.joining.Lock()
	defer p.joining.Unlock()
	if err := p.leave(group); err != nil || p.engine.host == nil {
		return err
	}
	p.groups = slices.DeleteFunc(p.groups, func(g netip.Addr) bool { return g == group })
	return p.engine.host.Leave(p.at(group))
}

// leaveHost leaves all groups at the host, which the engine would have to wait for if
// it gave back the port before.
func (p *PacketConn) leaveHost() {
	p.joining.Lock()
	defer p.joining.Unlock()
	for _, g := range p.groups {
		_ = p.engine.host.Leave(p.at(g)) // an error: they end with the port
	}
	p.groups = nil
}

// leave takes the group from the socket.
func (p *PacketConn) leave(group netip.Addr) error {
	return p.inEngine(func() error { return p.engine.stack.LeaveGroup(p.socket, group) })
}

// at is the port of p's in a group.
func (p *PacketConn) at(group netip.Addr) netip.AddrPort {
	return netip.AddrPortFrom(group, p.socket.Local.Port())
}

// inEngine has the engine call fn, unless p is closed.
func (p *PacketConn) inEngine(fn func() error) error {
	err := net.ErrClosed
	p.engine.do(func(mono.Time) {
		if _, open := p.engine.packets[p]; open {
			err = fn()
		}
	})
	return err
}

// SetTrafficClass sets DSCP and ECN of what is sent from now on.
func (p *PacketConn) SetTrafficClass(tc uint8) error {
	p.socket.Send.SetTrafficClass(tc)
	return nil
}

// SetReadBuffer does nothing: the kernel keeps no datagram of ours.
func (p *PacketConn) SetReadBuffer(bytes int) error {
	if bytes < 1 {
		return fmt.Errorf("read buffer of %d bytes: %w", bytes, syscall.EINVAL)
	}
	return nil
}

// SetWriteDeadline makes WriteTo fail from t on, also one that waits.
func (p *PacketConn) SetWriteDeadline(t time.Time) { p.socket.Send.SetDeadline(t) }

// LocalAddr is our end; its address is unspecified if the socket is bound to all.
func (p *PacketConn) LocalAddr() netip.AddrPort { return p.socket.Local }

// RemoteAddr is the peer's end; invalid if the socket is not connected.
func (p *PacketConn) RemoteAddr() netip.AddrPort { return p.socket.Remote }

// Close gives the socket up. What was written is still sent, what was not
// received is dropped. When it returns the address is free again.
func (p *PacketConn) Close() error {
	if p.closed.Swap(true) {
		return nil
	}
	p.shut()
	leave := func() {
		p.leaveHost()
		p.engine.do(p.drain)
	}
	if p.engine.handling() {
		go leave() // the host may block
		return nil
	}
	leave()
	return nil
}

// shut makes every call of the application fail with net.ErrClosed.
func (p *PacketConn) shut() {
	p.socket.Send.Close()
	p.socket.Queue.Close()
}

// drain takes the socket out of the stack and drops what nobody will receive; the
// queue is closed. Engine.
func (p *PacketConn) drain(mono.Time) {
	if _, open := p.engine.packets[p]; !open {
		return
	}
	delete(p.engine.packets, p)
	p.engine.stack.CloseSocket(p.socket)
	p.claim.drop()
	p.socket.Queue.Drain()
}
