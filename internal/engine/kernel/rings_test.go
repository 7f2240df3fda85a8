//go:build linux

package kernel

import (
	"errors"
	"fmt"
	"io"
	"net"
	"net/netip"
	"slices"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/zctap/zctap/internal/buf"
	"github.com/zctap/zctap/internal/engine"
	"github.com/zctap/zctap/internal/uring"
	"github.com/zctap/zctap/internal/uring/uringtest"
)

// twoRings share a queue that has a NIC, or has none.
var (
	twoRings   = ZCRXOptions{Interface: 1, Queue: 1, Rings: 2}
	packingNIC = uringtest.Options{Device: true, Chunk: 500}
)

// on is the number of the ring that c is on.
func (w *world) on(c engine.Conn) int { return slices.Index(w.loops, c.(*conn).l) }

// Connections that were accepted, and dialed ones, are spread evenly, and stay so
// when some are closed; each ring brings the payload of its own.
func TestRingsSpread(t *testing.T) {
	w := zcrxOn(t, options{}, twoRings, uringtest.Options{Device: true})
	const n, size = 12, 100_000
	conns, wait := w.crowd(n, size)
	count := func() (by [2]int) {
		for _, c := range conns {
			by[w.on(c)]++
		}
		return by
	}
	if by := count(); by != [2]int{n / 2, n / 2} {
		t.Errorf("of %d connections the rings have %v", n, by)
	}
	w.receiveAll(conns, size)
	wait()
	for i := range 2 {
		if got := w.event(fmt.Sprintf("ring-%d-frames", i)); got < n/2*size/4096 {
			t.Errorf("ring %d has brought %d completions", i, got)
		}
	}
	// receiveAll has closed all of them: the next ones begin anew.
	conns = conns[:0]
	peer, err := net.Listen("tcp", "127.0.0.1:0")
	w.ok(err)
	defer peer.Close()
	for range n {
		c, err := w.Dial(t.Context(), "tcp", netip.AddrPort{}, netip.MustParseAddrPort(peer.Addr().String()))
		w.ok(err)
		conns = append(conns, w.mind(c))
	}
	if by := count(); by != [2]int{n / 2, n / 2} {
		t.Errorf("of %d dialed connections the rings have %v", n, by)
	}
	for _, c := range conns {
		if w.on(c) == 0 {
			w.ok(closeConn(c))
		}
	}
	conns = conns[:0]
	for range n / 2 {
		c, _ := w.connect()
		conns = append(conns, c)
	}
	if by := count(); by != [2]int{n / 2, 0} {
		t.Errorf("when the first ring has none, %v of the next %d are its", by, n/2)
	}
	for i, l := range w.loops {
		if got := l.placed.Load(); got != n/2 {
			t.Errorf("ring %d is said to have %d connections", i, got)
		}
	}
}

// Payload of connections on two rings lies in the same buffers. Each is as it was
// sent while the other's goes back, and the kernel gets every buffer again, once.
func TestRingsShareBuffers(t *testing.T) {
	w := zcrxOn(t, options{}, twoRings, packingNIC)
	a, pa := w.connect()
	b, pb := w.connect()
	if w.on(a) == w.on(b) {
		t.Fatal("both connections are on one ring")
	}
	const rounds = 40
	for i := range rounds {
		w.ok(second(pa.Write(at(int64(i*500), 500))))
		w.eventually("it came", func() bool { return a.Queue().Buffered() == (i+1)*500 })
		w.ok(second(pb.Write(at(int64(i*500), 500))))
		w.eventually("it came", func() bool { return b.Queue().Buffered() == (i+1)*500 })
	}
	if !w.loops[0].back.(*zcrx).group.shared.Load() {
		t.Fatal("no buffer has payload of both")
	}
	held := [2][]buf.Iov{w.hoard(a, 1), w.hoard(b, 1)}
	for turn := range 2 {
		w.giveBack(held[turn])
		w.poke()
		if turn == 0 {
			w.check(held[1], 0)
		}
	}
	w.wantReturned()
}

