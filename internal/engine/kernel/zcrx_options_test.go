//go:build linux

package kernel

import (
	"errors"
	"fmt"
	"net"
	"net/netip"
	"strings"
	"sync"
	"syscall"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/zctap/zctap/internal/buf"
	"github.com/zctap/zctap/internal/uring"
	"github.com/zctap/zctap/internal/uring/uringtest"
)

func TestZCRXPlan(t *testing.T) {
	for _, tc := range []struct {
		buffers, size int
		o             ZCRXOptions
		want          zcrxPlan
		err           error
	}{
		{buffers: 1024, want: zcrxPlan{areas: 1, lent: 896, unit: 4096, refill: 1024}},
		{buffers: 2, want: zcrxPlan{areas: 1, lent: 1, unit: 4096, refill: 1}},
		{buffers: 1, err: syscall.EINVAL},
		{buffers: 64, o: ZCRXOptions{Reserve: 1}, want: zcrxPlan{areas: 1, lent: 63, unit: 4096, refill: 64}},
		{buffers: 64, o: ZCRXOptions{Reserve: 64}, err: syscall.EINVAL},
		{buffers: 64, o: ZCRXOptions{Reserve: -1}, err: syscall.EINVAL},
		{buffers: 64, o: ZCRXOptions{RefillEntries: 3}, err: syscall.EINVAL},
		{buffers: 64, o: ZCRXOptions{RefillEntries: 2 * uring.MaxRefill}, err: syscall.EINVAL},
		{buffers: 64, o: ZCRXOptions{RefillEntries: -8}, err: syscall.EINVAL},
		{buffers: 64, o: ZCRXOptions{RefillEntries: 8}, want: zcrxPlan{areas: 1, lent: 56, unit: 4096, refill: 8}},
		{buffers: 16, size: 1 << 16, want: zcrxPlan{areas: 1, lent: 14, unit: 4096, refill: 256}},
		{buffers: 16, size: 1 << 16, o: ZCRXOptions{BufferSize: 1 << 14}, want: zcrxPlan{areas: 1, lent: 14, unit: 1 << 14, refill: 64}},
		{buffers: 16, o: ZCRXOptions{BufferSize: 1 << 14}, err: syscall.EINVAL},
		{buffers: 16, o: ZCRXOptions{BufferSize: 2048}, err: syscall.EINVAL},
		{buffers: 16, size: 1 << 16, o: ZCRXOptions{BufferSize: 12288}, err: syscall.EINVAL},
		{buffers: 64, o: ZCRXOptions{Areas: 3}, want: zcrxPlan{areas: 3, lent: 54, unit: 4096, refill: 64}},
		{buffers: 64, o: ZCRXOptions{Areas: 57}, err: syscall.EINVAL},
		{buffers: 64, o: ZCRXOptions{Areas: -1}, err: syscall.EINVAL},
		{buffers: 64, o: ZCRXOptions{DMABuf: 1 << 20}, err: syscall.EBADF},
		{buffers: 1 << 14, size: 1 << 14, want: zcrxPlan{areas: 1, lent: 14336, unit: 4096, refill: uring.MaxRefill}},
	} {
		t.Run(fmt.Sprintf("%d of %d with %+v", tc.buffers, tc.size, tc.o), func(t *testing.T) {
			r, err := buf.NewRegion(buf.RegionConfig{Buffers: tc.buffers, BufferSize: tc.size})
			if err != nil {
				t.Fatal(err)
			}
			defer r.Free()
			got, err := tc.o.plan(r)
			if !errors.Is(err, tc.err) || tc.err == nil && got != tc.want {
				t.Errorf("%+v, %v, want %+v, %v", got, err, tc.want, tc.err)
			}
		})
	}
}

// An engine that can't be opened leaves nothing behind: the pool is as it was,
// and the queue is waited for if it was bound.
func TestZCRXOpenFails(t *testing.T) {
	freed := 0
	for _, tc := range []struct {
		name string
		z    ZCRXOptions
		want error
	}{
		{"register", ZCRXOptions{NoDevice: true, Ring: uringtest.Opener(uringtest.Options{RegisterErr: unix.EPERM})}, unix.EPERM},
		{"ring", ZCRXOptions{NoDevice: true, Ring: func(uint32, uring.Params) (uring.Instance, error) { return nil, unix.ENOMEM }}, unix.ENOMEM},
		{"region", ZCRXOptions{NoDevice: true, Reserve: 64, Ring: uringtest.Opener(uringtest.Options{})}, unix.EINVAL},
		{"enable", ZCRXOptions{Interface: 1, Queue: 1, QueueFree: func() error { freed++; return nil }, Ring: func(n uint32, p uring.Params) (uring.Instance, error) {
			p.Flags &^= uring.SetupRDisabled // so that it can't be enabled
			return uringtest.Opener(uringtest.Options{Device: true})(n, p)
		}}, unix.EBADFD},
	} {
		cfg := newConfig(t, 64)
		e, err := New(cfg, Options{Backend: BackendZCRX, ZCRX: tc.z})
		if err == nil {
			e.Close()
		}
		if !errors.Is(err, tc.want) {
			t.Errorf("%s: %v, want %v", tc.name, err, tc.want)
		}
		if cfg.Pool.Lent() != 0 || cfg.Pool.Free() != 64 {
			t.Errorf("%s: %d buffers are lent, %d free", tc.name, cfg.Pool.Lent(), cfg.Pool.Free())
		}
	}
	if freed != 1 {
		t.Errorf("the queue was waited for %d times, want once", freed)
	}
}

