package tcp

import (
	"testing"

	"github.com/zctap/zctap/internal/wire"
)

// sending makes a connection with n segments in flight and more to send.
func sending(t *testing.T, n int) *script {
	s := established(t, nil)
	s.c.cc.cwnd = uint32(n * testMSS)
	s.write(40 * testMSS)
	s.expect("window", s.flush(), seg(1, 1, wire.ACK, n*testMSS))
	return s
}

func at(n int) int { return 1 + n*testMSS }

// RFC 3042: two duplicate ACKs let something new out, and no third, also when RFC 6582 has none
// of them begin a recovery.
func TestLimitedTransmitIsOfTwo(t *testing.T) {
	s := sending(t, 10)
	s.c.loss.recover = s.c.snd.una // as after a timeout
	s.expect("first", s.inOut(1, 1, wire.ACK, nil), seg(at(10), 1, wire.ACK, testMSS))
	s.expect("second", s.inOut(1, 1, wire.ACK, nil), seg(at(11), 1, wire.ACK, testMSS))
	s.expect("third", s.inOut(1, 1, wire.ACK, nil))
	s.expect("fourth", s.inOut(1, 1, wire.ACK, nil))
}

// RFC 5681 section 3.2, RFC 6582.
func TestFastRetransmit(t *testing.T) {
	s := sending(t, 10)
	s.expect("first duplicate: limited transmit", s.inOut(1, 1, wire.ACK, nil), seg(at(10), 1, wire.ACK, testMSS))
	s.expect("second", s.inOut(1, 1, wire.ACK, nil), seg(at(11), 1, wire.ACK, testMSS))
	s.expect("third: retransmission", s.inOut(1, 1, wire.ACK, nil), seg(1, 1, wire.ACK, testMSS))
	if s.c.cc.ssthresh != 6*testMSS || s.c.cc.cwnd != 9*testMSS {
		t.Errorf("cwnd %d, ssthresh %d segments", s.c.cc.cwnd/testMSS, s.c.cc.ssthresh/testMSS)
	}
	for range 3 {
		s.expect("inflation", s.inOut(1, 1, wire.ACK, nil))
	}
	s.expect("beyond what is in flight", s.inOut(1, 1, wire.ACK, nil), seg(at(12), 1, wire.ACK, testMSS))
	// The segments 0 and 5 were lost.
	s.expect("partial ACK", s.inOut(1, at(5), wire.ACK, nil),
		seg(at(5), 1, wire.ACK, testMSS), seg(at(13), 1, wire.ACK, testMSS))
	if s.c.cc.cwnd != 9*testMSS {
		t.Errorf("cwnd %d segments after a partial ACK of 5", s.c.cc.cwnd/testMSS)
	}
	s.in(1, at(12), wire.ACK, nil)
	if s.c.loss.active {
		t.Error("recovery goes on after a full ACK")
	}
	if s.c.cc.cwnd != 3*testMSS {
		t.Errorf("cwnd %d segments after recovery with two in flight", s.c.cc.cwnd/testMSS)
	}
	if s.sh.Stats.FastRetransmits != 1 || s.sh.Stats.Retransmits != 2 || s.sh.Stats.Timeouts != 0 {
		t.Errorf("%+v", s.sh.Stats)
	}
}

// What is no duplicate ACK in the sense of RFC 5681 section 2.
func TestNoDuplicateAck(t *testing.T) {
	for _, tt := range []struct {
		name string
		play func(s *script)
	}{
		{"with data", func(s *script) { s.inOut(1+int(s.c.rcv.nxt-s.irs)-1, 1, wire.ACK, stream(0, 10)) }},
		{"with another window", func(s *script) { s.wnd++; s.inOut(1, 1, wire.ACK, nil) }},
		{"of less", func(s *script) { s.inOut(1, 0, wire.ACK, nil) }},
	} {
		t.Run(tt.name, func(t *testing.T) {
			s := sending(t, 10)
			for range 10 {
				tt.play(s)
			}
			if s.sh.Stats.FastRetransmits != 0 || s.c.loss.dupAcks != 0 {
				t.Errorf("%d duplicates, %+v", s.c.loss.dupAcks, s.sh.Stats)
			}
		})
	}
	t.Run("nothing in flight", func(t *testing.T) {
		s := established(t, nil)
		for range 10 {
			s.inOut(1, 1, wire.ACK, nil)
		}
		if s.c.loss.dupAcks != 0 {
			t.Errorf("%d duplicates", s.c.loss.dupAcks)
		}
	})
}

// RFC 6582 section 3.2 step 3: only the first partial ACK restarts the timer.
func TestPartialAcksAndTimer(t *testing.T) {
	s := sending(t, 10)
	for range 3 {
		s.inOut(1, 1, wire.ACK, nil)
	}
	s.advance(steadyRTO / 2)
	s.inOut(1, at(1), wire.ACK, nil)
	end := s.c.timers[timerRetransmit]
	if end != s.now.Add(s.c.rtt.timeout()) {
		t.Error("not restarted by the first")
	}
	s.advance(steadyRTO / 4)
	s.inOut(1, at(2), wire.ACK, nil)
	if s.c.timers[timerRetransmit] != end {
		t.Error("restarted by the second")
	}
}

// RFC 6582 section 3.2 step 2 and 4: duplicates of what a timeout sent again are
// no loss.
func TestNoFastRetransmitAfterTimeout(t *testing.T) {
	s := sending(t, 10)
	s.advance(steadyRTO)
	for range 5 {
		s.inOut(1, 1, wire.ACK, nil)
	}
	s.inOut(1, at(3), wire.ACK, nil)
	for range 5 {
		s.inOut(1, at(3), wire.ACK, nil)
	}
	if s.sh.Stats.FastRetransmits != 0 {
		t.Errorf("%+v", s.sh.Stats)
	}
}

func TestTimeoutInRecovery(t *testing.T) {
	s := sending(t, 10)
	for range 3 {
		s.inOut(1, 1, wire.ACK, nil)
	}
	s.expect("retransmission lost too", s.advance(2 * steadyRTO)[:1], seg(1, 1, wire.ACK, testMSS))
	if s.c.loss.active || s.c.cc.cwnd != testMSS {
		t.Errorf("recovering %v, cwnd %d", s.c.loss.active, s.c.cc.cwnd)
	}
}

// Duplicate ACKs mean a loss also when gigabytes were sent since the last one: RFC 6582's
// recover must not seem to lie ahead.
func TestFastRetransmitAfterGigabytes(t *testing.T) {
	s := established(t, nil)
	for range 3 {
		// As if so much had been sent and acknowledged.
		for _, n := range []*wire.Seq{&s.c.snd.iss, &s.c.snd.una, &s.c.snd.nxt, &s.c.snd.max, &s.c.snd.wl2} {
			*n = n.Add(1 << 30)
		}
		s.write(testMSS)
		s.flush()
		s.inOut(1, int(s.c.snd.max-s.c.snd.iss), wire.ACK, nil)
	}
	s.write(10 * testMSS)
	s.flush()
	for range 3 {
		s.inOut(1, int(s.c.snd.una-s.c.snd.iss), wire.ACK, nil)
	}
	if s.sh.Stats.FastRetransmits != 1 {
		t.Errorf("%+v", s.sh.Stats)
	}
}
