//go:build linux

package kernel

import (
	"errors"
	"net"
	"net/netip"
	"syscall"
	"testing"

	"golang.org/x/sys/unix"
)

func TestListenErrors(t *testing.T) {
	each(t, options{}, func(w *world) {
		n := w.listen(0)
		for _, tc := range []struct {
			name, network string
			addr          netip.AddrPort
			want          error
		}{
			{"port in use", "tcp", n.Addr(), syscall.EADDRINUSE},
			{"not ours", "tcp", netip.MustParseAddrPort("192.0.2.1:0"), syscall.EADDRNOTAVAIL},
			{"tcp4 on IPv6", "tcp4", netip.AddrPortFrom(loopback6, 0), syscall.EAFNOSUPPORT},
			{"tcp6 on IPv4", "tcp6", netip.AddrPortFrom(loopback4, 0), syscall.EAFNOSUPPORT},
		} {
			if _, err := w.Listen(tc.network, tc.addr, 0); !errors.Is(err, tc.want) {
				w.Errorf("%s: %v, want %v", tc.name, err, tc.want)
			}
		}
		var unknown net.UnknownNetworkError
		if _, err := w.Listen("udp", netip.AddrPort{}, 0); !errors.As(err, &unknown) {
			w.Errorf("network udp: %v", err)
		}
	})
}

// Connections beyond the backlog are refused, and counted.
func TestBacklogBound(t *testing.T) {
	const backlog, more = 3, 5
	each(t, options{}, func(w *world) {
		n := w.listen(backlog)
		var peers []*net.TCPConn
		for range backlog {
			peers = append(peers, w.peer(n))
		}
		w.eventually("the backlog is full", func() bool { return n.Backlog().Len() == backlog })
		for range more {
			p, err := net.Dial("tcp", n.Addr().String())
			if err == nil {
				_, err = p.Read(make([]byte, 1))
				p.Close()
			}
			if !isReset(err) {
				w.Errorf("a connection beyond the backlog gets %v", err)
			}
		}
		if got := w.stats().Drops["accept-backlog-full"]; got != more {
			w.Errorf("%d refused connections counted, want %d", got, more)
		}
		// Who waits is served, and there is room again.
		for _, p := range peers {
			c := w.accept(n)
			if c.RemoteAddr().String() != p.LocalAddr().String() {
				w.Errorf("accepted %v, want %v", c.RemoteAddr(), p.LocalAddr())
			}
		}
		wait := w.sender(w.peer(n), 1000)
		w.wantEOF(w.accept(n), 1000)
		wait()
	})
}

// Close of a listener resets who was not accepted, frees the port, and leaves
// accepted connections alone.
func TestListenerClose(t *testing.T) {
	each(t, options{}, func(w *world) {
		n := w.listen(0)
		served := w.peer(n)
		c := w.accept(n)
		var waiting []*net.TCPConn
		for range 5 {
			waiting = append(waiting, w.peer(n))
		}
		w.eventually("they wait", func() bool { return n.Backlog().Len() == 5 })
		w.ok(send(waiting[0], 10_000)) // payload that nobody will take
		w.ok(closeListener(n))
		w.ok(closeListener(n))
		if _, err := n.Backlog().Accept(); !errors.Is(err, net.ErrClosed) {
			w.Errorf("Accept after Close: %v", err)
		}
		for _, p := range waiting {
			if _, err := p.Read(make([]byte, 1)); !isReset(err) {
				w.Errorf("a connection that was not accepted reads %v", err)
			}
		}
		if _, err := net.Dial("tcp", n.Addr().String()); !errors.Is(err, syscall.ECONNREFUSED) {
			w.Errorf("dial after Close: %v", err)
		}
		again, err := w.Listen("tcp", n.Addr(), 0)
		w.ok(err)
		w.ok(closeListener(again))
		wait := w.sender(served, 1000)
		w.wantEOF(c, 1000)
		wait()
		if s := w.stats(); s.Conns != 1 {
			w.Errorf("%d connections, want 1", s.Conns)
		}
	})
}

// Without free descriptors connections wait in the kernel, and are accepted when
// there are some again.
func TestAcceptWithoutDescriptors(t *testing.T) {
	each(t, options{}, func(w *world) {
		fd, err := unix.Socket(unix.AF_INET, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0)
		w.ok(err)
		defer unix.Close(fd)
		next, err := unix.Dup(fd)
		w.ok(err)
		w.ok(unix.Close(next))
		var limit unix.Rlimit
		w.ok(unix.Getrlimit(unix.RLIMIT_NOFILE, &limit))
		restore := func() { w.ok(unix.Setrlimit(unix.RLIMIT_NOFILE, &limit)) }
		defer restore()
		// One more descriptor, for the listener.
		w.ok(unix.Setrlimit(unix.RLIMIT_NOFILE, &unix.Rlimit{Cur: uint64(next) + 1, Max: limit.Max}))
		n := w.listen(0)
		w.ok(unix.Connect(fd, &unix.SockaddrInet4{Port: int(n.Addr().Port()), Addr: loopback4.As4()}))
		w.eventually("accept has failed", func() bool { return w.stats().Events["accept-starved"] > 0 })
		restore()
		if c := w.accept(n); c.RemoteAddr().Addr() != loopback4 {
			w.Errorf("accepted %v", c.RemoteAddr())
		}
	})
}
