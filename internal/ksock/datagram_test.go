//go:build linux

package ksock

import (
	"errors"
	"net"
	"net/netip"
	"testing"

	"golang.org/x/sys/unix"
)

func packet(t testing.TB, network string, local, remote netip.AddrPort) *Socket {
	t.Helper()
	s, err := Packet(network, local, remote, false)
	ok(t, err)
	t.Cleanup(func() { s.Close() })
	return s
}

// Several datagrams come with one call, each in its own buffers, with both
// addresses, and cut where they do not fit.
func TestMessages(t *testing.T) {
	for _, addr := range []netip.Addr{loopback4, loopback6} {
		s := packet(t, "udp", netip.AddrPortFrom(addr, 0), netip.AddrPort{})
		from := packet(t, "udp", netip.AddrPortFrom(addr, 0), netip.AddrPort{})
		m := NewMessages(4, 2)
		bufs := make([][2][]byte, 4)
		for i := range bufs {
			for j := range bufs[i] {
				bufs[i][j] = make([]byte, 4)
				m.SetBuffer(i, j, bufs[i][j])
			}
		}
		if _, err := m.Recv(s, 4); !IsWouldBlock(err) {
			t.Errorf("Recv of nothing: %v", err)
		}
		sent := []string{"", "abc", "abcdefgh", "abcdefghij"}
		for _, p := range sent {
			if n, err := from.SendTo([]byte(p), s.LocalAddr()); n != len(p) || err != nil {
				t.Fatalf("SendTo: %d, %v", n, err)
			}
		}
		await(t, s.FD(), unix.POLLIN)
		n, err := m.Recv(s, m.Cap())
		ok(t, err)
		if n != len(sent) || m.Buffers() != 2 {
			t.Fatalf("%d datagrams, %d buffers each", n, m.Buffers())
		}
		for i, p := range sent {
			got := string(bufs[i][0]) + string(bufs[i][1])
			fits := min(len(p), 8)
			if m.Len(i) != len(p) || m.Truncated(i) != (len(p) > 8) || got[:fits] != p[:fits] {
				t.Errorf("%q: length %d, truncated %v, %q", p, m.Len(i), m.Truncated(i), got[:fits])
			}
			if m.Src(i) != from.LocalAddr() || m.Info(i).Dst != addr {
				t.Errorf("%q: from %v to %v", p, m.Src(i), m.Info(i).Dst)
			}
		}
	}
}

func TestSendToErrors(t *testing.T) {
	s4 := packet(t, "udp4", netip.AddrPortFrom(loopback4, 0), netip.AddrPort{})
	s6 := packet(t, "udp6", netip.AddrPortFrom(loopback6, 0), netip.AddrPort{})
	for _, tc := range []struct {
		name string
		s    *Socket
		size int
		to   netip.AddrPort
		want error
	}{
		{"nowhere", s4, 1, netip.AddrPort{}, unix.EDESTADDRREQ},
		{"IPv6 by udp4", s4, 1, s6.LocalAddr(), unix.EAFNOSUPPORT},
		{"IPv4 by udp6", s6, 1, s4.LocalAddr(), unix.ENETUNREACH},
		{"too long", s4, 65508, s4.LocalAddr(), unix.EMSGSIZE},
		{"unknown zone", s6, 1, netip.MustParseAddrPort("[fe80::1%nosuch]:9"), unix.EINVAL},
	} {
		if n, err := tc.s.SendTo(make([]byte, tc.size), tc.to); n != 0 || !errors.Is(err, tc.want) {
			t.Errorf("%s: %d, %v, want %v", tc.name, n, err, tc.want)
		}
	}
	ok(t, s4.Close())
	if _, err := s4.SendTo(nil, s6.LocalAddr()); err != net.ErrClosed {
		t.Errorf("SendTo after Close: %v", err)
	}
	if _, err := s4.KernelDrops(); err != net.ErrClosed {
		t.Errorf("KernelDrops after Close: %v", err)
	}
}

// What does not fit the kernel's buffer is counted there.
func TestKernelDrops(t *testing.T) {
	s := packet(t, "udp", netip.AddrPortFrom(loopback4, 0), netip.AddrPort{})
	from := packet(t, "udp", netip.AddrPort{}, s.LocalAddr())
	if n, err := s.KernelDrops(); n != 0 || err != nil {
		t.Errorf("%d drops, %v", n, err)
	}
	ok(t, s.setInt("SO_RCVBUF", unix.SOL_SOCKET, unix.SO_RCVBUF, 1))
	const sent = 100
	for range sent {
		_, err := from.Send(make([]byte, 4096))
		ok(t, err)
	}
	m := NewMessages(sent, 1)
	for i := range sent {
		m.SetBuffer(i, 0, make([]byte, 4096))
	}
	await(t, s.FD(), unix.POLLIN)
	got, err := m.Recv(s, sent)
	ok(t, err)
	if n, err := s.KernelDrops(); int(n) != sent-got || n == 0 || err != nil {
		t.Errorf("%d drops, %v; received %d of %d", n, err, got, sent)
	}
}

// A connected socket tells what an ICMP message said, once, by whichever call
// comes next.
func TestPacketErrors(t *testing.T) {
	gone := packet(t, "udp", netip.AddrPortFrom(loopback4, 0), netip.AddrPort{})
	s := packet(t, "udp", netip.AddrPort{}, gone.LocalAddr())
	if s.RemoteAddr() != gone.LocalAddr() || s.LocalAddr().Addr() != loopback4 {
		t.Errorf("connected from %v to %v", s.LocalAddr(), s.RemoteAddr())
	}
	ok(t, gone.Close())
	_, err := s.Send([]byte("x"))
	ok(t, err)
	await(t, s.FD(), unix.POLLERR)
	m := NewMessages(1, 1)
	m.SetBuffer(0, 0, make([]byte, 10))
	if _, err := m.Recv(s, 1); err != unix.ECONNREFUSED {
		t.Errorf("Recv: %v", err)
	}
	if _, err := m.Recv(s, 1); !IsWouldBlock(err) {
		t.Errorf("Recv again: %v", err)
	}
}