// A queue that does not become free is told, and what names the engine is right.
func TestZCRXQueueStaysBound(t *testing.T) {
	still := errors.New("io-uring is bound to it")
	cfg := newConfig(t, 64)
	e, err := New(cfg, Options{Backend: BackendZCRX, ZCRX: ZCRXOptions{
		Interface: 1, Queue: 1, QueueFree: func() error { return still }, Ring: uringtest.Opener(uringtest.Options{Device: true}),
	}})
	if err != nil {
		t.Fatal(err)
	}
	if name, why := e.Backend(); e.Name() != "zcrx" || name != BackendZCRX || why == "" {
		t.Errorf("%s, backend %s because %q", e.Name(), name, why)
	}
	for range 2 {
		if err := e.Close(); !errors.Is(err, still) {
			t.Errorf("Close: %v", err)
		}
	}
}

// steerer notes what is steered.
type steerer struct {
	mu    sync.Mutex
	flows map[netip.AddrPort]int
	fails error
}

func (s *steerer) put(local netip.AddrPort) (func() error, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.fails != nil {
		return nil, s.fails
	}
	s.flows[local]++
	return func() error {
		s.mu.Lock()
		defer s.mu.Unlock()
		s.flows[local]--
		return nil
	}, nil
}

func (s *steerer) count(local netip.AddrPort) int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.flows[local]
}

// A peer that is trying to connect already comes in by the queue: until that is
// steered, nobody listens.
func TestZCRXSteersBeforeItListens(t *testing.T) {
	z := device
	var early error
	z.Steer = func(local netip.AddrPort) (func() error, error) {
		var c net.Conn
		if c, early = net.DialTimeout("tcp", local.String(), patience); early == nil {
			c.Close()
		}
		return func() error { return nil }, nil
	}
	w := zcrxOn(t, options{}, z, uringtest.Options{Device: true})
	n := w.listen(0)
	if !errors.Is(early, syscall.ECONNREFUSED) {
		t.Errorf("while the listener is steered: %v, want a refusal", early)
	}
	w.peer(n)
	w.accept(n)
}

// A listener is steered as long as it is open, or a connection that it accepted;
// a dialed connection only where that was asked for.
func TestZCRXSteering(t *testing.T) {
	s := &steerer{flows: map[netip.AddrPort]int{}}
	z := device
	z.Steer, z.SteerDials = s.put, true
	w := zcrxOn(t, options{}, z, uringtest.Options{Device: true})
	n := w.listen(0)
	addr := n.Addr()
	if s.count(addr) != 1 {
		t.Errorf("%v is steered %d times", addr, s.count(addr))
	}
	p := w.peer(n)
	c := w.accept(n)
	waiting := w.peer(n) // and is never accepted
	w.eventually("it waits", func() bool { return n.Backlog().Len() == 1 })
	w.ok(closeListener(n))
	if s.count(addr) != 1 {
		t.Errorf("%v is steered %d times with a connection open", addr, s.count(addr))
	}
	w.ok(closeConn(c))
	w.ok(closeConn(c))
	if s.count(addr) != 0 {
		t.Errorf("%v is steered %d times with everything closed", addr, s.count(addr))
	}
	d, _ := w.dialed(loopback4)
	if s.count(d.LocalAddr()) != 1 {
		t.Errorf("the dialed connection is steered %d times", s.count(d.LocalAddr()))
	}
	// For both families it has no address.
	any, err := w.Listen("tcp", netip.AddrPort{}, 0)
	w.ok(err)
	both := netip.AddrPortFrom(netip.Addr{}, any.Addr().Port())
	if s.count(both) != 1 {
		t.Errorf("a listener for both families: %v", s.flows)
	}
	s.mu.Lock()
	s.fails = syscall.ENOSPC
	s.mu.Unlock()
	if n, err := w.Listen("tcp", netip.AddrPortFrom(loopback4, 0), 0); !errors.Is(err, syscall.ENOSPC) {
		t.Errorf("%v, %v without room for a rule", n, err)
	}
	if _, err := w.Listen("tcp", netip.AddrPort{}, 0); err == nil || !strings.Contains(err.Error(), "what is for port ") {
		t.Errorf("%v: of a listener for both families", err)
	}
	f, _ := w.dialed(loopback4) // works all the same
	if w.event("dial-unsteered") != 1 {
		t.Errorf("%d dials without a rule", w.event("dial-unsteered"))
	}
	_ = f
	w.ok(w.Close())
	if s.count(both) != 0 || s.count(d.LocalAddr()) != 0 {
		t.Errorf("after the engine's end: %v", s.flows)
	}
	_, _ = p, waiting
}

// What is wrong with the options, or can't be done, is known before there is an engine.
func TestZCRXCheck(t *testing.T) {
	pool := newConfig(t, 64).Pool
	fake := device
	fake.Ring = uringtest.Opener(uringtest.Options{Device: true})
	if err := fake.Check(pool); err != nil {
		t.Errorf("on a kernel that can do all: %v", err)
	}
	for what, tc := range map[string]struct {
		change func(o *ZCRXOptions)
		says   string
	}{
		"areas": {func(o *ZCRXOptions) { o.Areas = 100 }, "100 areas of 64 buffers"},
		"rings": {func(o *ZCRXOptions) { o.Rings = maxRings + 1 }, "33 rings for a queue"},
	} {
		o := fake
		tc.change(&o)
		if err := o.Check(pool); !errors.Is(err, syscall.EINVAL) || !strings.Contains(err.Error(), tc.says) {
			t.Errorf("%s: %v", what, err)
		}
	}
	if want := noDeviceWorks(); want != nil {
		o := noDevice
		if err := o.Check(pool); !errors.Is(err, uring.ErrNotSupported) {
			t.Errorf("on a kernel that can't: %v, want %v", err, want)
		}
	}
}
