package tcp

import (
	"testing"
	"time"

	"github.com/zctap/zctap/internal/mono"
	"github.com/zctap/zctap/internal/wire"
)

// late makes a connection without SACK whose window of ten segments was not acknowledged
// in time, with more to send: its oldest segment was sent again.
func late(t *testing.T) *script {
	s := sending(t, 10)
	s.expect("timeout", s.advance(steadyRTO), seg(at(0), 1, wire.ACK, testMSS))
	return s
}

func (s *script) undone(want uint64) {
	s.t.Helper()
	if got := s.sh.Recovery.Undone; got != want {
		s.t.Fatalf("undone %d times, want %d; cwnd %d, %+v", got, want, s.c.cc.cwnd, s.sh.Stats)
	}
}

// RFC 5682 section 2.1: the second ACK after the timeout covers what was sent once.
func TestFRTO(t *testing.T) {
	s := late(t)
	s.expect("step 2.b: new data", s.inOut(1, at(1), wire.ACK, nil), seg(at(10), 1, wire.ACK, 2*testMSS))
	s.undone(0)
	out := s.inOut(1, at(2), wire.ACK, nil)
	s.undone(1)
	if s.c.cc.cwnd < 10*testMSS || s.c.cc.ssthresh != maxCwnd || s.c.loss.timedOut {
		t.Errorf("cwnd %d, ssthresh %d", s.c.cc.cwnd, s.c.cc.ssthresh)
	}
	if len(out) == 0 || out[0].Seq != s.c.snd.iss.Add(uint32(at(12))) {
		t.Errorf("nothing new was sent: %v", out)
	}
	s.inOut(1, int(s.c.snd.max-s.c.snd.iss), wire.ACK, nil)
	if s.sh.Stats.Retransmits != 1 || s.sh.Stats.Timeouts != 1 {
		t.Errorf("%+v", s.sh.Stats)
	}
}

// What arrives in one batch needs no new data between.
func TestFRTOInOneBatch(t *testing.T) {
	s := late(t)
	s.in(1, at(1), wire.ACK, nil)
	s.in(1, at(2), wire.ACK, nil)
	out := s.flush()
	s.undone(1)
	if len(out) == 0 || out[0].Seq != s.c.snd.iss.Add(uint32(at(10))) {
		t.Errorf("came out: %v", out)
	}
}

// The timer may expire more than once before anything is heard.
func TestFRTOAfterTwoTimeouts(t *testing.T) {
	s := late(t)
	s.expect("again", s.advance(2*steadyRTO), seg(at(0), 1, wire.ACK, testMSS))
	s.inOut(1, at(1), wire.ACK, nil)
	s.inOut(1, at(2), wire.ACK, nil)
	s.undone(1)
	if s.c.cc.cwnd < 10*testMSS {
		t.Errorf("cwnd %d", s.c.cc.cwnd)
	}
}

// Step 3.a: the new data arrived behind a gap.
func TestFRTOLoss(t *testing.T) {
	s := late(t)
	s.inOut(1, at(1), wire.ACK, nil)
	s.expect("step 3.a: all of it again", s.inOut(1, at(1), wire.ACK, nil), seg(at(1), 1, wire.ACK, 2*testMSS))
	s.inOut(1, at(1), wire.ACK, nil)
	s.inOut(1, at(3), wire.ACK, nil)
	s.inOut(1, at(10), wire.ACK, nil)
	if !s.c.loss.timedOut {
		t.Error("repaired, though the new data is sent again, too")
	}
	s.inOut(1, at(12), wire.ACK, nil)
	s.undone(0)
	if s.sh.Stats.FastRetransmits != 0 || s.c.cc.ssthresh != 5*testMSS {
		t.Errorf("ssthresh %d, %+v", s.c.cc.ssthresh, s.sh.Stats)
	}
}

// A first ACK of many segments lets the window grow; step 3.a bounds it.
func TestFRTOLossOfMany(t *testing.T) {
	s := late(t)
	s.expect("new data", s.inOut(1, at(5), wire.ACK, nil), seg(at(10), 1, wire.ACK, 2*testMSS))
	s.expect("what is left", s.inOut(1, at(5), wire.ACK, nil), seg(at(5), 1, wire.ACK, 3*testMSS))
	s.undone(0)
}

// Where F-RTO cannot tell, everything is sent again as ever (steps 1 and 2.a).
func TestFRTOConventional(t *testing.T) {
	for _, tt := range []struct {
		name string
		play func(s *script)
	}{
		{"the first ACK is a duplicate", func(s *script) {
			s.expect("duplicate", s.inOut(1, at(0), wire.ACK, nil)) // limited transmit is of new data
			s.expect("progress", s.inOut(1, at(1), wire.ACK, nil), seg(at(1), 1, wire.ACK, 2*testMSS))
		}},
		{"of a part of the segment", func(s *script) {
			s.expect("a part", s.inOut(1, at(0)+100, wire.ACK, nil)) // cwnd holds no full segment more
		}},
		{"no new data in the peer's window", func(s *script) {
			s.wnd = 9 * testMSS
			s.expect("progress", s.inOut(1, at(1), wire.ACK, nil), seg(at(1), 1, wire.ACK, 2*testMSS))
		}},
		{"the timer expires while the new data is under way", func(s *script) {
			s.expect("new data", s.inOut(1, at(1), wire.ACK, nil), seg(at(10), 1, wire.ACK, 2*testMSS))
			s.expect("timeout", s.advance(2*steadyRTO), seg(at(1), 1, wire.ACK, testMSS))
			s.expect("progress", s.inOut(1, at(2), wire.ACK, nil), seg(at(2), 1, wire.ACK, 2*testMSS))
		}},
		{"what is under way was sent twice", func(s *script) {
			s.inOut(1, at(10), wire.ACK, nil)
			s.icmp(at(10), tooBig(1040))
			s.flush()
			s.advance(2 * s.c.rtt.timeout())
			s.inOut(1, at(10)+1000, wire.ACK, nil)
			s.inOut(1, at(10)+2000, wire.ACK, nil)
		}},
		{"all is acknowledged", func(s *script) {
			s.expect("progress", s.inOut(1, at(10), wire.ACK, nil), seg(at(10), 1, wire.ACK, 6*testMSS))
		}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			s := late(t)
			tt.play(s)
			s.inOut(1, int(s.c.snd.nxt-s.c.snd.iss), wire.ACK, nil)
			s.undone(0)
		})
	}
}

// RFC 5682 section 3.1: with SACK, what is sent new decides. If only that arrives the loss was
// one, whatever of the rest arrives later; if something does that was sent once it was none, and RACK
// goes by when that was sent.
func TestFRTOSelective(t *testing.T) {
	timedOut := func() (s *script, sent mono.Time) {
		s = sendingOver(t, 5, 10, false)
		sent = s.now
		s.c.tlp.open = true // no probe
		s.expect("timeout", s.advance(time.Second), seg(1, 1, wire.ACK, testMSS))
		return s, sent
	}
	s, _ := timedOut()
	s.expect("new data", s.sack(1), seg(s.at(5), 1, wire.ACK, 2*testMSS))
	s.advance(testRTT)
	s.sack(1, 5, 7)
	s.sack(1, 4, 7)
	s.undone(0)

	s, sent := timedOut()
	s.sack(1, 4, 5)
	s.undone(1)
	if r := &s.c.rack; r.xmit != sent || r.rtt != s.now.Sub(sent) {
		t.Errorf("RACK has a round trip of %v, want %v", r.rtt, s.now.Sub(sent))
	}
}
