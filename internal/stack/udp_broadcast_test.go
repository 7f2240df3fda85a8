package stack

import (
	"errors"
	"net/netip"
	"syscall"
	"testing"
	"time"

	"github.com/zctap/zctap/internal/wire"
)

// What is sent to all hosts comes to who is bound to all addresses, or to that one, and to
// nobody else; and nobody is told of what nobody wants.
func TestBroadcast(t *testing.T) {
	r := newRig(t)
	subnet := netip.MustParseAddr("192.0.2.255")
	bind := func(local netip.Addr, port uint16, remote netip.AddrPort) func() int {
		t.Helper()
		u := mustListen(t, r.stack, "udp", netip.AddrPortFrom(local, port), remote)
		t.Cleanup(func() { r.closeSocket(u) })
		return u.Queue.Len
	}
	all := bind(netip.Addr{}, 1, netip.AddrPort{})
	one := bind(us4.Addr(), 2, netip.AddrPort{})
	connected := bind(us4.Addr(), 3, netip.AddrPortFrom(peer4, 9))
	wide := bind(wire.LimitedBroadcast, 4, netip.AddrPort{})
	narrow := bind(subnet, 5, netip.AddrPort{})
	only6 := bind(us6.Addr(), 6, netip.AddrPort{})

	send := func(from, to netip.Addr, port uint16) {
		t.Helper()
		if out := r.deliver(udpPacket(t, netip.AddrPortFrom(from, 9), netip.AddrPortFrom(to, port), []byte("x")), whole); len(out) > 0 {
			t.Errorf("%d answers to what was sent to %v", len(out), to)
		}
	}
	for port := range uint16(8) {
		send(peer4, wire.LimitedBroadcast, port)
		send(peer4, subnet, port)
	}
	got := [...]int{all(), one(), connected(), wide(), narrow(), only6()}
	if want := [...]int{2, 0, 0, 1, 1, 0}; got != want {
		t.Errorf("received %v, want %v", got, want)
	}
	r.wantDrops(map[string]uint64{"not-ours": 12})

	// A host without an address reaches all on the wire, and no others.
	send(netip.IPv4Unspecified(), wire.LimitedBroadcast, 1)
	send(netip.IPv4Unspecified(), subnet, 1)
	send(us4.Addr(), wire.LimitedBroadcast, 1)
	send(subnet, wire.LimitedBroadcast, 1)
	if all() != 3 {
		t.Errorf("%d received, want 3", all())
	}
	r.wantDrops(map[string]uint64{"not-ours": 12, "martian": 3})
}

// Sending to all hosts needs no permission, as in package net; it comes from our own
// address, whatever the socket is bound to.
func TestBroadcastSend(t *testing.T) {
	r := newRig(t)
	subnet := netip.MustParseAddr("192.0.2.255")
	for _, local := range []netip.Addr{{}, us4.Addr(), subnet, wire.LimitedBroadcast} {
		u := mustListen(t, r.stack, "udp", netip.AddrPortFrom(local, 53), netip.AddrPort{})
		for _, to := range []netip.Addr{subnet, wire.LimitedBroadcast} {
			at := netip.AddrPortFrom(to, 9)
			if err := r.stack.CheckDatagram(r.clock, u, at, 1); err != nil {
				t.Fatalf("from %v to %v: %v", local, to, err)
			}
			if err := u.Send.Write([]byte("x"), at); err != nil {
				t.Fatal(err)
			}
			r.stack.SendDatagrams(u)
			out := r.deliverFrame()
			if len(out) != 1 {
				t.Fatalf("from %v to %v: %d packets", local, to, len(out))
			}
			if p := parse(t, out[0]); p.Src != us4.Addr() || p.Dst != to || p.udp.DstPort != 9 {
				t.Errorf("from %v to %v: %+v", local, to, p)
			}
		}
		r.closeSocket(u)
	}
	u := mustListen(t, r.stack, "udp", netip.AddrPort{}, netip.AddrPort{})
	defer r.closeSocket(u)
	if err := r.stack.CheckDatagram(r.clock, u, netip.AddrPortFrom(us4.Addr(), 9), 1); !errors.Is(err, syscall.ENETUNREACH) {
		t.Errorf("to ourselves: %v", err)
	}
	for _, to := range []netip.Addr{subnet, wire.LimitedBroadcast, netip.MustParseAddr("224.0.0.1"), netip.MustParseAddr("ff02::1")} {
		if _, err := r.stack.Dial(r.now, "tcp", netip.AddrPort{}, netip.AddrPortFrom(to, 9)); !errors.Is(err, syscall.ENETUNREACH) {
			t.Errorf("TCP to %v: %v", to, err)
		}
	}
}

// When the rest of what was sent to many does not come, nobody is told (RFC 1122 section
// 3.2.2).
func TestBroadcastFragmentExpires(t *testing.T) {
	r := newRig(t)
	u := mustListen(t, r.stack, "udp", netip.AddrPortFrom(netip.Addr{}, 53), netip.AddrPort{})
	defer r.closeSocket(u)
	for _, to := range []netip.Addr{us4.Addr(), netip.MustParseAddr("192.0.2.255"), wire.LimitedBroadcast} {
		p := udpPacket(t, netip.AddrPortFrom(peer4, 9), netip.AddrPortFrom(to, 53), make([]byte, 1000))
		r.deliver(fragmentsOf(t, p, 9, 512)[0], whole)
		next := r.stack.Next()
		if next == 0 {
			t.Fatalf("sent to %v: nothing waits", to)
		}
		r.now = next.Add(time.Second)
		r.stack.Advance(r.now)
		out := r.deliverFrame()
		if told := len(out) > 0; told != (to == us4.Addr()) {
			t.Errorf("sent to %v: %d answers", to, len(out))
		}
	}
}
