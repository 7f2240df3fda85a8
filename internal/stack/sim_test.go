package stack

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net/netip"
	"testing"
	"time"

	"github.com/zctap/zctap/internal/buf"
	"github.com/zctap/zctap/internal/driver"
	"github.com/zctap/zctap/internal/driver/impair"
	"github.com/zctap/zctap/internal/driver/mem"
	"github.com/zctap/zctap/internal/mono"
	"github.com/zctap/zctap/internal/stack/tcp"
	"github.com/zctap/zctap/internal/testenv"
)

// A node is one of two stacks that talk to each other.
type node struct {
	pool  *buf.Pool
	wire  driver.Driver
	batch *driver.Batch
	stack *Stack
	addr  netip.Addr
}

// A sim is two nodes on one wire, with a clock that the test moves.
type sim struct {
	t    *testing.T
	now  mono.Time
	a, b *node
}

type simConfig struct {
	seed    uint64
	buffers int
	mem     mem.Config
	impair  impair.Config
	maxHeld int
}

func newSim(t *testing.T, c simConfig) *sim {
	t.Helper()
	s := &sim{t: t, now: mono.Time(time.Hour)}
	s.a = &node{pool: newPool(t, c.buffers), addr: us4.Addr()}
	s.b = &node{pool: newPool(t, c.buffers), addr: peer4}
	ca, cb := c.mem, c.mem
	ca.Pool, cb.Pool = s.a.pool, s.b.pool
	x, y, err := mem.Pipe(ca, cb)
	if err != nil {
		t.Fatal(err)
	}
	s.a.start(t, c, x, 1)
	s.b.start(t, c, y, 2)
	return s
}

func (n *node) start(t *testing.T, c simConfig, d driver.Driver, seed uint64) {
	t.Helper()
	c.impair.Pool, c.impair.Seed = n.pool, c.seed*10+seed
	w, err := impair.New(d, c.impair)
	if err != nil {
		t.Fatal(err)
	}
	n.wire = w
	n.batch = driver.NewBatch(32, 1024)
	n.stack, err = New(Config{
		Pool: n.pool, Driver: w, Prefixes: []netip.Prefix{netip.PrefixFrom(n.addr, 24)},
		MaxHeld: c.maxHeld, Seed: [32]byte{byte(c.seed), byte(seed)},
	})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := w.Close(); err != nil {
			t.Error(err)
		}
	})
}

// round is one of the engine's loop, and reports whether frames came.
func (n *node) round(t *testing.T, now mono.Time) bool {
	t.Helper()
	if err := n.wire.Poll(now, n.batch); err != nil {
		t.Fatal(err)
	}
	n.stack.Deliver(now, n.batch)
	n.stack.WindowCheck()
	n.stack.Advance(now)
	if err := n.stack.Flush(now); err != nil {
		t.Fatal(err)
	}
	return len(n.batch.Frames) > 0
}

// step lets both nodes do a round, and a little time pass; much, when nothing
// happens but that timers run.
func (s *sim) step() {
	busy := s.a.round(s.t, s.now)
	busy = s.b.round(s.t, s.now) || busy
	s.now = s.now.Add(20 * time.Microsecond)
	if busy {
		return
	}
	next := s.now.Add(time.Millisecond) // what the wire delays comes out by then
	for _, n := range []*node{s.a, s.b} {
		if t := n.stack.Next(); t != 0 && t.Before(next) {
			next = t
		}
	}
	s.now = max(s.now, next)
}

// until steps until f holds.
func (s *sim) until(what string, f func() bool) {
	s.t.Helper()
	limit := s.now.Add(24 * time.Hour)
	for steps := 0; !f(); steps++ {
		if s.step(); s.now > limit || steps > 5e6 {
			s.t.Fatalf("after %v and %d rounds still not: %s", s.now.Sub(limit.Add(-24*time.Hour)), steps, what)
		}
	}
}

// connect makes a connection from a to b.
func (s *sim) connect() (client, server *tcp.Conn) {
	s.t.Helper()
	l, err := s.b.stack.Listen("tcp", netip.AddrPortFrom(s.b.addr, 80), func() bool { return false }, func(c *tcp.Conn) { server = c })
	if err != nil {
		s.t.Fatal(err)
	}
	defer l.Close()
	client, err = s.a.stack.Dial(s.now, "tcp", netip.AddrPort{}, l.Addr())
	if err != nil {
		s.t.Fatal(err)
	}
	s.until("connected", func() bool { return client.Recv != nil && server != nil })
	client.Send.Notify, server.Send.Notify = client.Kick, server.Kick
	return client, server
}

// A flow sends a stream from one end and compares it at the other.
type flow struct {
	from, to   *tcp.Conn
	pool       *buf.Pool // of the receiver
	stream     []byte
	sent, got  int
	done       bool
	rand       *rand.Rand
	held       []buf.Iov // views not yet returned
	iovs       [64]buf.Iov
	pauseUntil mono.Time // the reader sleeps
}