// A connection that has used up its share, in buffers that have payload of connections
// on another ring, whom nobody reads, goes on when it has given back all that it had.
func TestRingsHeldByOthers(t *testing.T) {
	w := zcrxOn(t, options{buffers: 64}, twoRings, uringtest.Options{Device: true, Chunk: 1448})
	a, pa := w.connect()
	var others []engine.Conn
	var peers []*net.TCPConn
	for len(others) < 4 {
		if c, p := w.connect(); w.on(c) != w.on(a) {
			others, peers = append(others, c), append(peers, p)
		}
	}
	// In turn, so that in each buffer that a is in there is one of the others.
	pauses := &w.loops[w.on(a)].stats.pauses
	sent := 0
	var theirs [4]int64
	for ; pauses.Load() == 0; sent++ {
		if sent == 200 {
			t.Fatalf("not paused after %d pieces", sent)
		}
		w.ok(second(pa.Write(at(int64(sent*1448), 1448))))
		w.eventually("it came, or can't", func() bool { return a.Queue().Buffered() == (sent+1)*1448 || pauses.Load() > 0 })
		i := sent % len(others)
		w.ok(second(peers[i].Write(at(theirs[i], 1448))))
		theirs[i] += 1448
		w.eventually("it came", func() bool { return others[i].Queue().Buffered() == int(theirs[i]) })
	}
	const rest = 300_000
	wait := w.sending(pa, int64(sent*1448), rest)
	if got, err := w.receive(a, 0); got != int64(sent*1448+rest) || err != io.EOF {
		t.Errorf("received %d of %d, then %v", got, sent*1448+rest, err)
	}
	wait()
	for i, c := range others {
		w.ok(peers[i].CloseWrite())
		w.wantEOF(c, theirs[i])
	}
	w.wantReturned()
}

// sending sends n bytes of the stream behind what was sent.
func (w *world) sending(p *net.TCPConn, from, n int64) (wait func()) {
	var wg sync.WaitGroup
	wg.Go(func() {
		for off := from; off < from+n; off += 10_000 {
			if _, err := p.Write(at(off, int(min(10_000, from+n-off)))); err != nil {
				w.Error(err)
				return
			}
		}
		if err := p.CloseWrite(); err != nil {
			w.Error(err)
		}
	})
	return wg.Wait
}

// What is given back of a ring that sleeps, and has no reason to look for it, reaches
// the NIC when another ring's connections have taken most of the others.
func TestRingsSleeperGivesBack(t *testing.T) {
	w := zcrxOn(t, options{buffers: 64}, twoRings, uringtest.Options{Device: true})
	sleeper, ps := w.connect()
	const n = 6
	w.ok(second(ps.Write(at(0, n*4096))))
	w.eventually("it came", func() bool { return sleeper.Queue().Buffered() == n*4096 })
	held := w.hoard(sleeper, n)
	w.eventually("all sleep", w.asleep)
	w.check(held, 0)
	w.giveBack(held)
	z := sleeper.(*conn).l.back.(*zcrx)
	if out := z.books.out.Load(); out != n {
		t.Fatalf("the sleeper has %d buffers, want %d", out, n)
	}
	var kept []buf.Iov
	var conns []engine.Conn
	for 2*w.pool.FreeLent() >= w.pool.Lent() {
		c, p := w.connect()
		conns = append(conns, c)
		if w.on(c) == w.on(sleeper) {
			continue
		}
		go send(p, 1<<20) // until c is closed
		kept = append(kept, w.hoard(c, 1)...)
	}
	w.eventually("the sleeper has given back", func() bool { return z.books.out.Load() == 0 })
	w.giveBack(kept)
	for _, c := range append(conns, sleeper) {
		w.ok(closeConn(c))
	}
	w.wantReturned()
}

// A breaking ring fails to wait when it is told to, and notes when it is closed.
type breaking struct {
	uring.Instance
	broken *atomic.Bool
	closed func()
}

func (b *breaking) Enter(wait int, timeout time.Duration) (int, error) {
	if b.broken.Load() {
		return 0, unix.EOPNOTSUPP
	}
	return b.Instance.Enter(wait, timeout)
}

func (b *breaking) Close() error {
	b.closed()
	return b.Instance.Close()
}

