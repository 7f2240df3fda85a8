package user

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net/netip"
	"testing"
	"time"

	"github.com/zctap/zctap/internal/buf"
	"github.com/zctap/zctap/internal/buf/buftest"
	"github.com/zctap/zctap/internal/driver"
	"github.com/zctap/zctap/internal/driver/mem"
	"github.com/zctap/zctap/internal/engine"
	"github.com/zctap/zctap/internal/mono"
	"github.com/zctap/zctap/internal/sockq"
	"github.com/zctap/zctap/internal/testenv"
)

func TestMain(m *testing.M) { testenv.Main(m) }

var (
	prefixA = netip.MustParsePrefix("192.0.2.1/24")
	prefixB = netip.MustParsePrefix("192.0.2.2/24")
	prefixC = netip.MustParsePrefix("2001:db8::1/64")
	prefixD = netip.MustParsePrefix("2001:db8::2/64")
)

// deadline bounds every wait of the tests: it is reached only by a failure.
const deadline = 60 * time.Second

// A host is an engine with its pool.
type host struct {
	*Engine
	pool *buf.Pool
	cq   *sockq.CQ
	wire driver.Driver
	addr netip.Addr
}

// options say how the two hosts of a test are made.
type options struct {
	buffers int // of each region; 0: 1,024
	mem     mem.Config
	maxHeld int
	// sendMemory is both engines'.
	sendMemory int
	// wrap, if set, goes around a driver.
	wrap func(driver.Driver, *buf.Pool) driver.Driver
}

// newHosts makes two engines on one wire. At the test's end they are closed, and
// everything has to have been given back.
func newHosts(t testing.TB, o options) (a, b *host) {
	t.Helper()
	if o.buffers == 0 {
		o.buffers = 1024
	}
	a = &host{pool: buftest.Heap(t, o.buffers), cq: sockq.NewCQ(), addr: prefixA.Addr()}
	b = &host{pool: buftest.Heap(t, o.buffers), cq: sockq.NewCQ(), addr: prefixB.Addr()}
	ca, cb := o.mem, o.mem
	ca.Pool, cb.Pool = a.pool, b.pool
	x, y, err := mem.Pipe(ca, cb)
	if err != nil {
		t.Fatal(err)
	}
	a.start(t, o, x, prefixA, prefixC)
	b.start(t, o, y, prefixB, prefixD)
	return a, b
}

func (h *host) start(t testing.TB, o options, d driver.Driver, prefixes ...netip.Prefix) {
	t.Helper()
	h.wire = d
	if o.wrap != nil {
		h.wire = o.wrap(d, h.pool)
	}
	e, err := New(engine.Config{Pool: h.pool, CQ: h.cq, MaxHeld: o.maxHeld, SendMemory: o.sendMemory},
		Options{Driver: h.wire, Prefixes: prefixes, TimeWait: 10 * time.Millisecond})
	if err != nil {
		t.Fatal(err)
	}
	h.Engine = e
	t.Cleanup(func() {
		if err := e.Close(); err != nil {
			t.Errorf("Close: %v", err)
		}
		if c, err := h.pool.Census(); err != nil || c.Driver != 0 || c.Stack != 0 {
			t.Errorf("after Close: %+v, %v; want no kernel reference", c, err)
		}
	})
}

// stats are h's counters.
func (h *host) stats() (s engine.Stats) {
	h.Stats(&s)
	return s
}

// listen listens on h, and closes the listener at the test's end.
func (h *host) listen(t testing.TB, backlog int) engine.Listener {
	t.Helper()
	l, err := h.Listen("tcp", netip.AddrPortFrom(h.addr, 0), backlog)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { closeListener(l) })
	return l
}

func closeListener(l engine.Listener) {
	l.Backlog().Close()
	l.Close()
}

