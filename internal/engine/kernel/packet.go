//go:build linux

package kernel

import (
	"net/netip"

	"github.com/zctap/zctap/internal/engine"
	"github.com/zctap/zctap/internal/ksock"
	"github.com/zctap/zctap/internal/sockq"
)

// A packetConn is a UDP socket.
type packetConn struct {
	socket
	queue  *sockq.Datagrams
	merges bool // the kernel may put datagrams together
	iface  string

	gathering gathering
}

var _ engine.PacketConn = (*packetConn)(nil)

// ListenPacket implements engine.Engine.
func (e *Engine) ListenPacket(network string, local, remote netip.AddrPort) (engine.PacketConn, error) {
	merges := e.loop.merges()
	sock, err := ksock.Packet(network, local, remote, merges)
	if err != nil {
		return nil, err
	}
	p := &packetConn{queue: sockq.NewDatagrams(e.loop.pool), merges: merges, iface: e.iface}
	p.init(e.loop, sock)
	p.packet = p
	p.measure()
	if err := e.loop.attach(&p.socket); err != nil {
		sock.Close()
		return nil, err
	}
	return p, nil
}

// merges reports whether a socket may always have room for the largest message that
// the kernel makes of several datagrams.
func (l *loop) merges() bool {
	room := l.perMsg
	if l.maxHeld > 0 {
		room = min(room, l.maxHeld/2)
	}
	return room*l.pool.Region().BufferSize() >= maxDatagram
}

// JoinGroup implements engine.PacketConn.
func (p *packetConn) JoinGroup(group netip.Addr) error { return p.sock.JoinGroup(group, p.iface) }

// LeaveGroup implements engine.PacketConn.
func (p *packetConn) LeaveGroup(group netip.Addr) error { return p.sock.LeaveGroup(group, p.iface) }

// SetTrafficClass implements engine.PacketConn.
func (p *packetConn) SetTrafficClass(tc uint8) error { return p.sock.SetTrafficClass(tc) }

// SetReadBuffer implements engine.PacketConn.
func (p *packetConn) SetReadBuffer(bytes int) error {
	err := p.sock.SetReceiveBuffer(bytes)
	p.measure()
	return err
}

// measure asks the kernel how much room there is for what gathers.
func (p *packetConn) measure() {
	if room, err := p.sock.ReceiveBuffer(); err == nil {
		p.gathering.room.Store(int64(room))
	}
}

// Queue implements engine.PacketConn.
func (p *packetConn) Queue() *sockq.Datagrams { return p.queue }

// LocalAddr implements engine.PacketConn.
func (p *packetConn) LocalAddr() netip.AddrPort { return p.sock.LocalAddr() }

// RemoteAddr implements engine.PacketConn.
func (p *packetConn) RemoteAddr() netip.AddrPort { return p.sock.RemoteAddr() }

// Close implements engine.PacketConn.
func (p *packetConn) Close() error {
	p.queue.Close()
	return p.release(p.sock.Close)
}
