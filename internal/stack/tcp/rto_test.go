package tcp

import (
	"slices"
	"syscall"
	"testing"
	"time"

	"github.com/zctap/zctap/internal/wire"
)

const ms = time.Millisecond

// steadyRTO is the timeout where each segment is acknowledged at once: a round trip counts as a
// nanosecond at least.
const steadyRTO = minRTO + 1

// RFC 6298 section 2.
func TestEstimator(t *testing.T) {
	for _, tt := range []struct {
		name              string
		samples           []time.Duration
		srtt, rttvar, rto time.Duration
	}{
		{"none", nil, 0, 0, time.Second},
		{"first", []time.Duration{400 * ms}, 400 * ms, 200 * ms, 1200 * ms},
		{"second, the same", []time.Duration{400 * ms, 400 * ms}, 400 * ms, 150 * ms, time.Second},
		{"second, more", []time.Duration{400 * ms, 800 * ms}, 450 * ms, 250 * ms, 1450 * ms},
		{"second, less", []time.Duration{400 * ms, 0}, 350 * ms, 250 * ms, 1350 * ms},
		{"minimum", []time.Duration{ms, ms, ms}, ms, 281250, 201 * ms},
		{"steady, and long", slices.Repeat([]time.Duration{300 * ms}, 60), 300 * ms, 0, 500 * ms},
		{"maximum", []time.Duration{time.Hour}, time.Hour, 30 * time.Minute, maxRTO},
	} {
		t.Run(tt.name, func(t *testing.T) {
			var r rttEstimator
			r.init()
			for _, d := range tt.samples {
				r.sample(d)
			}
			near := func(what string, got, want time.Duration) {
				if (got - want).Abs() > 10 {
					t.Errorf("%s %v, want %v", what, got, want)
				}
			}
			near("SRTT", r.srtt, tt.srtt)
			near("RTTVAR", r.rttvar, tt.rttvar)
			near("RTO", r.timeout(), tt.rto)
		})
	}
}

func TestBackoff(t *testing.T) {
	s := established(t, nil)
	s.write(100)
	s.flush()
	for wait := steadyRTO; wait < maxRTO; wait *= 2 {
		s.expect("too early", s.advance(wait-1))
		s.expect("again", s.advance(1), seg(1, 1, wire.ACK, 100))
	}
	s.expect("at the maximum", s.advance(maxRTO), seg(1, 1, wire.ACK, 100))
}

// RFC 9293 section 3.8.3, R2.
func TestGiveUp(t *testing.T) {
	s := established(t, nil)
	s.inOut(1, 1, wire.ACK|wire.PSH, []byte("abc"))
	s.write(100)
	s.flush()
	start := s.now
	for s.c.state != Closed {
		s.advance(time.Second)
		if s.now.Sub(start) > time.Hour {
			t.Fatal("never given up")
		}
	}
	// RFC 9293 section 3.9.1.1, OPEN: "the present global default is five minutes".
	if d := s.now.Sub(start); d < 5*time.Minute || d > 7*time.Minute {
		t.Errorf("given up after %v", d)
	}
	s.closed()
	if got := s.received(); string(got) != "abc" {
		t.Errorf("received %q before the end", got)
	}
	if err := s.recvErr(); err != syscall.ETIMEDOUT {
		t.Error(err)
	}
	if _, err := s.c.Send.TryWrite([]byte("x")); err != syscall.ETIMEDOUT {
		t.Error(err)
	}
	if s.sh.Stats.TimedOut != 1 {
		t.Errorf("%+v", s.sh.Stats)
	}
}

// Progress restarts the clock of giving up.
func TestNoGiveUpWithProgress(t *testing.T) {
	s := established(t, nil)
	s.write(1000)
	s.flush()
	for i := range 20 {
		s.advance(time.Minute)
		s.inOut(1, 2+i, wire.ACK, nil)
	}
	s.state(Established)
}

// The clock of giving up does not begin with the handshake: what is written first, long
// after it, is sent again as often as anything.
func TestNoGiveUpAfterIdleness(t *testing.T) {
	s := established(t, nil)
	s.advance(2 * DefaultUserTimeout)
	s.write(100)
	s.flush()
	for wait := handshakeRTO; wait < maxRTO; wait *= 2 {
		s.advance(wait)
	}
	s.state(Established)
	s.advance(2 * DefaultUserTimeout)
	s.state(Closed)
}

