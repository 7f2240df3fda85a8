//go:build linux

package ksock

import (
	"errors"
	"net"
	"net/netip"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// What the net package sets by default is set here too, and descriptors are
// blocking ones that close on exec.
func TestStreamDefaults(t *testing.T) {
	for _, addr := range []netip.Addr{loopback4, loopback6} {
		d, a := pair(t, addr)
		for name, s := range map[string]*Socket{"dialed": d, "accepted": a} {
			if getInt(t, s, unix.IPPROTO_TCP, unix.TCP_NODELAY) == 0 {
				t.Errorf("%s: Nagle's algorithm is on", name)
			}
			flags, err := unix.FcntlInt(uintptr(s.FD()), unix.F_GETFL, 0)
			ok(t, err)
			fdFlags, err := unix.FcntlInt(uintptr(s.FD()), unix.F_GETFD, 0)
			ok(t, err)
			if flags&unix.O_NONBLOCK != 0 || fdFlags&unix.FD_CLOEXEC == 0 {
				t.Errorf("%s: status flags %#x, descriptor flags %#x", name, flags, fdFlags)
			}
		}
		if d.LocalAddr() != a.RemoteAddr() || d.RemoteAddr() != a.LocalAddr() || d.RemoteAddr().Addr() != addr {
			t.Errorf("dialed %v to %v, accepted %v from %v", d.LocalAddr(), d.RemoteAddr(), a.LocalAddr(), a.RemoteAddr())
		}
	}
	n := listen(t, "tcp", netip.AddrPort{})
	if getInt(t, n, unix.SOL_SOCKET, unix.SO_REUSEADDR) == 0 {
		t.Error("a listener without SO_REUSEADDR")
	}
}

// Which connections a listener takes, by network and address.
func TestListenFamilies(t *testing.T) {
	for _, tc := range []struct {
		network  string
		addr     netip.Addr
		takes4   bool
		takes6   bool
		reported netip.Addr
	}{
		{"tcp", netip.Addr{}, true, true, netip.IPv6Unspecified()},
		{"tcp", netip.IPv4Unspecified(), true, true, netip.IPv6Unspecified()},
		{"tcp", netip.IPv6Unspecified(), true, true, netip.IPv6Unspecified()},
		{"tcp", loopback4, true, false, loopback4},
		{"tcp", netip.MustParseAddr("::ffff:127.0.0.1"), true, false, loopback4},
		{"tcp", loopback6, false, true, loopback6},
		{"tcp4", netip.Addr{}, true, false, netip.IPv4Unspecified()},
		{"tcp6", netip.Addr{}, false, true, netip.IPv6Unspecified()},
	} {
		n := listen(t, tc.network, netip.AddrPortFrom(tc.addr, 0))
		if got := n.LocalAddr(); got.Addr() != tc.reported || got.Port() == 0 {
			t.Errorf("%s %v: listens on %v, want %v", tc.network, tc.addr, got, tc.reported)
		}
		for addr, takes := range map[netip.Addr]bool{loopback4: tc.takes4, loopback6: tc.takes6} {
			d, err := Dial("tcp", netip.AddrPort{}, netip.AddrPortFrom(addr, n.LocalAddr().Port()))
			if err == nil {
				await(t, d.FD(), unix.POLLOUT)
				err = d.Connected()
				if err == nil {
					// Addresses are unmapped, whatever the listener's family.
					if a := accept(t, n); a.LocalAddr().Addr() != addr || a.RemoteAddr() != d.LocalAddr() {
						t.Errorf("%s %v: accepted %v from %v", tc.network, tc.addr, a.LocalAddr(), a.RemoteAddr())
					}
				}
				d.Close()
			}
			if takes != (err == nil) || !takes && !errors.Is(err, unix.ECONNREFUSED) {
				t.Errorf("%s %v: dial to %v: %v", tc.network, tc.addr, addr, err)
			}
		}
		n.Close()
	}
}

func TestAcceptWaitsForNobody(t *testing.T) {
	n := listen(t, "tcp", netip.AddrPortFrom(loopback4, 0))
	if _, err := n.Accept(); !IsWouldBlock(err) {
		t.Errorf("Accept: %v", err)
	}
	ok(t, n.Close())
	if _, err := n.Accept(); err != unix.EBADF {
		t.Errorf("Accept after Close: %v", err)
	}
}

// A connection that is gone before it is adopted is no connection.
func TestAdoptGone(t *testing.T) {
	n := listen(t, "tcp", netip.AddrPortFrom(loopback4, 0))
	d, err := Dial("tcp", netip.AddrPort{}, n.LocalAddr())
	ok(t, err)
	await(t, d.FD(), unix.POLLOUT)
	await(t, n.FD(), unix.POLLIN)
	ok(t, d.Reset())
	fd, err := n.Accept()
	ok(t, err)
	if _, err := Adopt(fd); !errors.Is(err, unix.ENOTCONN) {
		t.Errorf("Adopt: %v", err)
	}
	if _, err := Adopt(-1); !errors.Is(err, unix.EBADF) {
		t.Errorf("Adopt of no descriptor: %v", err)
	}
}

func TestBacklog(t *testing.T) {
	most := Backlog(0)
	for n, want := range map[int]int{-1: most, 0: most, 1: 1, most: most, most + 1: most} {
		if got := Backlog(n); got != want {
			t.Errorf("Backlog(%d) = %d, want %d", n, got, want)
		}
	}
}

func TestDialErrors(t *testing.T) {
	var unknown net.UnknownNetworkError
	for _, network := range []string{"", "tcp5", "udp", "unix"} {
		if _, err := Dial(network, netip.AddrPort{}, netip.AddrPortFrom(loopback4, 1)); !errors.As(err, &unknown) {
			t.Errorf("Dial %q: %v", network, err)
		}
		if _, err := Bind(network, netip.AddrPort{}); !errors.As(err, &unknown) {
			t.Errorf("Bind %q: %v", network, err)
		}
	}
	for _, network := range []string{"", "udp5", "tcp"} {
		if _, err := Packet(network, netip.AddrPort{}, netip.AddrPort{}, false); !errors.As(err, &unknown) {
			t.Errorf("Packet %q: %v", network, err)
		}
	}
	if _, err := Dial("tcp", netip.AddrPort{}, netip.AddrPort{}); !errors.Is(err, unix.EDESTADDRREQ) {
		t.Errorf("Dial to nowhere: %v", err)
	}
}

// A send takes what there is room for and then says so; a closed connection is
// an error, not a signal.
func TestSend(t *testing.T) {
	d, a := pair(t, loopback4)
	p := make([]byte, 1<<20)
	total := 0
	for {
		n, err := d.Send(p)
		if total += n; err != nil {
			if !IsWouldBlock(err) {
				t.Errorf("Send: %v", err)
			}
			break
		}
	}
	if total == 0 {
		t.Error("nothing was sent")
	}
	ok(t, a.Reset())
	await(t, d.FD(), unix.POLLERR)
	for _, want := range []error{unix.ECONNRESET, unix.EPIPE, unix.EPIPE} {
		if _, err := d.Send(p); err != want {
			t.Errorf("Send after a reset: %v, want %v", err, want)
		}
	}
	ok(t, d.Close())
	ok(t, d.Close())
	if _, err := d.Send(p); err != net.ErrClosed {
		t.Errorf("Send after Close: %v", err)
	}
	if d.FD() != -1 {
		t.Errorf("descriptor %d after Close", d.FD())
	}
}

// A receive fills buffers in order, and ends with 0.
func TestRecv(t *testing.T) {
	d, a := pair(t, loopback6)
	v := NewVec(3)
	one, two, three := make([]byte, 2), make([]byte, 3), make([]byte, 10)
	fill := func() {
		v.Reset()
		v.Add(one)
		v.Add(two)
		v.Add(three)
	}
	fill()
	if v.Size() != 15 {
		t.Errorf("Size %d, want 15", v.Size())
	}
	if _, err := a.Recv(v); !IsWouldBlock(err) {
		t.Errorf("Recv of nothing: %v", err)
	}
	_, err := d.Send([]byte("abcdefgh"))
	ok(t, err)
	ok(t, d.CloseWrite())
	await(t, a.FD(), unix.POLLRDHUP)
	n, err := a.Recv(v)
	ok(t, err)
	if n != 8 || string(one) != "ab" || string(two) != "cde" || string(three[:3]) != "fgh" {
		t.Errorf("received %d: %q %q %q", n, one, two, three)
	}
	fill()
	if n, err := a.Recv(v); n != 0 || err != nil {
		t.Errorf("Recv at the end: %d, %v", n, err)
	}
}

func TestOptions(t *testing.T) {
	d, _ := pair(t, loopback4)
	ok(t, d.SetNoDelay(false))
	if getInt(t, d, unix.IPPROTO_TCP, unix.TCP_NODELAY) != 0 {
		t.Error("SetNoDelay(false) did nothing")
	}
	ok(t, d.SetKeepAlive(true, 1500*time.Millisecond))
	if on, idle, again := getInt(t, d, unix.SOL_SOCKET, unix.SO_KEEPALIVE), getInt(t, d, unix.IPPROTO_TCP, unix.TCP_KEEPIDLE),
		getInt(t, d, unix.IPPROTO_TCP, unix.TCP_KEEPINTVL); on != 1 || idle != 2 || again != 2 {
		t.Errorf("keep-alive %d after %d s, every %d s", on, idle, again)
	}
	ok(t, d.SetKeepAlive(true, 0))
	if idle := getInt(t, d, unix.IPPROTO_TCP, unix.TCP_KEEPIDLE); idle != 2 {
		t.Errorf("without a time keep-alive changed to %d s", idle)
	}
	ok(t, d.SetKeepAlive(false, time.Minute))
	if on := getInt(t, d, unix.SOL_SOCKET, unix.SO_KEEPALIVE); on != 0 {
		t.Error("keep-alive is on")
	}
	ok(t, d.SetUserTimeout(1500*time.Microsecond))
	if ms := getInt(t, d, unix.IPPROTO_TCP, unix.TCP_USER_TIMEOUT); ms != 2 {
		t.Errorf("user timeout of %d ms", ms)
	}
	for _, bad := range []time.Duration{-1, 60 * 24 * time.Hour} {
		if err := d.SetUserTimeout(bad); !errors.Is(err, unix.EINVAL) {
			t.Errorf("SetUserTimeout(%v): %v", bad, err)
		}
	}
	ok(t, d.SetCongestion(""))
	ok(t, d.SetCongestion("reno"))
	if err := d.SetCongestion("none such"); !errors.Is(err, unix.ENOENT) {
		t.Errorf("SetCongestion of none: %v", err)
	}
	if name, err := unix.GetsockoptString(d.fd, unix.IPPROTO_TCP, unix.TCP_CONGESTION); err != nil || name != "reno" {
		t.Errorf("congestion control %q, %v", name, err)
	}
	for sec, want := range map[int]unix.Linger{-1: {}, 0: {Onoff: 1}, 7: {Onoff: 1, Linger: 7}} {
		ok(t, d.SetLinger(sec))
		got := unix.Linger{Onoff: int32(getInt(t, d, unix.SOL_SOCKET, unix.SO_LINGER))}
		if got.Onoff != want.Onoff {
			t.Errorf("SetLinger(%d): %+v, want %+v", sec, got, want)
		}
	}
	ok(t, d.SetLinger(-1))
	ok(t, d.Close())
	for name, err := range map[string]error{
		"SetNoDelay":   d.SetNoDelay(true),
		"SetKeepAlive": d.SetKeepAlive(true, time.Second),
		"SetLinger":    d.SetLinger(0),
		"user timeout": d.SetUserTimeout(0),
		"SetNonblock":  d.SetNonblock(true),
		"CloseWrite":   d.CloseWrite(),
		"Connected":    d.Connected(),
	} {
		if err != net.ErrClosed {
			t.Errorf("%s after Close: %v", name, err)
		}
	}
}
