package stack

import (
	"bytes"
	"errors"
	"net/netip"
	"syscall"
	"testing"

	"github.com/zctap/zctap/internal/driver"
	"github.com/zctap/zctap/internal/stack/udp"
)

func mustListen(t *testing.T, s *Stack, network string, local, remote netip.AddrPort) *udp.Socket {
	t.Helper()
	u, err := s.ListenPacket(network, local, remote)
	if err != nil {
		t.Fatalf("ListenPacket(%q, %v, %v): %v", network, local, remote, err)
	}
	return u
}

// TestUDPDemux: the closest socket gets a datagram.
func TestUDPDemux(t *testing.T) {
	r := newRig(t)
	us := netip.AddrPortFrom(us4.Addr(), 53)
	peer := netip.AddrPortFrom(peer4, 999)
	any := mustListen(t, r.stack, "udp", netip.AddrPortFrom(netip.Addr{}, 53), netip.AddrPort{})
	connected := mustListen(t, r.stack, "udp", us, peer)
	send := func(from, to netip.AddrPort) { r.deliver(udpPacket(t, from, to, []byte("x")), whole) }
	lens := func() [2]int { return [2]int{any.Queue.Len(), connected.Queue.Len()} }

	send(peer, us)
	if lens() != [2]int{0, 1} {
		t.Errorf("from the peer: %v", lens())
	}
	send(netip.AddrPortFrom(peer4, 998), us)
	send(netip.AddrPortFrom(peer6, 999), netip.AddrPortFrom(us6.Addr(), 53))
	if lens() != [2]int{2, 1} {
		t.Errorf("from others: %v", lens())
	}
	r.closeSocket(connected)
	send(peer, us)
	if lens() != [2]int{3, 0} {
		t.Errorf("after Close of the connected one: %v", lens())
	}
	connected = mustListen(t, r.stack, "udp", us, peer)
	send(peer, us)
	if lens() != [2]int{3, 1} {
		t.Errorf("connected since the last one came: %v", lens())
	}
	r.closeSocket(connected)
	r.closeSocket(any)
	send(peer, us)
	r.wantDrops(map[string]uint64{"no-socket": 1})
	r.wantFree()
}

func TestUDPBinding(t *testing.T) {
	a4, a6 := netip.AddrPortFrom(us4.Addr(), 53), netip.AddrPortFrom(us6.Addr(), 53)
	all := netip.AddrPortFrom(netip.Addr{}, 53)
	any4, any6 := netip.MustParseAddrPort("0.0.0.0:53"), netip.MustParseAddrPort("[::]:53")
	none := netip.AddrPort{}
	type bind struct {
		network       string
		local, remote netip.AddrPort
		err           error
	}
	tests := []struct {
		name  string
		binds []bind
	}{
		{"the same twice", []bind{{"udp", a4, none, nil}, {"udp", a4, none, syscall.EADDRINUSE}}},
		{"all, then one", []bind{{"udp", all, none, nil}, {"udp", a6, none, syscall.EADDRINUSE}}},
		{"one, then all", []bind{{"udp", a4, none, nil}, {"udp", any6, none, syscall.EADDRINUSE}}},
		{"two versions", []bind{{"udp4", all, none, nil}, {"udp6", all, none, nil}, {"udp", any4, none, syscall.EADDRINUSE}}},
		{"versions by address", []bind{{"udp", a4, none, nil}, {"udp6", any6, none, nil}, {"udp", a6, none, syscall.EADDRINUSE}}},
		{"connected ones beside", []bind{
			{"udp", a4, none, nil},
			{"udp", a4, netip.AddrPortFrom(peer4, 1), nil},
			{"udp", a4, netip.AddrPortFrom(peer4, 2), nil},
			{"udp", a4, netip.AddrPortFrom(peer4, 1), syscall.EADDRINUSE},
			{"udp", none, netip.MustParseAddrPort("224.0.0.1:1"), nil}, // to send to a group
			{"udp", none, netip.MustParseAddrPort("192.0.2.255:1"), nil},
			{"udp", none, netip.MustParseAddrPort("255.255.255.255:1"), nil},
		}},
		{"wrong arguments", []bind{
			{"tcp", all, none, syscall.EAFNOSUPPORT},
			{"udp5", all, none, syscall.EAFNOSUPPORT},
			{"udp6", a4, none, syscall.EAFNOSUPPORT},
			{"udp", netip.MustParseAddrPort("192.0.2.9:53"), none, syscall.EADDRNOTAVAIL},
			{"udp", netip.MustParseAddrPort("[::ffff:192.0.2.1]:53"), none, syscall.EADDRNOTAVAIL},
			{"udp", a4, netip.AddrPortFrom(peer6, 1), syscall.EAFNOSUPPORT},
			{"udp", a4, netip.AddrPortFrom(peer4, 0), syscall.EADDRNOTAVAIL},
			{"udp", a4, netip.AddrPortFrom(us4.Addr(), 5), syscall.ENETUNREACH},
			{"udp", netip.MustParseAddrPort("192.0.2.255:1"), netip.AddrPortFrom(peer4, 1), syscall.EADDRNOTAVAIL},
			{"udp6", netip.MustParseAddrPort("192.0.2.255:1"), none, syscall.EAFNOSUPPORT},
			{"tcp", none, netip.MustParseAddrPort("224.0.0.1:1"), syscall.EAFNOSUPPORT},
			{"udp", netip.MustParseAddrPort("224.0.0.1:1"), netip.AddrPortFrom(peer4, 1), syscall.EADDRNOTAVAIL},
		}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			r := newRig(t)
			for i, b := range tt.binds {
				u, err := r.stack.ListenPacket(b.network, b.local, b.remote)
				if !errors.Is(err, b.err) {
					t.Fatalf("%d: %v, want %v", i, err, b.err)
				}
				if err == nil {
					defer r.closeSocket(u)
				}
			}
			if n := r.stack.sockets.n; tt.binds[0].err != nil && n != 0 {
				t.Errorf("%d sockets left behind", n)
			}
		})
	}
}

