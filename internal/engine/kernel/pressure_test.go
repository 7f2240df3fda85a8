//go:build linux

package kernel

import (
	"sync"
	"testing"
	"time"

	"github.com/zctap/zctap/internal/buf"
	"github.com/zctap/zctap/internal/engine"
)

// settle waits until nothing is received any more.
func (w *world) settle(what string, ok func() bool) {
	w.Helper()
	for end := time.Now().Add(patience); ; {
		before := w.received()
		time.Sleep(20 * time.Millisecond)
		if w.received() == before && ok() {
			return
		}
		if time.Now().After(end) {
			w.Fatalf("waited in vain until %s; %+v", what, w.stats())
		}
	}
}

// hoard takes all that comes, least views at least, until nothing does, and keeps
// it. A loop that reads itself has paused c then, and it need not be waited for that
// nothing comes, if no other connection is paused meanwhile, nor between this and
// the hoard before. Else it is the number of looks in vain that counts, and not their
// time, in which a machine that is busy may have done nothing for us.
func (w *world) hoard(c engine.Conn, least int) (held []buf.Iov) {
	w.Helper()
	defer func() { w.pauses = w.event("paused") }()
	iovs := make([]buf.Iov, 64)
	const looks = 80 // of more than a millisecond
	vain := 0
	last := time.Now()
	empty := 0 // times in a row that there was more after nothing: it may come just between the two
	for len(held) < least && time.Since(last) < patience || vain < looks {
		n, _, more, err := c.Queue().Poll(iovs, 1<<30)
		w.ok(err)
		held = append(held, iovs[:n]...)
		switch {
		case n > 0:
			last, vain, empty = time.Now(), 0, 0
		case more:
			if empty++; empty > 1 {
				w.Fatal("the queue has more, and gives nothing")
			}
		case !w.isZCRX() && len(held) >= least && w.event("paused") > w.pauses && w.leaves(c):
			return held
		default:
			vain++
			if !w.isZCRX() {
				w.look()
			}
			time.Sleep(time.Millisecond)
		}
	}
	return held
}

// leaves reports whether payload for c waits in the kernel, and the loop looks
// some times, and takes none.
func (w *world) leaves(c engine.Conn) bool {
	w.Helper()
	for range 4 {
		if n, err := c.(*conn).sock.Waiting(); n == 0 || err != nil || c.Queue().Buffered() > 0 {
			return false
		}
		w.look()
	}
	return c.Queue().Buffered() == 0
}

// look has the loop look for what there is to do.
func (w *world) look() {
	w.Helper()
	before := w.stats().Wakes
	w.eventually("the loop has looked", func() bool {
		w.loop.returned.Store(true)
		w.loop.wake()
		return w.stats().Wakes > before
	})
}

// An application that keeps what it receives gets its share and no more, and
// when it gives back, the rest: nothing is lost, no wait is polled for.
func TestExhaustionAndRecovery(t *testing.T) {
	for _, tc := range []struct {
		name  string
		o     options
		least int // buffers that one connection gets at least, and at most
		most  int
	}{
		{"dynamic", options{buffers: 256}, 100, 129},
		{"bounded", options{buffers: 256, maxHeld: 20}, 20, 20},
		{"small-region", options{buffers: 8}, 2, 5},
	} {
		t.Run(tc.name, func(t *testing.T) {
			each(t, tc.o, func(w *world) {
				c, p := w.connect()
				const size = 8 << 20
				wait := w.sender(p, size)
				off := int64(0)
				for round := 0; off < size && round < 3; round++ {
					least, most := tc.least, tc.most
					if w.isZCRX() {
						least, most = w.share(tc.o.maxHeld)
					}
					held := w.hoard(c, least) // no view is of several buffers
					if n := w.held(c); n < least || n > most {
						w.Errorf("the connection holds %d buffers, want %d to %d", n, least, most)
					}
					off = w.check(held, off)
					w.giveBack(held)
				}
				if got, _ := w.receive(c, off); got != size {
					w.Errorf("received %d of %d", got, size)
				}
				wait()
				if w.stats().Events["paused"] == 0 {
					w.Error("no pause was counted")
				}
			})
		})
	}
}