// step has the application do something, at random: write, read, hold on to
// what it read, or sleep.
func (f *flow) step(now mono.Time) error {
	if f.sent < len(f.stream) {
		n := min(len(f.stream)-f.sent, 1+f.rand.IntN(100_000))
		k, err := f.from.Send.TryWrite(f.stream[f.sent : f.sent+n])
		if err != nil {
			return fmt.Errorf("after %d bytes: %w", f.sent, err)
		}
		if f.sent += k; f.sent == len(f.stream) {
			f.from.CloseWrite(now)
		}
	}
	if f.done || now.Before(f.pauseUntil) {
		return nil
	}
	if f.rand.IntN(300) == 0 {
		f.pauseUntil = now.Add(time.Duration(f.rand.IntN(int(200 * time.Millisecond))))
	}
	n, _, _, err := f.to.Recv.Poll(f.iovs[:1+f.rand.IntN(len(f.iovs))], 1+f.rand.IntN(1<<20))
	for i := range f.iovs[:n] {
		b := f.iovs[i].Bytes()
		if f.got+len(b) > len(f.stream) || !bytes.Equal(b, f.stream[f.got:f.got+len(b)]) {
			return fmt.Errorf("bytes from %d on are wrong", f.got)
		}
		f.got += len(b)
	}
	f.held = append(f.held, f.iovs[:n]...)
	if f.rand.IntN(4) > 0 || err != nil {
		if _, err := f.pool.Return(f.held); err != nil {
			return err
		}
		f.held = f.held[:0]
	}
	switch {
	case errors.Is(err, io.EOF):
		f.done = true
		if f.got != len(f.stream) {
			return fmt.Errorf("ended after %d bytes of %d", f.got, len(f.stream))
		}
		f.to.Recv.Close()
		return nil
	case err != nil:
		return fmt.Errorf("after %d bytes: %w", f.got, err)
	}
	return nil
}

// transfer sends n bytes each way and checks everything that is left.
func (s *sim) transfer(seed uint64, n int) {
	s.t.Helper()
	client, server := s.connect()
	r := rand.New(rand.NewPCG(seed, 7))
	flows := []*flow{
		{from: client, to: server, pool: s.b.pool, stream: pattern(1, n), rand: r},
		{from: server, to: client, pool: s.a.pool, stream: pattern(2, n/3), rand: r},
	}
	s.until("both have received all", func() bool {
		for _, f := range flows {
			if err := f.step(s.now); err != nil {
				s.t.Fatalf("at %v: %v", s.now.Sub(mono.Time(time.Hour)), err)
			}
		}
		return flows[0].done && flows[1].done
	})
	client.Close(s.now)
	server.Close(s.now)
	s.until("both are forgotten", func() bool {
		return s.a.stack.Stats().Conns+s.b.stack.Stats().Conns == 0
	})
	if n := len(s.a.stack.timers.heap) + len(s.b.stack.timers.heap); n != 0 {
		s.t.Errorf("%d timers left", n)
	}
	for _, n := range []*node{s.a, s.b} {
		st := n.stack.Stats()
		got := st.TCP.ZeroCopyBytes + st.TCP.CopiedBytes
		if want := uint64(len(flows[0].stream)); n == s.b && got != want {
			s.t.Errorf("%d bytes counted as received, want %d", got, want)
		}
	}
}

// TestTwoStacks runs transfers over good and bad wires, in fake time: every byte
// is verified, and every buffer is free at the end.
func TestTwoStacks(t *testing.T) {
	wires := []struct {
		name string
		c    impair.Config
	}{
		{"good", impair.Config{}},
		{"loss", impair.Config{Drop: 0.02}},
		{"heavy loss", impair.Config{Drop: 0.15}},
		{"reordered", impair.Config{Reorder: 0.1, ReorderBy: 5}},
		{"duplicated", impair.Config{Duplicate: 0.1}},
		{"corrupted", impair.Config{Corrupt: 0.03}},
		{"everything", impair.Config{Drop: 0.02, Duplicate: 0.02, Corrupt: 0.01, Reorder: 0.05, ReorderBy: 9, Delay: 0.05, DelayBy: time.Millisecond, DelayJitter: 3 * time.Millisecond}},
	}
	devices := []struct {
		name    string
		c       mem.Config
		buffers int
		maxHeld int
	}{
		{"MTU", mem.Config{Offload: mem.Plain}, 512, 0},
		{"GSO", mem.Config{Offload: mem.Completed, MaxGSO: 65535}, 512, 0},
		{"Ethernet", mem.Config{Offload: mem.Plain, LinkHeader: 14, NoSplit: true}, 512, 0},
		{"few buffers", mem.Config{Offload: mem.Plain}, 64, 0},
		{"MaxHeld", mem.Config{Offload: mem.Plain}, 256, 5},
	}
	seeds := uint64(2)
	if testenv.Race {
		seeds = 1
	}
	for _, w := range wires {
		for _, d := range devices {
			t.Run(w.name+"/"+d.name, func(t *testing.T) {
				for seed := range seeds {
					s := newSim(t, simConfig{seed: seed, buffers: d.buffers, mem: d.c, impair: w.c, maxHeld: d.maxHeld})
					s.transfer(seed, 200<<10)
				}
			})
		}
	}
}

// TestTwoStacksAreDeterministic: the same seeds give the same run, to the last
// counter.
func TestTwoStacksAreDeterministic(t *testing.T) {
	run := func() (Stats, Stats, mono.Time) {
		s := newSim(t, simConfig{seed: 3, buffers: 256, mem: mem.Config{Offload: mem.Plain}, impair: impair.Config{Drop: 0.05, Reorder: 0.05}})
		s.transfer(3, 200<<10)
		return s.a.stack.Stats(), s.b.stack.Stats(), s.now
	}
	a1, b1, t1 := run()
	a2, b2, t2 := run()
	if a1 != a2 || b1 != b2 || t1 != t2 {
		t.Errorf("two runs differ:\n%+v\n%+v\n%v\n%+v\n%+v\n%v", a1, b1, t1, a2, b2, t2)
	}
	if a1.TCP.Retransmits == 0 {
		t.Error("nothing was lost")
	}
}
