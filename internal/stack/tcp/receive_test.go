package tcp

import (
	"testing"
	"time"

	"github.com/zctap/zctap/internal/mono"
	"github.com/zctap/zctap/internal/wire"
)

// A piece is a segment of the peer that holds text at a place in the stream.
type piece struct {
	at   int
	text string
}

// RFC 9293 section 3.10.7.4, seventh step, and our own rule for data that
// contradicts itself: the byte that came first wins.
func TestReassembly(t *testing.T) {
	for _, tt := range []struct {
		name   string
		pieces []piece
		want   string
		held   int // frags out of order at the end
	}{
		{"in order", []piece{{0, "abc"}, {3, "def"}}, "abcdef", 0},
		{"again", []piece{{0, "abc"}, {0, "xyz"}}, "abc", 0},
		{"overlap on the left", []piece{{0, "abc"}, {1, "##def"}}, "abcdef", 0},
		{"gap", []piece{{3, "def"}}, "", 1},
		{"gap filled", []piece{{3, "def"}, {0, "abc"}}, "abcdef", 0},
		{"gap filled exactly, then more", []piece{{3, "def"}, {0, "abc"}, {6, "g"}}, "abcdefg", 0},
		{"gap filled in part", []piece{{3, "def"}, {0, "ab"}}, "ab", 1},
		{"gap filled by too much", []piece{{3, "def"}, {0, "abc###"}}, "abcdef", 0},
		{"gap filled by more than is held", []piece{{3, "def"}, {0, "abc###ghi"}}, "abcdefghi", 0},
		{"two gaps, one segment over both", []piece{{2, "cd"}, {6, "gh"}, {0, "ab##ef##ij"}}, "abcdefghij", 0},
		{"backwards", []piece{{4, "e"}, {3, "d"}, {2, "c"}, {1, "b"}, {0, "a"}}, "abcde", 0},
		{"held overlaps on the left", []piece{{2, "cde"}, {1, "b##"}, {0, "a"}}, "abcde", 0},
		{"held overlaps on the right", []piece{{2, "cde"}, {4, "#fgh#"}, {0, "ab"}}, "abcdefgh#", 0},
		{"held again", []piece{{2, "cde"}, {2, "###"}, {0, "ab"}}, "abcde", 0},
		{"held within", []piece{{2, "cde"}, {3, "#"}, {0, "ab"}}, "abcde", 0},
		{"held around", []piece{{3, "d"}, {2, "c#e"}, {0, "ab"}}, "abcde", 0},
		{"held around two", []piece{{3, "d"}, {5, "f"}, {2, "c#e#g"}, {0, "ab"}}, "abcdefg", 0},
		{"held joins", []piece{{2, "c"}, {4, "e"}, {3, "d"}, {0, "ab"}}, "abcde", 0},
	} {
		t.Run(tt.name, func(t *testing.T) {
			for size := 1; size <= 4; size++ { // bytes of a frag
				s := established(t, nil)
				for _, p := range tt.pieces {
					f := frags(t, s.pool, []byte(p.text), size)
					seg := s.segment(1+p.at, 1, wire.ACK, nil)
					seg.Frags, seg.Len = f, len(p.text)
					s.c.Input(s.now, seg)
					if err := checkConn(s.c); err != nil {
						t.Fatal(err)
					}
				}
				s.flush()
				if got := s.received(); string(got) != tt.want {
					t.Errorf("frags of %d: received %q, want %q", size, got, tt.want)
				}
				if size == 4 && len(s.c.ooo.list) != tt.held {
					t.Errorf("%d frags held, want %d", len(s.c.ooo.list), tt.held)
				}
				s.end()
				s.c = nil
			}
		})
	}
}

