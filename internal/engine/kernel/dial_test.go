//go:build linux

package kernel

import (
	"context"
	"errors"
	"net"
	"net/netip"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

func TestDialToKernel(t *testing.T) {
	each(t, options{}, func(w *world) {
		for _, addr := range []netip.Addr{loopback4, loopback6} {
			c, p := w.dialed(addr)
			if c.RemoteAddr().String() != p.LocalAddr().String() || c.LocalAddr().String() != p.RemoteAddr().String() {
				w.Errorf("we: %v to %v; the peer: %v to %v", c.LocalAddr(), c.RemoteAddr(), p.LocalAddr(), p.RemoteAddr())
			}
			wait := w.sender(p, 1<<20)
			w.wantEOF(c, 1<<20)
			wait()
		}
	})
}

// A chosen local address is used.
func TestDialFrom(t *testing.T) {
	each(t, options{}, func(w *world) {
		n, err := net.Listen("tcp", "127.0.0.1:0")
		w.ok(err)
		defer n.Close()
		from := netip.MustParseAddrPort("127.0.0.2:0")
		c, err := w.Dial(context.Background(), "tcp", from, n.Addr().(*net.TCPAddr).AddrPort())
		w.ok(err)
		defer closeConn(c)
		if c.LocalAddr().Addr() != from.Addr() || c.LocalAddr().Port() == 0 {
			w.Errorf("dialed from %v", c.LocalAddr())
		}
	})
}

func TestDialErrors(t *testing.T) {
	each(t, options{}, func(w *world) {
		_, used := boundPort(w.T)
		cancelled, cancel := context.WithCancel(context.Background())
		cancel()
		ctx := context.Background()
		none := netip.AddrPort{}
		v6 := netip.AddrPortFrom(loopback6, 1)
		for _, tc := range []struct {
			name          string
			ctx           context.Context
			network       string
			local, remote netip.AddrPort
			want          error
		}{
			{"refused", ctx, "tcp", none, used, syscall.ECONNREFUSED},
			{"refused, tcp4", ctx, "tcp4", none, used, syscall.ECONNREFUSED},
			{"cancelled before", cancelled, "tcp", none, used, context.Canceled},
			{"no remote", ctx, "tcp", none, none, syscall.EDESTADDRREQ},
			{"tcp4 to IPv6", ctx, "tcp4", none, v6, syscall.EAFNOSUPPORT},
			{"tcp6 to IPv4", ctx, "tcp6", none, used, syscall.EAFNOSUPPORT},
			{"from IPv4 to IPv6", ctx, "tcp", netip.AddrPortFrom(loopback4, 0), v6, syscall.EAFNOSUPPORT},
			{"from elsewhere", ctx, "tcp", netip.MustParseAddrPort("192.0.2.1:0"), used, syscall.EADDRNOTAVAIL},
			{"unknown zone", ctx, "tcp", none, netip.MustParseAddrPort("[fe80::1%nosuch]:1"), syscall.EINVAL},
		} {
			if _, err := w.Dial(tc.ctx, tc.network, tc.local, tc.remote); !errors.Is(err, tc.want) {
				w.Errorf("%s: %v, want %v", tc.name, err, tc.want)
			}
		}
		var unknown net.UnknownNetworkError
		if _, err := w.Dial(ctx, "udp", none, used); !errors.As(err, &unknown) {
			w.Errorf("network udp: %v", err)
		}
		if s := w.stats(); s.Conns != 0 {
			w.Errorf("%d connections are left", s.Conns)
		}
	})
}

// fullListener is a listener of the kernel that answers no further SYN: its
// queue is full.
func fullListener(t *testing.T) netip.AddrPort {
	t.Helper()
	fd, addr := boundPort(t)
	if err := unix.Listen(fd, 0); err != nil {
		t.Fatal(err)
	}
	c, err := net.DialTimeout("tcp", addr.String(), patience)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { c.Close() })
	for end := time.Now().Add(patience); ; time.Sleep(time.Millisecond) {
		// Of a listener that is how many wait, and how many may before one more does.
		info, err := unix.GetsockoptTCPInfo(fd, unix.IPPROTO_TCP, unix.TCP_INFO)
		if err != nil {
			t.Fatal(err)
		}
		if info.Unacked > info.Sacked {
			return addr
		}
		if time.Now().After(end) {
			t.Fatalf("%d wait where %d may", info.Unacked, info.Sacked)
		}
	}
}

// boundPort is a socket that has a port and, as long as it does not listen, refuses who dials
// it. (A port that was closed again may be somebody else's at once.)
func boundPort(t *testing.T) (fd int, addr netip.AddrPort) {
	t.Helper()
	fd, err := unix.Socket(unix.AF_INET, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { unix.Close(fd) })
	if err := unix.Bind(fd, &unix.SockaddrInet4{Addr: loopback4.As4()}); err != nil {
		t.Fatal(err)
	}
	sa, err := unix.Getsockname(fd)
	if err != nil {
		t.Fatal(err)
	}
	return fd, netip.AddrPortFrom(loopback4, uint16(sa.(*unix.SockaddrInet4).Port))
}

// A dial that waits for an answer ends with its context, or with the engine.
func TestDialCancelled(t *testing.T) {
	each(t, options{}, func(w *world) {
		addr := fullListener(w.T)
		dial := func(ctx context.Context) <-chan error {
			done := make(chan error, 1)
			go func() { done <- second(w.Dial(ctx, "tcp", netip.AddrPort{}, addr)) }()
			return done
		}
		ctx, cancel := context.WithCancel(context.Background())
		done := dial(ctx)
		w.eventually("the dial is under way", func() bool { return w.stats().Conns == 1 })
		cancel()
		if err := <-done; !errors.Is(err, context.Canceled) {
			w.Errorf("cancelled: %v", err)
		}
		ctx, cancel = context.WithTimeout(context.Background(), 10*time.Millisecond)
		defer cancel()
		if err := <-dial(ctx); !errors.Is(err, context.DeadlineExceeded) {
			w.Errorf("deadline: %v", err)
		}
		if s := w.stats(); s.Conns != 0 {
			w.Errorf("%d connections are left", s.Conns)
		}
		done = dial(context.Background())
		w.eventually("the dial is under way", func() bool { return w.stats().Conns == 1 })
		w.ok(w.Close())
		if err := <-done; !errors.Is(err, net.ErrClosed) {
			w.Errorf("engine closed: %v", err)
		}
	})
}