func TestEphemeralPorts(t *testing.T) {
	r := newRig(t)
	seen := map[uint16]bool{}
	var ascending int
	last := uint16(0)
	for range 200 {
		u := mustListen(t, r.stack, "udp4", netip.AddrPort{}, netip.AddrPort{})
		defer r.closeSocket(u)
		p := u.Local.Port()
		if seen[p] || p < firstEphemeral || p >= firstEphemeral+ephemerals {
			t.Fatalf("port %d, again or out of range", p)
		}
		if p == last+1 {
			ascending++
		}
		seen[p], last = true, p
	}
	if ascending > 5 {
		t.Errorf("%d of 200 ports were the next one: not random", ascending)
	}
}

// TestUDPBounds: a socket that nobody reads keeps no more than its share, and
// what it drops is counted.
func TestUDPBounds(t *testing.T) {
	const sent = rigBuffers
	flood := func(r *rig, u *udp.Socket, payload []byte) {
		for range sent {
			r.deliver(udpPacket(r.t, netip.AddrPortFrom(peer4, 9), u.Local, payload), whole)
		}
	}
	t.Run("half of what is free", func(t *testing.T) {
		r := newRig(t)
		u := mustListen(t, r.stack, "udp", netip.AddrPortFrom(us4.Addr(), 53), netip.AddrPort{})
		flood(r, u, []byte("x"))
		if n := u.Queue.Len(); n < rigBuffers/2-1 || n > rigBuffers/2+1 || u.Held() != n {
			t.Errorf("%d queued, %d held of %d", n, u.Held(), rigBuffers)
		}
		r.wantDrops(map[string]uint64{"socket-full": uint64(sent - u.Queue.Len())})
		r.closeSocket(u)
		r.wantFree()
	})
	t.Run("MaxHeld", func(t *testing.T) {
		r := newRig(t, func(c *Config, _ *driver.Caps) { c.MaxHeld = 7 })
		u := mustListen(t, r.stack, "udp", netip.AddrPortFrom(us4.Addr(), 53), netip.AddrPort{})
		flood(r, u, []byte("x"))
		if n := u.Queue.Len(); n != 7 {
			t.Errorf("%d queued, want 7", n)
		}
		r.recv(u)
		r.deliver(udpPacket(t, netip.AddrPortFrom(peer4, 9), u.Local, []byte("y")), whole)
		if n := u.Queue.Len(); n != 7 {
			t.Errorf("%d queued after one was read, want 7", n)
		}
		r.closeSocket(u)
	})
	t.Run("empty datagrams", func(t *testing.T) {
		r := newRig(t)
		u := mustListen(t, r.stack, "udp", netip.AddrPortFrom(us4.Addr(), 53), netip.AddrPort{})
		for range 100 {
			flood(r, u, nil)
		}
		if n := u.Queue.Len(); n < 1000 || n > 5000 || u.Held() != 0 {
			t.Errorf("%d empty datagrams queued, %d buffers held", n, u.Held())
		}
		r.closeSocket(u)
		r.wantFree()
	})
}

