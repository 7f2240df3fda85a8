package user

import (
	"bytes"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"os"
	"syscall"
	"testing"
	"time"

	"github.com/zctap/zctap/internal/buf"
	"github.com/zctap/zctap/internal/engine"
	"github.com/zctap/zctap/internal/sockq"
)

func (h *host) listenPacket(t *testing.T, network string, local, remote netip.AddrPort) engine.PacketConn {
	t.Helper()
	p, err := h.ListenPacket(network, local, remote)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { closePacket(t, p) })
	return p
}

func closePacket(t *testing.T, p engine.PacketConn) {
	t.Helper()
	p.Queue().Close()
	if err := p.Close(); err != nil {
		t.Errorf("Close: %v", err)
	}
}

// recvFrom takes one datagram.
func recvFrom(p *buf.Pool, c engine.PacketConn) (b []byte, from netip.AddrPort, err error) {
	var (
		iovs [32]buf.Iov
		msgs [1]sockq.Message
	)
	c.Queue().SetDeadline(time.Now().Add(deadline))
	_, n, err := c.Queue().Recv(iovs[:], msgs[:])
	if err != nil {
		return nil, from, err
	}
	for i := range iovs[:n] {
		b = append(b, iovs[i].Bytes()...)
	}
	_, err = p.Return(iovs[:n])
	return b, msgs[0].Src, err
}

func TestDatagrams(t *testing.T) {
	a, b := newHosts(t, options{})
	server := b.listenPacket(t, "udp", netip.AddrPort{}, netip.AddrPort{})
	const n = 500
	echo := func() error {
		for range 2 * n {
			got, from, err := recvFrom(b.pool, server)
			if err != nil {
				return err
			}
			if _, err := server.WriteTo(got, from); err != nil {
				return err
			}
		}
		return nil
	}
	ask := func(addr netip.Addr, connected bool) func() error {
		to := netip.AddrPortFrom(addr, server.LocalAddr().Port())
		var remote netip.AddrPort
		if connected {
			remote, to = to, netip.AddrPort{}
		}
		client := a.listenPacket(t, "udp", netip.AddrPort{}, remote)
		return func() error {
			for i := range n {
				want := bytes.Repeat([]byte{byte(i)}, i*2)
				if k, err := client.WriteTo(want, to); err != nil || k != len(want) {
					return fmt.Errorf("WriteTo: %d, %w", k, err)
				}
				got, from, err := recvFrom(a.pool, client)
				if err != nil {
					return err
				}
				if !bytes.Equal(got, want) || from.Addr() != addr {
					return fmt.Errorf("%d bytes from %v, want %d from %v", len(got), from, len(want), addr)
				}
			}
			return nil
		}
	}
	await(t, echo, ask(b.addr, false), ask(prefixD.Addr(), true))
	if s := b.stats(); s.ZeroCopyBytes != 2*n*(n-1) || s.SentBytes != 2*n*(n-1) || len(s.Drops) != 0 {
		t.Errorf("stats %+v", s)
	}
}

func TestWriteToErrors(t *testing.T) {
	a, b := newHosts(t, options{})
	p := a.listenPacket(t, "udp4", netip.AddrPort{}, netip.AddrPort{})
	to := netip.AddrPortFrom(b.addr, 9)
	for _, tt := range []struct {
		to   netip.AddrPort
		n    int
		want error
	}{
		{netip.AddrPort{}, 1, syscall.EDESTADDRREQ},
		{to, 1473, syscall.EMSGSIZE},
		{netip.AddrPortFrom(prefixD.Addr(), 9), 1, syscall.EAFNOSUPPORT},
	} {
		if n, err := p.WriteTo(make([]byte, tt.n), tt.to); n != 0 || !errors.Is(err, tt.want) {
			t.Errorf("WriteTo(%d bytes, %v): %d, %v; want %v", tt.n, tt.to, n, err, tt.want)
		}
	}
	p.SetWriteDeadline(time.Now().Add(-time.Second))
	if _, err := p.WriteTo(nil, to); !errors.Is(err, os.ErrDeadlineExceeded) {
		t.Errorf("after the deadline: %v", err)
	}
	closePacket(t, p)
	closePacket(t, p) // idempotent
	if _, err := p.WriteTo(nil, to); !errors.Is(err, net.ErrClosed) {
		t.Errorf("after Close: %v", err)
	}
	again, err := a.ListenPacket("udp4", p.LocalAddr(), netip.AddrPort{})
	if err != nil {
		t.Fatalf("the address is not free: %v", err)
	}
	closePacket(t, again)
}

// TestDatagramsAreSentBeforeClose: what was written goes out.
func TestDatagramsAreSentBeforeClose(t *testing.T) {
	a, b := newHosts(t, options{})
	server := b.listenPacket(t, "udp", netip.AddrPort{}, netip.AddrPort{})
	p := a.listenPacket(t, "udp", netip.AddrPort{}, netip.AddrPortFrom(b.addr, server.LocalAddr().Port()))
	const n = 200 // more than the send queue holds
	for i := range n {
		if _, err := p.WriteTo([]byte{byte(i)}, netip.AddrPort{}); err != nil {
			t.Fatal(err)
		}
	}
	closePacket(t, p)
	for i := range n {
		if got, _, err := recvFrom(b.pool, server); err != nil || len(got) != 1 || got[0] != byte(i) {
			t.Fatalf("datagram %d: %v, %v", i, got, err)
		}
	}
}

// An engine that has to drop what it receives, since nobody takes it, gives way to
// who might.
func TestOverrunGivesWay(t *testing.T) {
	a, b := newHosts(t, options{})
	server := b.listenPacket(t, "udp", netip.AddrPort{}, netip.AddrPort{})
	to := netip.AddrPortFrom(b.addr, server.LocalAddr().Port())
	client := a.listenPacket(t, "udp", netip.AddrPort{}, to)
	if n := b.stats().Events["gave-way"]; n != 0 {
		t.Errorf("gave way %d times before", n)
	}
	for end := time.Now().Add(deadline); b.stats().Drops["socket-full"] == 0; {
		if time.Now().After(end) {
			t.Fatal("nothing was dropped")
		}
		for range 100 {
			if _, err := client.WriteTo([]byte("x"), netip.AddrPort{}); err != nil {
				t.Fatal(err)
			}
		}
	}
	if s := b.stats(); s.Events["gave-way"] == 0 {
		t.Errorf("%d dropped, and it went on: %v", s.Drops["socket-full"], s.Events)
	}
}
