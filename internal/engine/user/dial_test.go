package user

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"sync/atomic"
	"syscall"
	"testing"
	"time"
)

func TestDialErrors(t *testing.T) {
	a, b := newHosts(t, options{})
	l := b.listen(t, 0)
	canceled, cancel := context.WithCancel(t.Context())
	cancel()
	none := netip.AddrPort{}
	for _, tt := range []struct {
		name          string
		ctx           context.Context
		network       string
		local, remote netip.AddrPort
		want          error
	}{
		{"refused", t.Context(), "tcp", none, netip.AddrPortFrom(b.addr, 1), syscall.ECONNREFUSED},
		{"refused, IPv6", t.Context(), "tcp6", none, netip.AddrPortFrom(prefixD.Addr(), 1), syscall.ECONNREFUSED},
		{"canceled before", canceled, "tcp", none, l.Addr(), context.Canceled},
		{"another's address", t.Context(), "tcp", netip.AddrPortFrom(b.addr, 0), l.Addr(), syscall.EADDRNOTAVAIL},
		{"wrong version", t.Context(), "tcp6", none, l.Addr(), syscall.EAFNOSUPPORT},
		{"no TCP", t.Context(), "udp", none, l.Addr(), syscall.EAFNOSUPPORT},
		{"oneself", t.Context(), "tcp", none, netip.AddrPortFrom(a.addr, 1), syscall.ENETUNREACH},
		{"nowhere", t.Context(), "tcp", none, none, syscall.EADDRNOTAVAIL},
	} {
		t.Run(tt.name, func(t *testing.T) {
			if c, err := a.Dial(tt.ctx, tt.network, tt.local, tt.remote); !errors.Is(err, tt.want) || c != nil {
				t.Errorf("%v, %v; want %v", c, err, tt.want)
			}
		})
	}
	if n := a.stats().Conns; n != 0 {
		t.Errorf("%d connections left behind", n)
	}
}

func TestDialTimeout(t *testing.T) {
	a, _ := newHosts(t, options{})
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Millisecond)
	defer cancel()
	_, err := a.Dial(ctx, "tcp", netip.AddrPort{}, netip.MustParseAddrPort("192.0.2.77:80"))
	if !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("Dial: %v", err)
	}
	if n := a.stats().Conns; n != 0 {
		t.Errorf("%d connections left behind", n)
	}
}

// TestDialCanceledWhileConnecting cancels at about the time that the answer comes:
// however it comes out, nothing is left behind.
func TestDialCanceledWhileConnecting(t *testing.T) {
	a, b := newHosts(t, options{})
	l := b.listen(t, 0)
	var connected, canceled int
	for i := range 200 {
		ctx, cancel := context.WithCancel(t.Context())
		time.AfterFunc(time.Duration(i)*time.Microsecond, cancel)
		c, err := a.Dial(ctx, "tcp", netip.AddrPort{}, l.Addr())
		switch {
		case err == nil:
			connected++
			closeConn(t, c)
		case errors.Is(err, context.Canceled):
			canceled++
		default:
			t.Error(err)
		}
		cancel()
	}
	t.Logf("%d connected, %d canceled", connected, canceled)
	closeListener(l) // resets what was connected, and never accepted
	noConnections(t, a, b)
}

func TestDialFromAddress(t *testing.T) {
	a, b := newHosts(t, options{})
	l := b.listen(t, 0)
	local := netip.AddrPortFrom(a.addr, 4321)
	c, err := a.Dial(t.Context(), "tcp4", local, l.Addr())
	if err != nil {
		t.Fatal(err)
	}
	if _, err := a.Dial(t.Context(), "tcp4", local, l.Addr()); !errors.Is(err, syscall.EADDRINUSE) {
		t.Errorf("the same ends again: %v, want EADDRINUSE", err)
	}
	s := accept(t, l)
	if c.LocalAddr() != local || c.RemoteAddr() != l.Addr() || s.LocalAddr() != l.Addr() || s.RemoteAddr() != local {
		t.Errorf("%v to %v, accepted as %v to %v", c.LocalAddr(), c.RemoteAddr(), s.RemoteAddr(), s.LocalAddr())
	}
	closeConn(t, c)
	closeConn(t, s)
}