// RFC 6298 section 5: the timer runs from the last ACK of something new, and not
// when nothing is under way.
func TestTimerRestart(t *testing.T) {
	s := established(t, nil)
	s.write(200)
	s.flush()
	s.advance(steadyRTO - 1)
	s.inOut(1, 101, wire.ACK, nil)
	s.expect("restarted", s.advance(steadyRTO-1))
	s.expect("expired", s.advance(10 * time.Second)[:1], seg(101, 1, wire.ACK, 100))
	s.inOut(1, 201, wire.ACK, nil)
	if s.c.timers.armed(timerRetransmit) {
		t.Error("timer runs with nothing under way")
	}
}

// Karn's algorithm: no sample from what was sent twice, unless timestamps tell
// which copy arrived (RFC 7323 section 4).
func TestKarn(t *testing.T) {
	for _, timestamps := range []bool{false, true} {
		s := established(t, func(s *script) {
			s.opts.HasTimestamps, s.opts.TSVal = timestamps, 1
		})
		s.advance(time.Second)
		srtt := s.c.rtt.srtt
		s.write(100)
		first := s.flush()
		s.expect("again", s.advance(steadyRTO), seg(1, 1, wire.ACK, 100))
		s.advance(50 * ms)
		s.opts.TSEcr = first[0].Options.TSVal
		s.inOut(1, 101, wire.ACK, nil)
		if sampled := s.c.rtt.srtt != srtt; sampled != timestamps {
			t.Errorf("timestamps %v: srtt was %v, is %v", timestamps, srtt, s.c.rtt.srtt)
		}
		if backoff := s.c.rtt.backoff; (backoff == 0) != timestamps {
			t.Errorf("timestamps %v: backoff %d", timestamps, backoff)
		}
		// The next segment, sent once, ends the backoff.
		s.write(100)
		s.flush()
		s.advance(50 * ms)
		s.inOut(1, 201, wire.ACK, nil)
		if s.c.rtt.backoff != 0 {
			t.Errorf("timestamps %v: backoff %d after a sample", timestamps, s.c.rtt.backoff)
		}
	}
}

// After a timeout everything is sent again, in slow start, but for what ACKs
// cover.
func TestGoBackN(t *testing.T) {
	s := established(t, nil)
	s.write(10 * testMSS)
	s.flush()
	s.expect("one segment", s.advance(steadyRTO), seg(1, 1, wire.ACK, testMSS))
	if s.c.cc.ssthresh != 5*testMSS || s.c.cc.cwnd != testMSS {
		t.Errorf("cwnd %d, ssthresh %d", s.c.cc.cwnd, s.c.cc.ssthresh)
	}
	s.expect("two", s.inOut(1, 1+testMSS, wire.ACK, nil), seg(1+testMSS, 1, wire.ACK, 2*testMSS))
	// The rest had arrived.
	s.expect("nothing", s.inOut(1, 1+10*testMSS, wire.ACK, nil))
	if s.sh.Stats.Retransmits != 3 || s.sh.Stats.Timeouts != 1 {
		t.Errorf("%+v", s.sh.Stats)
	}
}

// RFC 5681 section 3.1: the threshold is not lowered again for a retransmission
// that was lost.
func TestThresholdOnce(t *testing.T) {
	s := established(t, nil)
	s.write(10 * testMSS)
	s.flush()
	s.advance(5 * time.Second)
	if s.c.cc.ssthresh != 5*testMSS {
		t.Errorf("ssthresh %d after %d timeouts", s.c.cc.ssthresh, s.sh.Stats.Timeouts)
	}
}

// An ACK yields one sample, with SACK and timestamps, too: the timed segment's, or else that of what
// was sent only once, to the nanosecond, or else that of the echo.
func TestOneSample(t *testing.T) {
	for _, tt := range []struct {
		name  string
		timed bool
		again bool
		want  time.Duration
	}{
		{"timed", true, false, 700 * time.Microsecond},
		{"not timed", false, false, 300 * time.Microsecond},
		{"sent again, by the echo", false, true, time.Millisecond},
	} {
		t.Run(tt.name, func(t *testing.T) {
			s := sendingOver(t, 2, 2, true)
			s.now = (s.now/1e6+1)*1e6 - 1
			echo := s.c.timestamp(s.now)
			s.now++ // the timestamp clock ticks
			b := s.c.board.tx
			b.at(b.first()).sent = s.now.Add(-300 * time.Microsecond)
			if tt.again {
				b.at(b.first()).flags |= again
			}
			s.c.rtt.timing, s.c.rtt.since = tt.timed, s.now.Add(-700*time.Microsecond)
			s.c.rtt.srtt = 0
			s.opts.TSEcr = echo
			s.in(1, s.at(2), wire.ACK, nil)
			if r := s.c.rtt; r.srtt != tt.want || r.rttvar != tt.want/2 {
				t.Errorf("%v and %v, want a sample of %v", r.srtt, r.rttvar, tt.want)
			}
			s.flush()
		})
	}
}
