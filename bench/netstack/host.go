package netstack

import (
	"errors"
	"fmt"
	"net/netip"

	"gvisor.dev/gvisor/pkg/tcpip"
	"gvisor.dev/gvisor/pkg/tcpip/stack"
	"gvisor.dev/gvisor/pkg/tcpip/transport/tcp"
	"gvisor.dev/gvisor/pkg/waiter"

	"github.com/zctap/zctap/internal/buf"
	"github.com/zctap/zctap/internal/driver"
	"github.com/zctap/zctap/internal/mono"
	"github.com/zctap/zctap/test/sim"
)

// A Host is a sim.Host with gVisor's stack.
type Host struct {
	stack *stack.Stack
	link  *Link
	clock *Clock

	pool  *buf.Pool
	wire  driver.Driver
	batch *driver.Batch
	out   [][]byte // sent by the stack, not taken by the wire

	listeners []listener
	conns     []*conn
	window    int
	nagle     bool
}

type listener struct {
	ep     tcpip.Endpoint
	accept func(sim.Conn)
}

var _ sim.Host = (*Host)(nil)

// Make makes a Host: a sim.Maker. The path's frames have no link header.
func Make(_ int, s sim.Settings, p *buf.Pool, d driver.Driver) (sim.Host, error) {
	if s.Ethernet {
		return nil, errors.New("netstack: no Ethernet here")
	}
	h := &Host{
		link: &Link{mtu: uint32(s.MTU)}, clock: NewClock(1),
		pool: p, wire: d, batch: driver.NewBatch(32, 1024), window: s.Window, nagle: s.Nagle,
	}
	var err error
	if h.stack, err = newStack(h.link, h.clock, int64(s.Seed), s.Prefixes); err != nil {
		return nil, err
	}
	return h, stubborn(h.stack)
}

// settle waits until the stack's goroutines have nothing to do.
func (h *Host) settle() {
	h.stack.Pause()
	h.stack.Resume()
}

// Round is a sim.Host's.
func (h *Host) Round(now mono.Time) (bool, error) {
	h.settle() // the application has done something
	busy := h.clock.Advance(now, h.settle)
	if err := h.wire.Poll(now, h.batch); err != nil {
		return busy, err
	}
	for i := range h.batch.Frames {
		f := &h.batch.Frames[i]
		p := append([]byte(nil), f.Head...)
		for _, g := range f.Frags {
			p = append(p, h.pool.Region().View(g)...)
		}
		h.pool.PutFrags(f.Frags)
		h.link.In(p)
		h.settle()
		busy = true
	}
	h.acceptAll()
	for _, c := range h.conns {
		c.tellEnd()
	}
	h.out = append(h.out, h.link.Out()...)
	for len(h.out) > 0 {
		n, err := h.wire.Send(now, []driver.TxFrame{{Head: h.out[0]}})
		if err != nil {
			return busy, err
		}
		if n == 0 {
			break
		}
		h.out = h.out[1:]
		busy = true
	}
	return busy, nil
}

// Next is a sim.Host's.
func (h *Host) Next() mono.Time {
	for _, c := range h.conns {
		if c.open() {
			return h.clock.Next()
		}
	}
	return 0 // what is left are no connection's timers, and of no interest
}

// Listen is a sim.Host's.
func (h *Host) Listen(port uint16, accept func(sim.Conn)) error {
	for _, a := range []netip.Addr{netip.IPv4Unspecified(), netip.IPv6Unspecified()} {
		addr, proto := full(netip.AddrPortFrom(a, port))
		ep, err := h.stack.NewEndpoint(tcp.ProtocolNumber, proto, new(waiter.Queue))
		if err != nil {
			return fail("making a socket", err)
		}
		ep.SocketOptions().SetV6Only(true)
		h.shape(ep)
		if err := ep.Bind(addr); err != nil {
			return fail("binding", err)
		}
		if err := ep.Listen(16); err != nil {
			return fail("listening", err)
		}
		h.listeners = append(h.listeners, listener{ep, accept})
	}
	return nil
}

// acceptAll accepts what there is.
func (h *Host) acceptAll() {
	for _, l := range h.listeners {
		for {
			ep, _, err := l.ep.Accept(nil)
			if err != nil {
				break
			}
			ep.SocketOptions().SetDelayOption(h.nagle)
			l.accept(h.conn(ep))
		}
	}
}

// Dial is a sim.Host's.
func (h *Host) Dial(_ mono.Time, remote netip.AddrPort) (sim.Conn, error) {
	addr, proto := full(remote)
	ep, err := h.stack.NewEndpoint(tcp.ProtocolNumber, proto, new(waiter.Queue))
	if err != nil {
		return nil, fail("making a socket", err)
	}
	h.shape(ep)
	if err := ep.Connect(addr); err != nil {
		if _, started := err.(*tcpip.ErrConnectStarted); !started {
			return nil, fail("connecting", err)
		}
	}
	return h.conn(ep), nil
}

// shape sets a socket's options before its connection begins.
func (h *Host) shape(ep tcpip.Endpoint) {
	ep.SocketOptions().SetDelayOption(h.nagle)
	if h.window > 0 {
		ep.SocketOptions().SetReceiveBufferSize(int64(h.window), true)
	}
}

func (h *Host) conn(ep tcpip.Endpoint) *conn {
	c := &conn{host: h, ep: ep}
	h.conns = append(h.conns, c)
	return c
}

// Conns is a sim.Host's: the connections that an application has not let go of. What
// becomes of those of gVisor's afterwards is its own business. It has been seen to
// stay in CLOSING for ever, when an ACK of its FIN overtook the peer's.
func (h *Host) Conns() (n int) {
	for _, c := range h.conns {
		if !c.closed && c.open() {
			n++
		}
	}
	return n
}

// Check is a sim.Host's: between rounds all buffers are free but what the wire keeps
// for a frame that it has no room for.
func (h *Host) Check() error {
	c, err := h.pool.Census()
	if err == nil && c.User+c.Stack > 0 {
		err = fmt.Errorf("buffers are out: %+v", c)
	}
	return err
}

// Close is a sim.Host's.
func (h *Host) Close() error {
	for _, l := range h.listeners {
		l.ep.Close()
	}
	h.stack.Destroy()
	err := h.wire.Close()
	if c, e := h.pool.Census(); e != nil || c.Out() != 0 {
		err = errors.Join(err, e, fmt.Errorf("buffers are left: %+v", c))
	}
	h.pool.Close()
	return err
}