// dial connects to l.
func (h *host) dial(t testing.TB, l engine.Listener) engine.Conn {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), deadline)
	defer cancel()
	c, err := h.Dial(ctx, "tcp", netip.AddrPort{}, l.Addr())
	if err != nil {
		t.Fatalf("Dial: %v", err)
	}
	return c
}

// connect makes a connection from a to b.
func connect(t testing.TB, a, b *host) (client, server engine.Conn) {
	t.Helper()
	l := b.listen(t, 0)
	client = a.dial(t, l)
	server = accept(t, l)
	return client, server
}

func accept(t testing.TB, l engine.Listener) engine.Conn {
	t.Helper()
	l.Backlog().SetDeadline(time.Now().Add(deadline))
	c, err := l.Backlog().Accept()
	if err != nil {
		t.Fatalf("Accept: %v", err)
	}
	return c
}

// closeConn gives c up, as the root package does.
func closeConn(t testing.TB, c engine.Conn) {
	t.Helper()
	c.Queue().Close()
	if err := c.Close(); err != nil {
		t.Errorf("Close: %v", err)
	}
}

// stream is an endless stream of bytes, the same for each seed.
type stream struct {
	r    *rand.ChaCha8
	next [8]byte
	left int
}

func newStream(seed byte) *stream { return &stream{r: rand.NewChaCha8([32]byte{seed})} }

func (s *stream) Read(p []byte) (int, error) { return s.r.Read(p) }

// send writes the first n bytes of a stream, in writes of any size.
func send(c engine.Conn, seed byte, n int) error {
	s, sizes := newStream(seed), rand.New(rand.NewPCG(uint64(seed), 1))
	b := make([]byte, 200<<10)
	for n > 0 {
		k := min(n, 1+sizes.IntN(len(b)))
		s.Read(b[:k])
		if m, err := c.Write(b[:k]); err != nil || m != k {
			return fmt.Errorf("Write of %d bytes: %d, %w", k, m, err)
		}
		n -= k
	}
	return nil
}

// receive takes all until the end of the stream, and compares it with the first
// n bytes of stream seed. Views are held a little, and returned late.
func receive(p *buf.Pool, c engine.Conn, seed byte, n int) error {
	s := newStream(seed)
	want := make([]byte, 64<<10)
	iovs := make([]buf.Iov, 48)
	got := 0
	for {
		k, err := c.Queue().Recv(iovs, 1<<30)
		if err != nil {
			if !errors.Is(err, io.EOF) {
				return fmt.Errorf("after %d bytes: %w", got, err)
			}
			if got != n {
				return fmt.Errorf("%d bytes, want %d", got, n)
			}
			return nil
		}
		for i := range iovs[:k] {
			b := iovs[i].Bytes()
			s.Read(want[:len(b)])
			if !bytes.Equal(b, want[:len(b)]) {
				return fmt.Errorf("bytes from %d on are wrong", got)
			}
			got += len(b)
		}
		if _, err := p.Return(iovs[:k]); err != nil {
			return err
		}
	}
}

// await runs fs side by side and fails the test with their errors.
func await(t testing.TB, fs ...func() error) {
	t.Helper()
	errs := make(chan error, len(fs))
	for _, f := range fs {
		go func() { errs <- f() }()
	}
	late := time.After(deadline)
	for range fs {
		select {
		case err := <-errs:
			if err != nil {
				t.Error(err)
			}
		case <-late:
			t.Fatal("still not done")
		}
	}
}

// eventually waits until f holds.
func eventually(t testing.TB, what string, f func() bool) {
	t.Helper()
	for end := time.Now().Add(deadline); !f(); time.Sleep(time.Millisecond) {
		if time.Now().After(end) {
			t.Fatalf("never: %s", what)
		}
	}
}

// Err is why the engine does not run any more: net.ErrClosed after Close, what
// went wrong if its driver failed, or nil.
func (e *Engine) Err() (err error) {
	e.do(func(mono.Time) { err = e.cause })
	return err
}
