//go:build linux

package ksock

import (
	"errors"
	"net"
	"net/netip"
	"strconv"
	"testing"

	"golang.org/x/sys/unix"
)

// Both forms of socket address say what was put in, with IPv4-mapped addresses
// unmapped.
func TestSockaddrRoundTrip(t *testing.T) {
	lo, err := net.InterfaceByName("lo")
	ok(t, err)
	for _, tc := range []struct {
		family   int
		in, want string
		size     int
	}{
		{unix.AF_INET, "127.0.0.1:80", "127.0.0.1:80", 16},
		{unix.AF_INET, "[::ffff:10.1.2.3]:65535", "10.1.2.3:65535", 16},
		{unix.AF_INET6, "[2001:db8::1]:443", "[2001:db8::1]:443", 28},
		{unix.AF_INET6, "10.1.2.3:9", "10.1.2.3:9", 28},
		{unix.AF_INET6, "[fe80::1%lo]:1", "[fe80::1%lo]:1", 28},
		{unix.AF_INET6, "[fe80::1%" + strconv.Itoa(lo.Index) + "]:1", "[fe80::1%lo]:1", 28},
		{unix.AF_INET6, "[fe80::1%4000000000]:1", "[fe80::1%4000000000]:1", 28},
	} {
		var b sockaddr
		in := netip.MustParseAddrPort(tc.in)
		size, err := b.put(tc.family, in)
		if got := b.get(); err != nil || size != tc.size || got.String() != tc.want {
			t.Errorf("%s: %v, %d bytes, %v", tc.in, got, size, err)
		}
		sa, err := toSockaddr(tc.family, unmap(in))
		if tc.family == unix.AF_INET6 || unmap(in).Addr().Is4() {
			if got := fromSockaddr(sa); err != nil || got.String() != tc.want {
				t.Errorf("%s by way of the unix package: %v, %v", tc.in, got, err)
			}
		}
	}
	var b sockaddr
	if _, err := b.put(unix.AF_INET, netip.MustParseAddrPort("[2001:db8::1]:1")); err != unix.EAFNOSUPPORT {
		t.Errorf("IPv6 on an IPv4 socket: %v", err)
	}
	if _, err := b.put(unix.AF_INET6, netip.MustParseAddrPort("[fe80::1%nosuch]:1")); !errors.Is(err, unix.EINVAL) {
		t.Errorf("unknown zone: %v", err)
	}
	b = sockaddr{}
	if got := b.get(); got.IsValid() {
		t.Errorf("no address family: %v", got)
	}
	if got := fromSockaddr(&unix.SockaddrUnix{}); got.IsValid() {
		t.Errorf("a Unix address: %v", got)
	}
}

// Which family and which addresses a socket gets.
func TestLocate(t *testing.T) {
	if !haveIPv6() {
		t.Skip("this machine has no IPv6, so that \"tcp\" means IPv4 alone")
	}
	for _, tc := range []struct {
		network, local, remote string
		family                 int
		v6only                 bool
		want                   string // local address
		err                    error
	}{
		{"tcp", "", "", unix.AF_INET6, false, "[::]:0", nil},
		{"tcp", "0.0.0.0:7", "", unix.AF_INET6, false, "[::]:7", nil},
		{"udp", "", "127.0.0.1:1", unix.AF_INET, false, "0.0.0.0:0", nil},
		{"udp", "[::]:5", "127.0.0.1:1", unix.AF_INET, false, "0.0.0.0:5", nil},
		{"udp", "", "[::1]:1", unix.AF_INET6, false, "[::]:0", nil},
		{"tcp4", "", "", unix.AF_INET, false, "0.0.0.0:0", nil},
		{"tcp4", "[::]:3", "", unix.AF_INET, false, "0.0.0.0:3", nil},
		{"tcp6", "0.0.0.0:3", "", unix.AF_INET6, true, "[::]:3", nil},
		{"tcp", "127.0.0.1:1", "", unix.AF_INET, false, "127.0.0.1:1", nil},
		{"tcp", "[::ffff:127.0.0.1]:1", "", unix.AF_INET, false, "127.0.0.1:1", nil},
		{"tcp", "[::1]:1", "127.0.0.1:1", 0, false, "", unix.EAFNOSUPPORT},
		{"tcp4", "[::1]:1", "", 0, false, "", unix.EAFNOSUPPORT},
		{"tcp6", "127.0.0.1:1", "", 0, false, "", unix.EAFNOSUPPORT},
		{"udp6", "", "127.0.0.1:1", 0, false, "", unix.EAFNOSUPPORT},
	} {
		parse := func(s string) (a netip.AddrPort) {
			if s != "" {
				a = netip.MustParseAddrPort(s)
			}
			return a
		}
		p, err := locate(tc.network, parse(tc.local), parse(tc.remote))
		if !errors.Is(err, tc.err) {
			t.Errorf("%s %s %s: %v, want %v", tc.network, tc.local, tc.remote, err, tc.err)
		}
		if err == nil && (p.family != tc.family || p.v6only != tc.v6only || p.local.String() != tc.want) {
			t.Errorf("%s %s %s: %+v", tc.network, tc.local, tc.remote, p)
		}
	}
}

// FuzzPktInfo: whatever is in the control messages, the search for the address
// ends and stays within them.
func FuzzPktInfo(f *testing.F) {
	for _, addr := range []netip.Addr{loopback4, loopback6} {
		s, err := Packet("udp", netip.AddrPortFrom(addr, 0), netip.AddrPort{}, false)
		ok(f, err)
		_, err = s.SendTo([]byte("x"), s.LocalAddr())
		ok(f, err)
		m := NewMessages(1, 1)
		m.SetBuffer(0, 0, make([]byte, 10))
		await(f, s.FD(), unix.POLLIN)
		_, err = m.Recv(s, 1)
		ok(f, err)
		f.Add(m.controlOf(0))
		ok(f, s.Close())
	}
	f.Add([]byte{})
	f.Add(make([]byte, 16))
	f.Fuzz(func(t *testing.T, c []byte) {
		if len(c) > controlLen {
			c = c[:controlLen]
		}
		parseInfo(c)
	})
}