func TestUDPSend(t *testing.T) {
	for _, a := range pairs {
		r := newRig(t)
		u := mustListen(t, r.stack, "udp", netip.AddrPortFrom(netip.Addr{}, 53), netip.AddrPort{})
		peer := netip.AddrPortFrom(a.peer, 999)
		payload := pattern(1, 1000)
		if err := u.Send.Write(payload, peer); err != nil {
			t.Fatal(err)
		}
		clear(payload)
		r.wire.full = true
		r.stack.SendDatagrams(u)
		r.deliverFrame()
		if err := u.Send.Write([]byte("two"), peer); err != nil {
			t.Fatal(err)
		}
		r.stack.SendDatagrams(u)
		r.deliverFrame()
		r.wire.full = false
		out := r.deliverFrame()
		if len(out) != 2 {
			t.Fatalf("%d frames out, want 2", len(out))
		}
		p := parse(t, out[0])
		if p.Src != a.us || p.Dst != a.peer || p.udp.SrcPort != 53 || p.udp.DstPort != 999 || !bytes.Equal(p.payload, pattern(1, 1000)) {
			t.Errorf("%+v from %v to %v", p.udp, p.Src, p.Dst)
		}
		if p := parse(t, out[1]); string(p.payload) != "two" {
			t.Errorf("second datagram: %q", p.payload)
		}
		r.closeSocket(u)
	}
}

func TestCheckDatagram(t *testing.T) {
	r := newRig(t)
	none, peer := netip.AddrPort{}, netip.AddrPortFrom(peer4, 1)
	bound := mustListen(t, r.stack, "udp", netip.AddrPortFrom(us4.Addr(), 1), none)
	connected := mustListen(t, r.stack, "udp", none, peer)
	all := mustListen(t, r.stack, "udp", none, none)
	all6 := mustListen(t, r.stack, "udp6", none, none)
	for i, tt := range []struct {
		u    *udp.Socket
		to   netip.AddrPort
		n    int
		want error
	}{
		{bound, peer, 0, nil},
		{bound, peer, 1472, nil},
		{bound, peer, 1473, syscall.EMSGSIZE},
		{connected, none, 1, nil},
		{bound, none, 1, syscall.EDESTADDRREQ},
		{bound, netip.AddrPortFrom(peer4, 0), 1, syscall.EINVAL},
		{bound, netip.MustParseAddrPort("0.0.0.0:1"), 1, syscall.EINVAL},
		{bound, netip.AddrPortFrom(peer6, 1), 1, syscall.EAFNOSUPPORT},
		{all, peer, 1, nil},
		{all, netip.AddrPortFrom(peer6, 1), 1452, nil},
		{all, netip.AddrPortFrom(peer6, 1), 1453, syscall.EMSGSIZE},
		{all6, peer, 1, syscall.EAFNOSUPPORT},
		{bound, bound.Local, 1, syscall.ENETUNREACH},
	} {
		if err := r.stack.CheckDatagram(r.clock, tt.u, tt.to, tt.n); !errors.Is(err, tt.want) {
			t.Errorf("%d: %v, want %v", i, err, tt.want)
		}
	}
	for _, u := range []*udp.Socket{bound, connected, all, all6} {
		r.closeSocket(u)
	}
	r.deliverFrame() // takes them off the list of senders
}