func TestListenErrors(t *testing.T) {
	a, _ := newHosts(t, options{})
	l := a.listen(t, 0)
	for _, tt := range []struct {
		network string
		addr    netip.AddrPort
		want    error
	}{
		{"tcp", l.Addr(), syscall.EADDRINUSE},
		{"tcp", netip.AddrPortFrom(netip.Addr{}, l.Addr().Port()), syscall.EADDRINUSE},
		{"tcp6", netip.AddrPortFrom(netip.Addr{}, l.Addr().Port()), nil},
		{"tcp", netip.MustParseAddrPort("192.0.2.99:80"), syscall.EADDRNOTAVAIL},
		{"tcp6", l.Addr(), syscall.EAFNOSUPPORT},
		{"unix", netip.AddrPort{}, syscall.EAFNOSUPPORT},
	} {
		m, err := a.Listen(tt.network, tt.addr, 0)
		if !errors.Is(err, tt.want) {
			t.Errorf("Listen(%q, %v): %v, want %v", tt.network, tt.addr, err, tt.want)
		}
		if err == nil {
			closeListener(m)
		}
	}
	// Close makes the address free.
	addr := l.Addr()
	closeListener(l)
	m, err := a.Listen("tcp", addr, 0)
	if err != nil {
		t.Fatal(err)
	}
	closeListener(m)
}

// TestListenOnAll accepts connections of both versions.
func TestListenOnAll(t *testing.T) {
	a, b := newHosts(t, options{})
	l, err := b.Listen("tcp", netip.AddrPort{}, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer closeListener(l)
	for _, addr := range []netip.Addr{b.addr, prefixD.Addr()} {
		c, err := a.Dial(t.Context(), "tcp", netip.AddrPort{}, netip.AddrPortFrom(addr, l.Addr().Port()))
		if err != nil {
			t.Fatal(err)
		}
		s := accept(t, l)
		await(t,
			func() error { return errors.Join(send(c, 1, 1<<20), c.CloseWrite()) },
			func() error { return receive(b.pool, s, 1, 1<<20) })
		closeConn(t, c)
		closeConn(t, s)
	}
}

// TestBacklog: no more connections than the backlog wait, those beyond it come in
// when there is room, and Close of the listener resets what was not accepted.
func TestBacklog(t *testing.T) {
	a, b := newHosts(t, options{})
	const backlog, dials = 2, 5
	l := b.listen(t, backlog)
	conns := make(chan error, dials)
	for range dials {
		go func() {
			c, err := a.Dial(t.Context(), "tcp", netip.AddrPort{}, l.Addr())
			if err == nil {
				if _, err = readAll(c); errors.Is(err, syscall.ECONNRESET) {
					err = nil
				} else {
					err = fmt.Errorf("a connection that nobody accepted ended with %v", err)
				}
				c.Queue().Close()
				c.Close()
			}
			conns <- err
		}()
	}
	eventually(t, "connections are refused", func() bool { return b.stats().Drops["tcp-listener-full"] >= dials-backlog })
	if n := l.Backlog().Len(); n != backlog {
		t.Errorf("%d connections wait, want %d", n, backlog)
	}
	for range dials - backlog {
		c := accept(t, l)
		if err := c.SetLinger(0); err != nil {
			t.Error(err)
		}
		closeConn(t, c)
	}
	eventually(t, "the rest wait", func() bool { return l.Backlog().Len() == backlog })
	closeListener(l)
	for range dials {
		wantError(t, "client", conns, nil)
	}
	if _, err := l.Backlog().Accept(); !errors.Is(err, net.ErrClosed) {
		t.Errorf("Accept: %v", err)
	}
	noConnections(t, a, b)
}

// TestManyConnections makes 1,000 short connections, several at a time.
func TestManyConnections(t *testing.T) {
	a, b := newHosts(t, options{})
	l := b.listen(t, 0)
	const conns, workers = 1000, 20
	var served atomic.Int64
	go func() {
		for {
			c, err := l.Backlog().Accept()
			if err != nil {
				return
			}
			go func() {
				defer closeConn(t, c)
				if got, err := readAll(c); err != nil {
					t.Error(err)
				} else if _, err := c.Write(got); err != nil {
					t.Error(err)
				}
				served.Add(1)
			}()
		}
	}()
	work := make([]func() error, workers)
	for w := range work {
		work[w] = func() error {
			for i := range conns / workers {
				c, err := a.Dial(t.Context(), "tcp", netip.AddrPort{}, l.Addr())
				if err != nil {
					return err
				}
				say := fmt.Sprintf("connection %d of worker %d", i, w)
				if _, err := c.Write([]byte(say)); err != nil {
					return err
				}
				if err := c.CloseWrite(); err != nil {
					return err
				}
				got, err := readAll(c)
				if string(got) != say || err != nil {
					return fmt.Errorf("%q, %v; want %q", got, err, say)
				}
				closeConn(t, c)
			}
			return nil
		}
	}
	await(t, work...)
	if served.Load() != conns {
		t.Errorf("%d served, want %d", served.Load(), conns)
	}
	noConnections(t, a, b)
	if n := b.stats().Events["passive-opens"]; n != conns {
		t.Errorf("%d passive opens, want %d", n, conns)
	}
}