func (b *breaking) ImportZCRX(fd int, of *uring.IFQ) (*uring.IFQ, error) {
	if b.broken.Load() {
		return nil, unix.EPERM
	}
	return b.Instance.ImportZCRX(fd, of)
}

// brittle has the rings that a world is made of break.
type brittle struct {
	mu     sync.Mutex
	broken []*atomic.Bool
	log    []string // what was closed, in order
}

func (b *brittle) note(what string) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.log = append(b.log, what)
}

// options makes b's rings of those that z would have.
func (b *brittle) options(z ZCRXOptions, k uringtest.Options) ZCRXOptions {
	open := uringtest.Opener(k)
	z.Ring = func(entries uint32, p uring.Params) (uring.Instance, error) {
		i, err := open(entries, p)
		if err != nil {
			return nil, err
		}
		b.mu.Lock()
		defer b.mu.Unlock()
		n := len(b.broken)
		b.broken = append(b.broken, new(atomic.Bool))
		return &breaking{i, b.broken[n], func() { b.note(fmt.Sprintf("ring %d", n)) }}, nil
	}
	z.QueueFree = func() error { b.note("free"); return nil }
	return z
}

// Whichever ring fails, the others end with the same error, and everything that
// waits; the importers are closed first.
func TestRingsFailTogether(t *testing.T) {
	for broken := range 3 {
		t.Run(fmt.Sprint(broken), func(t *testing.T) {
			b := &brittle{}
			z := twoRings
			z.Rings = 3
			w := newWorld(t, variant{name: "zcrx", o: Options{Backend: BackendZCRX, ZCRX: b.options(z, uringtest.Options{Device: true})}}, options{})
			var ended [3]chan error
			for i := range ended {
				c, p := w.connect()
				w.ok(second(p.Write(at(0, 5000))))
				w.eventually("it came", func() bool { return c.Queue().Buffered() == 5000 })
				c, _ = w.connect()
				ended[i] = make(chan error, 1)
				go func() { ended[i] <- second(c.Queue().Recv(make([]buf.Iov, 1), 1)) }()
			}
			ln := w.listen(0)
			b.broken[broken].Store(true)
			w.loops[broken].poke()
			for i := range ended {
				if err := <-ended[i]; !errors.Is(err, unix.EOPNOTSUPP) {
					t.Errorf("connection %d: %v", i, err)
				}
			}
			if _, err := ln.Backlog().Accept(); !errors.Is(err, unix.EOPNOTSUPP) {
				t.Errorf("Accept: %v", err)
			}
			w.ok(w.Close()) // the failure was told
			slices.Sort(b.log[:2])
			if want := []string{"ring 1", "ring 2", "ring 0", "free"}; !slices.Equal(b.log, want) {
				t.Errorf("closed %v, want %v", b.log, want)
			}
			if _, err := w.Dial(t.Context(), "tcp", netip.AddrPort{}, ln.Addr()); err == nil {
				t.Error("Dial works after the failure")
			}
			w.census()
		})
	}
}

// If the queue can't be imported nothing is left, and the error says why.
func TestRingsOpenFails(t *testing.T) {
	for bad := 1; bad < 3; bad++ {
		b := &brittle{}
		z := twoRings
		z.Rings = 3
		z = b.options(z, uringtest.Options{Device: true})
		make := z.Ring
		z.Ring = func(entries uint32, p uring.Params) (uring.Instance, error) {
			i, err := make(entries, p)
			b.broken[len(b.broken)-1].Store(len(b.broken)-1 == bad)
			return i, err
		}
		_, err := New(newConfig(t, 64), Options{Backend: BackendZCRX, ZCRX: z})
		if !errors.Is(err, unix.EPERM) {
			t.Errorf("import %d fails: %v", bad, err)
		}
		if len(b.log) != bad+2 || b.log[bad] != "ring 0" || b.log[bad+1] != "free" {
			t.Errorf("import %d fails: closed %v", bad, b.log)
		}
	}
	for _, n := range []int{-1, 33} {
		z := twoRings
		z.Rings = n
		if _, err := New(newConfig(t, 64), Options{Backend: BackendZCRX, ZCRX: z}); !errors.Is(err, syscall.EINVAL) {
			t.Errorf("%d rings: %v", n, err)
		}
	}
}
