package tcp

import (
	"fmt"
	"math/rand/v2"
	"testing"

	"github.com/zctap/zctap/internal/mono"
	"github.com/zctap/zctap/internal/testenv"
	"github.com/zctap/zctap/internal/wire"
)

// A naiveBoard knows of each byte what a scoreboard knows of runs of them.
type naiveBoard struct {
	una, nxt int // bytes of the stream
	sent     []mono.Time
	flags    []uint8
}

func (n *naiveBoard) send(now mono.Time, k int) {
	for range k {
		n.sent = append(n.sent, now)
		n.flags = append(n.flags, 0)
	}
	n.nxt += k
}

// news marks [from, to) and returns how many bytes had not been known to arrive.
func (n *naiveBoard) news(from, to int) (bytes uint32) {
	for i := from; i < to; i++ {
		if n.flags[i]&sacked == 0 {
			n.flags[i] = sacked
			bytes++
		}
	}
	return bytes
}

func (n *naiveBoard) sum(flag uint8) (bytes uint32) {
	for _, f := range n.flags[n.una:n.nxt] {
		if f&flag != 0 {
			bytes++
		}
	}
	return bytes
}

// first is the first of b's records.
func first(b *scoreboard) txID {
	if b.tx == nil {
		return none
	}
	return b.tx.first()
}

// records are all that b has.
func (b *scoreboard) records() (l []txRecord) {
	for i := first(b); i != none; i = b.tx.all[i].next {
		l = append(l, b.tx.all[i])
	}
	return l
}

// TestScoreboardModel plays random sends, blocks, acknowledgments, losses and
// repairs to a scoreboard and to one that is too simple to be wrong.
func TestScoreboardModel(t *testing.T) {
	seeds := uint64(40)
	if testenv.Race {
		seeds = 8
	}
	for seed := range seeds {
		rng := rand.New(rand.NewPCG(seed, 8))
		s := newScript(t, 16, nil)
		c := newConn(s.sh, s.now, testTuple, testMSS)
		s.sh.conns--
		c.opt.sack = true
		c.state = Established
		base := wire.Seq(rng.Uint32()) // wraps with some
		if seed%4 == 0 {
			base = ^wire.Seq(0) - wire.Seq(rng.IntN(3000))
		}
		c.snd.una, c.snd.nxt, c.snd.max = base, base, base
		n := &naiveBoard{}
		b := &c.board
		now := mono.Time(1e9)
		for step := range 400 {
			now++
			what := ""
			switch op := rng.IntN(10); {
			case op < 3:
				k := 1 + rng.IntN(300)
				what = fmt.Sprint("send ", k)
				c.track(now, c.snd.nxt, c.snd.nxt.Add(uint32(k)), 0)
				c.snd.nxt = c.snd.nxt.Add(uint32(k))
				n.send(now, k)
			case op < 7 && n.nxt > n.una+1:
				from := n.una + 1 + rng.IntN(n.nxt-n.una-1)
				to := from + 1 + rng.IntN(min(n.nxt-from, 500))
				what = fmt.Sprintf("sack [%d, %d)", from, to)
				d := delivery{now: now, segments: maxRecords}
				b.sack(base.Add(uint32(from)), base.Add(uint32(to)), &d)
				if want := n.news(from, to); d.bytes != want || d.sacked != want {
					t.Fatalf("seed %d step %d: %s: %d news, %d of blocks, want %d", seed, step, what, d.bytes, d.sacked, want)
				}
			case op == 7 && n.nxt > n.una:
				to := n.una + 1 + rng.IntN(min(n.nxt-n.una, 400))
				what = fmt.Sprint("ack ", to)
				d := delivery{now: now}
				c.snd.una = base.Add(uint32(to))
				b.ack(c.snd.una, &d)
				if want := n.news(n.una, to); d.bytes != want || d.sacked != 0 {
					t.Fatalf("seed %d step %d: %s: %d news, want %d", seed, step, what, d.bytes, want)
				}
				n.una = to
			case op == 8: // all sent before some time is lost
				before := now - mono.Time(rng.IntN(50))
				what = fmt.Sprint("lose what was sent before ", before)
				for i := first(b); i != none; i = b.tx.at(i).next {
					if r := b.tx.at(i); r.flags&sacked == 0 && r.sent < before {
						b.mark(i, r.flags&^resent|lost)
					}
				}
				for i := n.una; i < n.nxt; i++ {
					if n.flags[i]&sacked == 0 && n.sent[i] < before {
						n.flags[i] = n.flags[i]&^resent | lost
					}
				}
			case op == 9: // something lost is sent again, in part
				what = "repair"
				for i := first(b); i != none; i = b.tx.at(i).next {
					r := b.tx.at(i)
					if r.flags&(lost|resent) != lost {
						continue
					}
					if k := uint32(1 + rng.IntN(200)); k < r.len() {
						b.cut(i, r.seq.Add(k))
						r = b.tx.at(i)
					}
					b.markSent(i, now, lost|resent|again)
					for k := r.seq; k != r.end; k++ {
						n.flags[k-base], n.sent[k-base] = lost|resent|again, now
					}
					break
				}
			}
			if err := checkBoard(c); err != nil && n.nxt > n.una {
				t.Fatalf("seed %d step %d: %s: %v", seed, step, what, err)
			}
			for i := range b.records() {
				r := &b.records()[i]
				for k := r.seq; k != r.end; k++ {
					if f := n.flags[k-base]; f != r.flags || f&sacked == 0 && n.sent[k-base] != r.sent {
						t.Fatalf("seed %d step %d: %s: byte %d has flags %b of %v, record %b of %v",
							seed, step, what, k-base, f, n.sent[k-base], r.flags, r.sent)
					}
				}
			}
			pipe := uint32(n.nxt-n.una) - n.sum(sacked) - n.sum(lost) + n.sum(resent)
			if got := c.flight(); got != pipe {
				t.Fatalf("seed %d step %d: %s: pipe %d, want %d", seed, step, what, got, pipe)
			}
		}
	}
}

