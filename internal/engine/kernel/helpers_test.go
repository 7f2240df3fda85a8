//go:build linux

package kernel

import (
	"context"
	"errors"
	"io"
	"math/rand/v2"
	"net"
	"net/netip"
	"runtime"
	"testing"
	"time"

	"github.com/zctap/zctap/internal/buf"
	"github.com/zctap/zctap/internal/engine"
	"github.com/zctap/zctap/internal/sockq"
	"github.com/zctap/zctap/internal/testenv"
	"github.com/zctap/zctap/internal/uring/uringtest"
)

func TestMain(m *testing.M) { testenv.Main(m) }

// patience bounds every wait of the tests: only a hang runs into it.
const patience = 60 * time.Second

var (
	loopback4 = netip.MustParseAddr("127.0.0.1")
	loopback6 = netip.IPv6Loopback()
)

// options say how a world's engine is made.
type options struct {
	buffers int // of the region; 0: 1,024
	size    int // of a buffer; 0: a page
	maxHeld int
	tune    func(*tuning)
	options func(*Options)
}

// A world is an engine and the kernel's sockets beside it.
type world struct {
	*testing.T
	*Engine
	variant
	pool    *buf.Pool
	cq      *sockq.CQ
	kernels []*uringtest.Kernel // of a fake variant, one a ring
	pauses  uint64              // when the last hoard had ended
}

// each runs a test with each variant. The region is Go heap memory, which the
// race detector sees as far as it is touched by Go.
func each(t *testing.T, o options, f func(w *world)) {
	for _, v := range variants() {
		t.Run(v.name, func(t *testing.T) {
			if v.o.Backend == BackendURing {
				testenv.NeedIOUring(t)
			}
			f(newWorld(t, v, o))
		})
	}
}

// newWorld starts an engine. At the test's end it is closed, and everything has
// to have been given back.
func newWorld(t *testing.T, v variant, o options) *world {
	t.Helper()
	if o.buffers == 0 {
		o.buffers = 1024
	}
	region, err := buf.NewRegion(buf.RegionConfig{Buffers: o.buffers, BufferSize: o.size, Heap: !v.mapped})
	if err != nil {
		t.Fatal(err)
	}
	w := &world{T: t, variant: v, pool: buf.NewPool(region), cq: sockq.NewCQ()}
	cfg := engine.Config{Pool: w.pool, CQ: w.cq, MaxHeld: o.maxHeld}
	if o.options != nil {
		o.options(&v.o)
	}
	if v.fake != nil {
		w.play(&v.o)
	}
	tune := defaults(cfg, v.o)
	tune.plain = v.plain
	if v.fake != nil && !v.fake.Stalls {
		tune.stallEvery = 0
	}
	tune.windows = v.fake == nil // payload that a fake kernel keeps lies nowhere in the area
	if o.tune != nil {
		o.tune(&tune)
	}
	candidates, err := choose(v.o)
	if err != nil {
		t.Fatal(err)
	}
	if w.Engine, err = start(cfg, candidates, tune); err != nil {
		w.pool.Close()
		w.pool.Remove()
		t.Fatal(err)
	}
	w.steerBy(v.o.ZCRX)
	if got, _ := w.Backend(); got != v.o.Backend {
		t.Errorf("backend %s runs, want %s", got, v.o.Backend)
	}
	t.Cleanup(func() {
		if err := w.Close(); err != nil {
			t.Errorf("close: %v", err)
		}
		w.census()
		w.pool.Close()
		if !w.pool.Remove() {
			t.Error("the pool can't be removed")
		}
	})
	return w
}

// census checks that no buffer is out. The engine has been closed.
func (w *world) census() {
	w.Helper()
	c, err := w.pool.Census()
	w.ok(err)
	if c.Out() != 0 {
		w.Errorf("%d buffers are out: %+v", c.Out(), c)
	}
	if got, want := w.pool.Free()+w.pool.FreeLent(), w.pool.Region().Count(); got != want {
		w.Errorf("%d buffers are free, want %d", got, want)
	}
}

func (w *world) ok(err error) {
	w.Helper()
	if err != nil {
		w.Fatal(err)
	}
}

func (w *world) stats() (s engine.Stats) {
	w.Stats(&s)
	return s
}

// eventually waits for a condition: most are true after some hundred thousand
// instructions of the loop's thread, which is much less than a sleep, and most others soon after.
func (w *world) eventually(what string, ok func() bool) {
	w.Helper()
	end := time.Now().Add(patience)
	nap := 10 * time.Microsecond
	for i := 0; !ok(); i++ {
		if i < 200 {
			runtime.Gosched()
			continue
		}
		if time.Now().After(end) {
			w.Fatalf("waited in vain until %s; %+v", what, w.stats())
		}
		time.Sleep(nap)
		nap = min(2*nap, time.Millisecond)
	}
}

// listen listens on loopback.
func (w *world) listen(backlog int) engine.Listener {
	w.Helper()
	n, err := w.Listen("tcp", netip.AddrPortFrom(loopback4, 0), backlog)
	w.ok(err)
	n.Backlog().SetDeadline(time.Now().Add(patience))
	w.Cleanup(func() { closeListener(n) })
	return n
}

func closeListener(n engine.Listener) error {
	n.Backlog().Close()
	return n.Close()
}

func closeConn(c engine.Conn) error {
	c.Queue().Close()
	return c.Close()
}

