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
	queue *sockq.Datagrams
}

var _ engine.PacketConn = (*packetConn)(nil)

// ListenPacket implements engine.Engine.
func (e *Engine) ListenPacket(network string, local, remote netip.AddrPort) (engine.PacketConn, error) {
	sock, err := ksock.Packet(network, local, remote)
	if err != nil {
		return nil, err
	}
	p := &packetConn{queue: sockq.NewDatagrams(e.loop.pool)}
	p.init(e.loop, sock)
	p.packet = p
	if err := e.loop.attach(&p.socket); err != nil {
		sock.Close()
		return nil, err
	}
	return p, nil
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
	if !p.release() {
		return nil
	}
	return p.sock.Close()
}