// A connection that nobody reads keeps no more than its share; others run at
// full length meanwhile.
func TestSlowReader(t *testing.T) {
	each(t, options{buffers: 256}, func(w *world) {
		slow, ps := w.connect()
		const slowSize = 16 << 20
		waitSlow := w.sender(ps, slowSize)
		least, most := 100, 129
		if w.isZCRX() {
			least, most = w.share(0)
		}
		w.settle("the slow one is full", func() bool { return w.held(slow) >= least })
		if n := w.held(slow); n > most {
			w.Errorf("the slow connection holds %d of 256 buffers", n)
		}
		const size = 8 << 20
		for range 2 {
			fast, pf := w.connect()
			wait := w.sender(pf, size)
			w.wantEOF(fast, size)
			wait()
		}
		if n := w.pool.Exhaustions(); n != 0 {
			w.Errorf("the region ran dry %d times", n)
		}
		w.wantEOF(slow, slowSize)
		waitSlow()
	})
}

// Many greedy connections have filled the region when their readers begin, one
// after the other: each gets all in the end. With zcrx on a NIC that packs, the first
// one's payload lies in buffers that others share, who are not read yet.
func TestGreedyCrowd(t *testing.T) {
	const conns, size = 20, 1 << 20
	each(t, options{buffers: 128}, func(w *world) {
		var all []engine.Conn
		var waits []func()
		for range conns {
			c, p := w.connect()
			all = append(all, c)
			waits = append(waits, w.sender(p, size))
		}
		w.settle("all are full", func() bool { return w.pool.Free() < 64 })
		for i, c := range all {
			w.wantEOF(c, size)
			waits[i]()
		}
	})
}

// Without any limit of its own a region that the application holds as a whole
// is exhausted: one episode, and full recovery.
func TestEpisode(t *testing.T) {
	each(t, options{buffers: 64}, func(w *world) {
		held := make([][]buf.Iov, 0, 64)
		var conns []engine.Conn
		var offs []int64
		// Each further connection gets half of what is left.
		for w.pool.Exhaustions() == 0 {
			c, p := w.connect()
			w.sender(p, 1<<20)
			conns = append(conns, c)
			held = append(held, w.hoard(c, 0))
			offs = append(offs, w.check(held[len(held)-1], 0))
			if len(conns) > 64 {
				w.Fatalf("never exhausted: %d are free", w.pool.Free())
			}
		}
		if n := w.pool.Exhaustions(); n != 1 {
			w.Errorf("%d episodes", n)
		}
		for _, h := range held {
			w.giveBack(h)
		}
		// All at once: what one has received and does not take the others can't have.
		var wg sync.WaitGroup
		for i, c := range conns {
			wg.Go(func() {
				if got, _ := w.receive(c, offs[i]); got != 1<<20 {
					w.Errorf("connection %d received %d; %+v", i, got, w.stats())
				}
			})
		}
		wg.Wait()
	})
}

// One-byte messages that nobody reads share buffers.
func TestTinyMessages(t *testing.T) {
	const messages = 2000
	reserve := func(o *Options) { o.ZCRX.Reserve = 128 } // not less than what they need
	each(t, options{buffers: 256, options: reserve}, func(w *world) {
		c, p := w.connect()
		for off := int64(0); off < messages; off++ {
			_, err := p.Write(at(off, 1))
			w.ok(err)
			w.eventually("the byte is there", func() bool { return c.Queue().Buffered() == int(off)+1 })
		}
		want := messages/maxShares + 2
		if w.isZCRX() {
			want += w.pool.Lent() / 2 // they are left where they are as long as there is room
		}
		if n := w.held(c); n > want {
			w.Errorf("%d one-byte messages hold %d buffers, want at most %d", messages, n, want)
		}
		w.ok(p.CloseWrite())
		w.wantEOF(c, messages)
	})
}

// Connections that are silent keep no more than a part of the region for their
// tails, and when buffers run out none.
func TestIdleTails(t *testing.T) {
	const buffers, conns = 64, 40
	each(t, options{buffers: buffers}, func(w *world) {
		var all []engine.Conn
		for range conns {
			c, p := w.connect()
			w.ok(send(p, 10))
			w.eventually("data is queued", func() bool { return c.Queue().Buffered() == 10 })
			iovs := make([]buf.Iov, 1)
			n, err := c.Queue().Recv(iovs, 100)
			w.ok(err)
			w.check(iovs[:n], 0)
			w.giveBack(iovs[:n])
			all = append(all, c)
		}
		held := 0
		for _, c := range all {
			held += c.(*conn).account.Held()
		}
		want := buffers / 8
		if w.isZCRX() {
			want = 0 // what is copied to no tail needs none
		}
		if held != want {
			w.Errorf("%d silent connections hold %d buffers, want %d", conns, held, want)
		}
	})
}