// accept takes a connection.
func (w *world) accept(n engine.Listener) engine.Conn {
	w.Helper()
	c, err := n.Backlog().Accept()
	w.ok(err)
	return w.mind(c)
}

// mind bounds what c may block for, and closes it with the test.
func (w *world) mind(c engine.Conn) engine.Conn {
	c.Queue().SetDeadline(time.Now().Add(patience))
	c.SetWriteDeadline(time.Now().Add(patience))
	w.Cleanup(func() { closeConn(c) })
	return c
}

// connect returns an accepted connection and its peer, a socket of the kernel.
func (w *world) connect() (engine.Conn, *net.TCPConn) {
	w.Helper()
	n := w.listen(0)
	p := w.peer(n)
	c := w.accept(n)
	w.ok(closeListener(n))
	return c, p
}

func (w *world) peer(n engine.Listener) *net.TCPConn {
	w.Helper()
	p, err := net.DialTCP("tcp", nil, net.TCPAddrFromAddrPort(n.Addr()))
	w.ok(err)
	p.SetDeadline(time.Now().Add(patience))
	w.Cleanup(func() { p.Close() })
	return p
}

// dialed returns a connection that the engine dialed to the kernel, and the
// kernel's end.
func (w *world) dialed(addr netip.Addr) (engine.Conn, *net.TCPConn) {
	w.Helper()
	n, err := net.ListenTCP("tcp", net.TCPAddrFromAddrPort(netip.AddrPortFrom(addr, 0)))
	w.ok(err)
	defer n.Close()
	c, err := w.Dial(context.Background(), "tcp", netip.AddrPort{}, n.Addr().(*net.TCPAddr).AddrPort())
	w.ok(err)
	p, err := n.AcceptTCP()
	w.ok(err)
	p.SetDeadline(time.Now().Add(patience))
	w.Cleanup(func() { p.Close() })
	return w.mind(c), p
}

// The test stream: a table whose length is odd, so that shifted pages differ.
var stream = func() []byte {
	b := make([]byte, 1<<20+7)
	r := rand.NewChaCha8([32]byte{1})
	r.Read(b)
	return append(b, b[:1<<16]...)
}()

const period = 1<<20 + 7

// at is n bytes of the stream from off on, at most 64 KiB.
func at(off int64, n int) []byte { return stream[off%period:][:n] }

// send writes n bytes of the stream.
func send(p io.Writer, n int64) error { return sendFrom(p, 0, n) }

// sendFrom writes n bytes of the stream from off on.
func sendFrom(p io.Writer, off, n int64) error {
	for n += off; off < n; {
		k, err := p.Write(at(off, int(min(n-off, 1<<16))))
		if off += int64(k); err != nil {
			return err
		}
	}
	return nil
}

// sender sends in the background and then closes that direction; the result is
// waited for with what it returns. Until then it may wait for as long as the test does other
// things, as when many are read one after the other.
func (w *world) sender(p interface {
	io.Writer
	CloseWrite() error
}, n int64) (wait func()) {
	bound := func(end time.Time) {
		switch p := p.(type) {
		case *net.TCPConn:
			p.SetWriteDeadline(end)
		case engine.Conn:
			p.SetWriteDeadline(end)
		}
	}
	bound(time.Time{})
	done := make(chan error, 1)
	go func() { done <- errors.Join(send(p, n), p.CloseWrite()) }()
	return func() {
		w.Helper()
		bound(time.Now().Add(patience))
		if err := <-done; err != nil {
			w.Errorf("sending %d bytes: %v", n, err)
		}
	}
}

// check verifies iovs as the stream from off on, and that they are what this
// engine hands out, and returns where they end.
func (w *world) check(iovs []buf.Iov, off int64) int64 {
	w.Helper()
	for i := range iovs {
		b := iovs[i].Bytes()
		if len(b) == 0 || cap(b) != len(b) || !iovs[i].Frag().Copied() && w.copies {
			w.Fatalf("a view of length %d, capacity %d, copied %v", len(b), cap(b), iovs[i].Frag().Copied())
		}
		if string(b) != string(at(off, len(b))) {
			w.Fatalf("wrong bytes in %d to %d", off, off+int64(len(b)))
		}
		off += int64(len(b))
	}
	return off
}

func (w *world) giveBack(iovs []buf.Iov) {
	w.Helper()
	n, err := w.pool.Return(iovs)
	if n != len(iovs) || err != nil {
		w.Fatalf("returned %d of %d: %v", n, len(iovs), err)
	}
}

// receive takes the stream from off on until its end, verifies it, and returns
// where and how it ended. What bounds its waits begins with it, not with the connection.
func (w *world) receive(c engine.Conn, off int64) (int64, error) {
	w.Helper()
	iovs := make([]buf.Iov, 64)
	for bounded := (time.Time{}); ; {
		if now := time.Now(); now.Sub(bounded) > patience/2 {
			bounded = now
			c.Queue().SetDeadline(now.Add(patience))
		}
		n, err := c.Queue().Recv(iovs, 1<<30)
		if err != nil {
			return off, err
		}
		off = w.check(iovs[:n], off)
		w.giveBack(iovs[:n])
	}
}

// wantEOF receives exactly n bytes, then an end, and that again.
func (w *world) wantEOF(c engine.Conn, n int64) {
	w.Helper()
	for _, from := range []int64{0, n} {
		if got, err := w.receive(c, from); got != n || err != io.EOF {
			w.Fatalf("received %d of %d bytes, then %v", got, n, err)
		}
	}
}