func TestPayloadStaysInPlace(t *testing.T) {
	s := established(t, nil)
	seg := s.segment(1, 1, wire.ACK, stream(0, 10000))
	first := seg.Frags[0]
	s.c.Input(s.now, seg)
	late := s.segment(1+12000, 1, wire.ACK, stream(12000, 100))
	held := late.Frags[0]
	s.c.Input(s.now, late)
	s.c.Input(s.now, s.segment(1+10000, 1, wire.ACK, stream(10000, 2000)))
	s.flush()
	if s.c.Held() != 5 {
		t.Errorf("%d buffers charged, want 5", s.c.Held())
	}
	if n := s.sh.Stats.ZeroCopyBytes; n != 12100 || s.sh.Stats.CopiedBytes != 0 {
		t.Errorf("%d bytes zero-copy, %d copied", n, s.sh.Stats.CopiedBytes)
	}
	q := s.c.Recv
	if q.Frags() != 5 || first.Buffer() == held.Buffer() {
		t.Errorf("%d frags queued", q.Frags())
	}
	if got := s.received(); string(got) != string(stream(0, 12100)) {
		t.Error("wrong bytes")
	}
	if s.c.Held() != 0 {
		t.Errorf("%d buffers charged after they were returned", s.c.Held())
	}
}

func TestNothingBeyondTheWindow(t *testing.T) {
	s := newScript(t, 1024, func(c *Config) { c.MaxRecvWindow = 1000 })
	s.establish()
	edge := int(s.c.rcv.adv.Sub(s.irs)) // relative
	out := s.inOut(1, 1, wire.ACK, stream(0, 1400))
	if got := s.received(); len(got) != edge-1 || string(got) != string(stream(0, edge-1)) {
		t.Errorf("received %d bytes, window was %d", len(got), edge-1)
	}
	if s.sh.Stats.Drops.BeyondWindow != 1 || len(out) != 1 {
		t.Errorf("%+v, came out %v", s.sh.Stats.Drops, out)
	}
	s.window()
	// Out of order, reaching over the edge, with a FIN there: both are cut off.
	edge = int(s.c.rcv.adv.Sub(s.irs))
	s.inOut(edge-10, 1, wire.ACK|wire.FIN, make([]byte, 50))
	if end := int(s.c.ooo.end().Sub(s.irs)); end != edge || s.c.rcv.finSeen {
		t.Errorf("held up to %d, window ends at %d, FIN taken: %v", end, edge, s.c.rcv.finSeen)
	}
}

func TestOutOfOrderBounds(t *testing.T) {
	t.Run("frags", func(t *testing.T) {
		s := newScript(t, 16384, nil)
		s.establish()
		for i := range maxHeldFrags + 10 {
			s.in(10+i, 1, wire.ACK, []byte{1})
		}
		if n := len(s.c.ooo.list); n != maxHeldFrags || s.sh.Stats.Drops.OutOfOrderFull != 10 {
			t.Errorf("%d frags held, %d refused", n, s.sh.Stats.Drops.OutOfOrderFull)
		}
	})
	t.Run("ranges", func(t *testing.T) {
		s := newScript(t, 16384, nil)
		s.establish()
		for i := range maxHeldRanges + 10 {
			s.in(10+2*i, 1, wire.ACK, []byte{1})
		}
		if s.c.ooo.ranges != maxHeldRanges || s.sh.Stats.Drops.OutOfOrderFull != 10 {
			t.Errorf("%d ranges held, %d refused", s.c.ooo.ranges, s.sh.Stats.Drops.OutOfOrderFull)
		}
		// What fills the gap is taken all the same.
		s.inOut(1, 1, wire.ACK, make([]byte, 9))
		if got := len(s.received()); got != 10 {
			t.Errorf("received %d bytes, want 10", got)
		}
	})
	t.Run("buffers", func(t *testing.T) {
		s := newScript(t, 64, nil)
		s.establish()
		var others [58]uint16 // in the hands of others
		s.pool.Alloc(others[:])
		s.inOut(10, 1, wire.ACK, []byte("x"))
		if len(s.c.ooo.list) != 0 || s.sh.Stats.Drops.OutOfOrderFull != 1 {
			t.Errorf("%d frags held with %d buffers free", len(s.c.ooo.list), s.pool.Free())
		}
		for _, b := range others {
			s.pool.Put(b)
		}
	})
}