// Hostile blocks make no more records than are allowed, and what follows still
// counts where it can.
func TestScoreboardBounded(t *testing.T) {
	s := sendingSACK(t, 1)
	c := s.c
	c.cc.cwnd, c.snd.wnd = 1<<20, 1<<20
	s.write(1 << 19)
	s.flush()
	for i := range 100_000 {
		s.opts.SACKCount = 1
		at := c.snd.una.Add(uint32(2 + 2*i))
		s.opts.SACK[0] = wire.SACKBlock{Start: at, End: at.Add(1)}
		s.in(1, 1, wire.ACK, nil)
		if n := c.board.tx.count; n > maxRecords+1 {
			t.Fatalf("%d records", n)
		}
		if n, segments := c.board.tx.count, uint32(c.snd.nxt-c.snd.una)/c.snd.mss; n > spareRecords+2*int(segments)+1 {
			t.Fatalf("%d records of %d segments", n, segments)
		}
		if c.snd.nxt.Sub(at) < 10 {
			break
		}
	}
	// Records that were split before are still marked.
	before := c.board.sacked
	s.opts.SACK[0] = wire.SACKBlock{Start: c.snd.una.Add(2), End: c.snd.nxt}
	s.in(1, 1, wire.ACK, nil)
	if len(c.board.records()) != 2 || c.board.sacked <= before || c.board.records()[1].end != c.snd.nxt {
		t.Errorf("%d records, %d bytes SACKed", len(c.board.records()), c.board.sacked)
	}
	s.opts.SACKCount = 0
	s.flush()
}

// Tiny writes don't make more records than are allowed either.
func TestScoreboardTinyWrites(t *testing.T) {
	s := sendingSACK(t, 1)
	s.c.cc.cwnd = 1 << 20
	for range 3 * fullRecords {
		s.now++
		s.write(1)
		s.flush()
	}
	if n := s.c.board.tx.count; n > maxRecords {
		t.Errorf("%d records", n)
	}
}

// With as many records as are allowed nothing new is sent until some are gone.
func TestScoreboardFull(t *testing.T) {
	s := sendingOver(t, 1, 1, false)
	c := s.c
	s.write(1 << 19)
	for sent := 0; c.board.tx.count < fullRecords; sent++ {
		// What peers do on purpose: a gap behind each segment.
		if sent > 2*fullRecords {
			t.Fatalf("%d records", len(c.board.records()))
		}
		s.now++
		c.track(s.now, c.snd.nxt, c.snd.nxt.Add(1), uint8(sent&1)*again)
		c.snd.nxt++
		c.snd.max = c.snd.nxt
	}
	c.cc.cwnd = 1 << 20
	c.touch()
	s.expect("full", s.flush())
	if len(s.sack(1)) == 0 {
		t.Error("nothing is sent with room for more records")
	}
}

// Memory goes back when it is not needed, and is used again.
func TestScoreboardMemory(t *testing.T) {
	s := sendingOver(t, 2, 2, false)
	s.sack(2)
	if s.c.board.tx != nil || len(s.sh.spareBoards) != 1 {
		t.Errorf("%d lists spare, list %v", len(s.sh.spareBoards), s.c.board.tx)
	}
	s.write(100)
	s.flush()
	if len(s.sh.spareBoards) != 0 {
		t.Error("a list was made though there was one")
	}
	s.c.Abort(s.now)
	if s.c.board.tx != nil || len(s.sh.spareBoards) != 1 {
		t.Errorf("after the end %d lists spare", len(s.sh.spareBoards))
	}
}

// The peer acknowledges up to what it had SACKed, but not that: it has dropped it,
// and gets it again (RFC 2018 section 8).
func TestScoreboardReneging(t *testing.T) {
	s := sendingOver(t, 5, 5, false)
	s.sack(1, 2, 3)
	if s.c.board.sacked != testMSS {
		t.Fatalf("%+v", s.c.board)
	}
	s.sack(2)
	s.c.timers.stop(timerLoss)
	s.c.tlp.open = true
	for s.sh.Stats.Timeouts == 0 {
		s.advance(steadyRTO)
	}
	if s.sh.Recovery.PeerReneged != 1 || s.c.board.sacked != 0 {
		t.Errorf("%+v, %+v", s.sh.Recovery, s.c.board)
	}
	for n := 3; n <= 5; n++ {
		s.advance(testRTT)
		s.sack(n)
	}
	if s.c.board.tx != nil {
		t.Errorf("%+v", s.c.board)
	}
}
