//go:build linux

package uring

import (
	"bytes"
	"encoding/binary"
	"errors"
	"net/netip"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/zctap/zctap/internal/testenv"
)

// TestAcceptMultishot takes many connections with one request, more than the completion queue holds, at which point it may
// end and has to be armed again; and a further one with a single accept.
func TestAcceptMultishot(t *testing.T) {
	onVariants(t, 8, func(t *testing.T, r *Ring) {
		ln, addr := listener(t)
		push(t, r, AcceptMultishot(ln, 1))
		const clients = 20
		ports := make(map[int]bool)
		for range clients {
			ports[localPort(t, dial(t, addr))] = true
		}
		for range clients {
			c := next(t, r)
			if c.UserData != 1 || c.Res < 0 {
				t.Fatalf("completion %+v (%v)", c, c.Err())
			}
			fd := keep(t, int(c.Res))
			if !c.More() {
				push(t, r, AcceptMultishot(ln, 1))
			}
			sa, err := unix.Getpeername(fd)
			must(t, err)
			if port := sa.(*unix.SockaddrInet4).Port; !ports[port] {
				t.Errorf("accepted port %d, which is no client or came twice", port)
			} else {
				delete(ports, port)
			}
			flags, err := unix.FcntlInt(uintptr(fd), unix.F_GETFL, 0)
			if err != nil || flags&unix.O_NONBLOCK != 0 {
				t.Errorf("an accepted descriptor has flags %#x (%v), want blocking", flags, err)
			}
			if flags, err := unix.FcntlInt(uintptr(fd), unix.F_GETFD, 0); err != nil || flags&unix.FD_CLOEXEC == 0 {
				t.Errorf("an accepted descriptor stays open on exec (%v)", err)
			}
		}
		push(t, r, Cancel(1, 2))
		all := collect(t, r, 2)
		if c := all[1]; len(c) != 1 || c[0].Res != -int32(unix.ECANCELED) || c[0].More() {
			t.Errorf("the cancelled accept completed with %+v", c)
		}

		push(t, r, Accept(ln, 3))
		dial(t, addr)
		c := next(t, r)
		if c.UserData != 3 || c.More() {
			t.Fatalf("completion %+v (%v)", c, c.Err())
		}
		keep(t, int(c.Res))
	})
}

func localPort(t *testing.T, fd int) int {
	t.Helper()
	sa, err := unix.Getsockname(fd)
	must(t, err)
	return sa.(*unix.SockaddrInet4).Port
}

func TestConnectAndSend(t *testing.T) {
	onVariants(t, 8, func(t *testing.T, r *Ring) {
		ln, addr := listener(t)
		fd, err := unix.Socket(unix.AF_INET, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0)
		must(t, err)
		keep(t, fd)
		must(t, r.PushConnect(fd, addr, 1))
		expect(t, r, 1, 0)
		peer, _, err := unix.Accept(ln)
		must(t, err)
		keep(t, peer)

		data := memory(t, 1000)
		copy(data, pattern(len(data)))
		push(t, r, Send(fd, AddrOf(data), uint32(len(data)), 0, 2))
		expect(t, r, 2, int32(len(data)))
		got := make([]byte, 2*len(data))
		if n, err := unix.Read(peer, got); n != len(data) || err != nil || !bytes.Equal(got[:n], data) {
			t.Errorf("received %d bytes (%v), want the %d sent", n, err, len(data))
		}

		// Nobody listens there any more.
		must(t, unix.Shutdown(ln, unix.SHUT_RDWR))
		other, err := unix.Socket(unix.AF_INET, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0)
		must(t, err)
		keep(t, other)
		must(t, r.PushConnect(other, addr, 3))
		expect(t, r, 3, -int32(unix.ECONNREFUSED))
	})
}

func TestConnectIPv6(t *testing.T) {
	r := newRing(t, 8, Params{})
	ln, err := unix.Socket(unix.AF_INET6, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		testenv.SkipOrFail(t, "no IPv6 here: %v", err)
	}
	keep(t, ln)
	if err := unix.Bind(ln, &unix.SockaddrInet6{Addr: netip.IPv6Loopback().As16()}); err != nil {
		testenv.SkipOrFail(t, "no IPv6 loopback here: %v", err)
	}
	must(t, unix.Listen(ln, 1))
	sa, err := unix.Getsockname(ln)
	must(t, err)
	fd, err := unix.Socket(unix.AF_INET6, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0)
	must(t, err)
	keep(t, fd)
	must(t, r.PushConnect(fd, netip.AddrPortFrom(netip.IPv6Loopback(), uint16(sa.(*unix.SockaddrInet6).Port)), 1))
	expect(t, r, 1, 0)
}

func TestPutSockaddr(t *testing.T) {
	for _, tc := range []struct {
		to    string
		n     int
		scope uint32
		bad   bool
	}{
		{"192.0.2.1:258", unix.SizeofSockaddrInet4, 0, false},
		{"[2001:db8::1]:258", unix.SizeofSockaddrInet6, 0, false},
		{"[::ffff:192.0.2.1]:258", unix.SizeofSockaddrInet6, 0, false},
		{"[fe80::1%7]:258", unix.SizeofSockaddrInet6, 7, false},
		{"[fe80::1%eth0]:258", 0, 0, true},
	} {
		to := netip.MustParseAddrPort(tc.to)
		var b [unix.SizeofSockaddrInet6]byte
		n, err := putSockaddr(&b, to)
		if n != tc.n || (err != nil) != tc.bad {
			t.Errorf("%s: %d bytes, %v", tc.to, n, err)
			continue
		}
		if tc.bad {
			continue
		}
		if b[2] != 1 || b[3] != 2 {
			t.Errorf("%s: port bytes % x", tc.to, b[2:4])
		}
		if n == unix.SizeofSockaddrInet4 {
			if a := to.Addr().As4(); !bytes.Equal(b[4:8], a[:]) {
				t.Errorf("%s: address bytes % x", tc.to, b[4:8])
			}
			continue
		}
		if a := to.Addr().As16(); !bytes.Equal(b[8:24], a[:]) {
			t.Errorf("%s: address bytes % x", tc.to, b[8:24])
		}
		if scope := binary.NativeEndian.Uint32(b[24:]); scope != tc.scope {
			t.Errorf("%s: scope %d, want %d", tc.to, scope, tc.scope)
		}
	}
	if _, err := putSockaddr(new([unix.SizeofSockaddrInet6]byte), netip.AddrPort{}); err == nil {
		t.Error("the zero address went through")
	}
	if err := newRing(t, 8, Params{}).PushConnect(0, netip.AddrPort{}, 1); err == nil || errors.Is(err, ErrQueueFull) {
		t.Errorf("connecting to the zero address: %v", err)
	}
}
