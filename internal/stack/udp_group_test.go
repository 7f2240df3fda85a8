package stack

import (
	"errors"
	"net/netip"
	"syscall"
	"testing"
)

// What is sent to a group comes to who has joined it, and to nobody else; and
// nobody is told of what nobody wants.
func TestGroups(t *testing.T) {
	for _, tt := range []struct {
		us, peer, group, other netip.Addr
	}{
		{us4.Addr(), peer4, netip.MustParseAddr("239.1.2.3"), netip.MustParseAddr("239.1.2.4")},
		{us6.Addr(), peer6, netip.MustParseAddr("ff05::123"), netip.MustParseAddr("ff02::124")},
	} {
		r := newRig(t)
		u := mustListen(t, r.stack, "udp", netip.AddrPortFrom(netip.Addr{}, 5000), netip.AddrPort{})
		only := mustListen(t, r.stack, "udp", netip.AddrPortFrom(tt.other, 5001), netip.AddrPort{})
		send := func(to netip.Addr, port uint16) {
			t.Helper()
			if out := r.deliver(udpPacket(t, netip.AddrPortFrom(tt.peer, 9), netip.AddrPortFrom(to, port), []byte("x")), whole); len(out) > 0 {
				t.Errorf("%d answers to what was sent to %v", len(out), to)
			}
		}
		send(tt.group, 5000)
		if err := r.stack.JoinGroup(u, tt.group); err != nil {
			t.Fatal(err)
		}
		if err := r.stack.JoinGroup(only, tt.other); err != nil {
			t.Fatal(err)
		}
		send(tt.group, 5000)
		send(tt.group, 5002) // nobody there
		send(tt.other, 5000) // not joined
		send(tt.group, 5001) // bound to the other
		send(tt.other, 5001)
		if u.Queue.Len() != 1 || only.Queue.Len() != 1 {
			t.Fatalf("%d and %d datagrams, want 1 each", u.Queue.Len(), only.Queue.Len())
		}
		if m, _, _ := r.recv(u); m.Dst != netip.AddrPortFrom(tt.group, 5000) {
			t.Errorf("sent to %v, it says", m.Dst)
		}
		send(tt.us, 5000) // its own address as ever
		send(tt.group, 5000)
		if err := r.stack.LeaveGroup(u, tt.group); err != nil {
			t.Fatal(err)
		}
		send(tt.group, 5000) // the same as before, which it has left
		if u.Queue.Len() != 2 {
			t.Errorf("%d datagrams, want 2", u.Queue.Len())
		}
		r.wantDrops(map[string]uint64{"not-ours": 5})
		r.closeSocket(u)
		r.closeSocket(only)
	}
}

func TestGroupErrors(t *testing.T) {
	r := newRig(t)
	u := mustListen(t, r.stack, "udp4", netip.AddrPortFrom(netip.Addr{}, 5000), netip.AddrPort{})
	group := func(i byte) netip.Addr { return netip.AddrFrom4([4]byte{239, 0, 0, i}) }
	for i, tt := range []struct {
		err, want error
	}{
		{r.stack.LeaveGroup(u, group(1)), syscall.EADDRNOTAVAIL},
		{r.stack.JoinGroup(u, group(1)), nil},
		{r.stack.JoinGroup(u, group(1)), syscall.EADDRINUSE},
		{r.stack.JoinGroup(u, netip.MustParseAddr("ff02::1")), syscall.EAFNOSUPPORT},
		{r.stack.LeaveGroup(u, group(1)), nil},
	} {
		if !errors.Is(tt.err, tt.want) {
			t.Errorf("%d: %v, want %v", i, tt.err, tt.want)
		}
	}
	for i := range byte(20) {
		if err := r.stack.JoinGroup(u, group(i)); err != nil {
			t.Fatal(err)
		}
	}
	if err := r.stack.JoinGroup(u, group(20)); !errors.Is(err, syscall.ENOBUFS) {
		t.Errorf("the 21st group: %v", err)
	}
	r.closeSocket(u)
}

// What is sent to a group stays on the link, from an address that is ours, and
// everything has the traffic class that was asked for.
func TestSentHeaders(t *testing.T) {
	for _, tt := range []struct {
		to   netip.Addr
		hops uint8
	}{
		{peer4, 64}, {peer6, 64}, {netip.MustParseAddr("239.1.2.3"), 1}, {netip.MustParseAddr("ff05::1"), 1},
	} {
		r := newRig(t)
		u := mustListen(t, r.stack, "udp", netip.AddrPortFrom(netip.Addr{}, 53), netip.AddrPort{})
		to := netip.AddrPortFrom(tt.to, 999)
		u.Send.SetTrafficClass(0xb9)
		if err := r.stack.CheckDatagram(r.clock, u, to, 1); err != nil {
			t.Fatal(err)
		}
		if err := u.Send.Write([]byte("x"), to); err != nil {
			t.Fatal(err)
		}
		r.stack.SendDatagrams(u)
		out := r.deliverFrame()
		if len(out) != 1 {
			t.Fatalf("%d frames", len(out))
		}
		p := parse(t, out[0])
		if p.HopLimit != tt.hops || p.TrafficClass != 0xb9 || !r.stack.addrs.own(p.Src) || p.Dst != tt.to {
			t.Errorf("to %v: hop limit %d, traffic class %#x, from %v", tt.to, p.HopLimit, p.TrafficClass, p.Src)
		}
		r.closeSocket(u)
	}
}

// What an ICMP message said is told once, to whichever call comes next.
func TestSocketFailure(t *testing.T) {
	r := newRig(t)
	u := mustListen(t, r.stack, "udp", netip.AddrPort{}, netip.AddrPortFrom(peer4, 53))
	u.Queue.Fail(syscall.ECONNREFUSED)
	if err := r.stack.CheckDatagram(r.clock, u, netip.AddrPort{}, 1); err != syscall.ECONNREFUSED {
		t.Errorf("a write: %v", err)
	}
	if err := r.stack.CheckDatagram(r.clock, u, netip.AddrPort{}, 1); err != nil {
		t.Errorf("the next: %v", err)
	}
	r.closeSocket(u)
}