// Data held beyond a gap is given up when buffers are so short that what fills
// the gap might find none.
func TestRenege(t *testing.T) {
	s := newScript(t, 64, nil)
	s.establish()
	s.inOut(10, 1, wire.ACK, make([]byte, 1000))
	s.advance(holdInterval)
	if len(s.c.ooo.list) != 1 {
		t.Fatal("given up without need")
	}
	var others [60]uint16
	s.pool.Alloc(others[:])
	s.advance(holdInterval)
	if len(s.c.ooo.list) != 0 || s.c.Held() != 0 || s.sh.Stats.Reneged != 1 || s.c.timers.armed(timerHold) {
		t.Errorf("%d frags held, %+v", len(s.c.ooo.list), s.sh.Stats)
	}
	for _, b := range others {
		s.pool.Put(b)
	}
}

func TestQueuedFragsBound(t *testing.T) {
	s := established(t, nil)
	s.c.rcv.limit = 1 << 30
	for i := range maxQueuedFrags {
		s.in(1+i, 1, wire.ACK, []byte{1})
		s.flush()
	}
	s.expect("one too many", s.inOut(1+maxQueuedFrags, 1, wire.ACK, []byte{1}))
	if s.sh.Stats.Drops.QueueFull != 1 {
		t.Errorf("%+v", s.sh.Stats.Drops)
	}
}

// The sequence space wraps in the middle of everything.
func TestSequenceWrap(t *testing.T) {
	s := newScript(t, 1024, nil)
	s.irs = ^wire.Seq(0) - 3000
	s.now = wrapNow(s, testTuple)
	s.establish()
	s.inOut(1+2000, 1, wire.ACK, stream(2000, 2000)) // held across the wrap
	s.inOut(1+4500, 1, wire.ACK, stream(4500, 500))  // held behind it
	s.inOut(1, 1, wire.ACK, stream(0, 2000))
	s.inOut(1+3990, 1, wire.ACK, stream(3990, 600))
	if got := s.received(); string(got) != string(stream(0, 5000)) {
		t.Errorf("received %d bytes", len(got))
	}
	s.write(6000)
	s.expect("data across the wrap", s.flush(), seg(1, 5001, wire.ACK, 6000))
	s.inOut(5001, 5000, wire.ACK, nil)
	s.expect("the rest again", s.advance(steadyRTO), seg(5000, 5001, wire.ACK, 1001))
	s.inOut(5001, 6001, wire.ACK, nil)
	if s.c.Send.Buffered() != 0 {
		t.Errorf("%d bytes unacknowledged", s.c.Send.Buffered())
	}
}

func TestSimulationAcrossWrap(t *testing.T) {
	w := wireConfig{delay: 5 * time.Millisecond, loss: 0.05, reorder: 0.2, dup: 0.1}
	for seed := range uint64(4) {
		s := newSim(t, seed, w, 1024, nil)
		for _, e := range s.ends {
			e.toSend = 1 << 18
		}
		// The client's numbers wrap in its first 64 KiB, the server's by the
		// clock that both have.
		s.now = wrapNow(&script{sh: s.ends[0].sh, now: s.now}, testTuple)
		s.ends[0].sh.NextDirty()
		s.ends[0].c = Dial(s.ends[0].sh, s.now, testTuple, testMSS)
		if iss := s.ends[0].c.snd.iss; iss < ^wire.Seq(0)-1<<16 {
			t.Fatalf("ISS %d", iss)
		}
		s.run(time.Hour)
	}
}

// wrapNow is a time at which a connection of the tuple has an ISS just below the
// wrap.
func wrapNow(s *script, tu wire.Tuple) (at mono.Time) {
	c := newConn(s.sh, s.now, tu, testMSS)
	c.state = SynSent
	c.kill(nil)
	s.sh.NextDirty()
	iss := c.snd.iss
	return s.now + mono.Time(^wire.Seq(0)-4000-iss)*isnClock
}
