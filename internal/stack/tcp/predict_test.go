package tcp

import (
	"math/rand/v2"
	"reflect"
	"testing"
	"time"

	"github.com/zctap/zctap/internal/wire"
)

// TestPredictionChangesNothing has two connections get the same segments and calls, one
// of which predicts nothing, and sends its ACKs as it does all else: they send, pass up and remember the same.
func TestPredictionChangesNothing(t *testing.T) {
	predicted := 0
	for seed := range uint64(200) {
		change := func(s *script) {
			s.opts.HasTimestamps, s.opts.SACKPermitted, s.opts.HasWindowScale = seed%2 == 0, seed%4 < 2, seed%8 < 4
			s.opts.TSVal = 100
		}
		a, b := established(t, change), established(t, change)
		a.sendAcks() // which those that are predicted are made for
		a.c.SetDSCP(uint8(seed % 64))
		b.c.SetDSCP(uint8(seed % 64))
		r := rand.New(rand.NewPCG(seed, 0))
		next, acked, written := 1, 1, 0 // of the peer's stream, and of ours
		for step := range 100 {
			seq, n, ack, flags := next, 1+r.IntN(2000), acked, wire.ACK
			skip := time.Duration(r.IntN(3)) * 10 * time.Millisecond
			ts, wnd, what := uint32(100+step), uint16(60000), r.IntN(30)
			switch what {
			case 0:
				seq += 1000
			case 1:
				seq = max(1, seq-500)
			case 2:
				ts = 50
			case 3:
				n = 0
			case 4:
				wnd = 0
			case 5:
				acked = written + 1
				ack = acked
			case 6:
				ack += 10_000
			case 7, 8, 9:
				flags |= wire.PSH
			case 10:
				n = 300_000
			}
			size := 0
			if what == 11 {
				size = 1 + r.IntN(3000)
				written += size
			}
			var got [2][]sent
			var read [2][]byte
			for i, s := range []*script{a, b} {
				s.wnd = wnd
				if s.opts.HasTimestamps {
					s.opts.TSVal = ts
				}
				if size > 0 {
					s.write(size)
				}
				g := s.segment(seq, ack, flags, stream(seq, n))
				if i == 1 {
					s.c.calm = false
				} else if s.c.calm && g.Len > 0 && g.Len <= int(s.c.offered()) && s.c.predicted(g.TCP) {
					predicted++
				}
				s.c.Input(s.now, g)
				got[i] = s.flush()
				got[i] = append(got[i], s.advance(skip)...)
				if what != 12 {
					read[i] = s.received()
				}
			}
			if nxt := int(a.c.rcv.nxt - a.irs); nxt > next {
				next = nxt
			}
			if !reflect.DeepEqual(got[0], got[1]) || string(read[0]) != string(read[1]) {
				t.Fatalf("seed %d, step %d (%d): sent %+v, without prediction %+v; %d and %d bytes", seed, step, what, got[0], got[1], len(read[0]), len(read[1]))
			}
			x, y := a.c, b.c
			if x.snd != y.snd || x.rcv != y.rcv || x.opt != y.opt || x.acks != y.acks || x.timers != y.timers || x.keep != y.keep || x.loss != y.loss || x.ecn != y.ecn {
				t.Fatalf("seed %d, step %d (%d): they differ:\n%+v\n%+v", seed, step, what, *x, *y)
			}
			if a.sh.Stats != b.sh.Stats {
				t.Fatalf("seed %d, step %d (%d): %+v, without prediction %+v", seed, step, what, a.sh.Stats, b.sh.Stats)
			}
		}
	}
	if predicted < 1000 {
		t.Errorf("%d segments predicted, too few for a test", predicted)
	}
}

// TestCalm: a connection that only receives is calm, and whatever else concerns it ends that.
func TestCalm(t *testing.T) {
	for _, c := range []struct {
		name string
		f    func(s *script)
	}{
		{"nothing", func(*script) {}},
		{"more payload", func(s *script) { s.inOut(101, 1, wire.ACK, make([]byte, 100)) }},
		{"a gap", func(s *script) { s.inOut(200, 1, wire.ACK, make([]byte, 100)) }},
		{"a FIN", func(s *script) { s.inOut(101, 1, wire.ACK|wire.FIN, nil) }},
		{"a write", func(s *script) { s.write(10); s.flush() }},
		{"a write that is not acknowledged", func(s *script) { s.write(10); s.flush(); s.inOut(101, 1, wire.ACK, make([]byte, 100)) }},
		{"an end", func(s *script) { s.c.CloseWrite(s.now); s.flush() }},
	} {
		s := established(t, nil)
		s.inOut(1, 1, wire.ACK, make([]byte, 100))
		if !s.c.calm {
			t.Fatal("not calm behind payload")
		}
		c.f(s)
		if want := c.name == "nothing" || c.name == "more payload"; s.c.calm != want {
			t.Errorf("behind %s: calm is %v", c.name, s.c.calm)
		}
	}
}

// A segment that is predicted but for what it reports is not: something that had been sent again
// came twice, and all of it has arrived.
func TestReportIsNotPredicted(t *testing.T) {
	s := established(t, withSACK)
	s.write(testMSS)
	s.flush()
	s.inOut(1, 1+testMSS, wire.ACK, nil)
	s.inOut(1, 1+testMSS, wire.ACK, stream(0, 10))
	if !s.c.calm {
		t.Fatal("it is not calm")
	}
	g := s.segment(11, 1+testMSS, wire.ACK, stream(10, 10))
	g.TCP.Options.SACKCount = 1
	g.TCP.Options.SACK[0] = wire.SACKBlock{Start: s.c.snd.iss.Add(1), End: s.c.snd.una}
	s.c.Input(s.now, g)
	s.flush()
	if n := s.sh.Recovery.DuplicatesReported; n != 1 {
		t.Errorf("%d duplicates reported", n)
	}
	s.received()
}

// Of segments put together the last one tells the window: what comes of an earlier one later is
// old (RFC 9293 section 3.10.7.4).
func TestMergedSegmentsTellWindow(t *testing.T) {
	for _, calm := range []bool{true, false} {
		s := established(t, nil)
		if s.flush(); calm != s.c.calm {
			s.c.calm = calm
		}
		g := s.segment(1, 1, wire.ACK, stream(0, 200))
		g.Count = 2
		s.c.Input(s.now, g)
		s.flush()
		s.wnd = 1000
		s.in(1, 1, wire.ACK, stream(0, 250))
		s.flush()
		if s.c.snd.wnd != 60000 || s.c.rcv.total != 250 {
			t.Errorf("calm %v: a window of %d, %d bytes received", calm, s.c.snd.wnd, s.c.rcv.total)
		}
		s.received()
	}
}
