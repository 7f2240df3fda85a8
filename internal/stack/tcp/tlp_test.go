package tcp

import (
	"testing"
	"time"

	"github.com/zctap/zctap/internal/wire"
)

// RFC 8985 section 7.2: two round trips after the last of a flight was sent.
func TestTailProbe(t *testing.T) {
	s := sendingOver(t, 5, 5, false)
	s.expect("too early", s.advance(2*testRTT-1))
	s.expect("the last segment again", s.advance(1), seg(s.at(4), 1, wire.ACK, testMSS))
	if s.c.cc.cwnd != 5*testMSS || s.sh.Stats.Timeouts != 0 || s.sh.Recovery.TailProbes != 1 {
		t.Errorf("cwnd %d, %+v", s.c.cc.cwnd, s.sh.Recovery)
	}
	// One probe, then the timer.
	rto := s.c.rtt.timeout()
	s.expect("no other", s.advance(rto-1))
	s.expect("timeout", s.advance(1), seg(1, 1, wire.ACK, testMSS))
}

// Each ACK of something new starts the time anew.
func TestTailProbeRestart(t *testing.T) {
	s := sendingOver(t, 5, 5, false)
	s.advance(2*testRTT - 1)
	s.sack(2)
	s.expect("restarted", s.advance(testRTT-1))
	if !s.c.tlp.timing {
		t.Error("no probe is waited for")
	}
	s.sack(5)
	if s.c.timers.armed(timerLoss) {
		t.Error("a probe is waited for, with nothing in flight")
	}
}

// Something new is the better probe, even beyond the congestion window.
func TestTailProbeNew(t *testing.T) {
	s := sendingOver(t, 5, 8, false)
	s.expect("new segment", s.advance(2*testRTT), seg(s.at(5), 1, wire.ACK, testMSS))
	s.advance(testRTT)
	s.sack(6)
	if s.c.tlp.open || s.sh.Recovery.TailLosses != 0 || s.c.cc.ssthresh != maxCwnd {
		t.Errorf("%+v", s.c.tlp)
	}
	// No probe follows a probe.
	s = sendingOver(t, 5, 8, false)
	s.advance(2 * testRTT)
	rto := s.c.rtt.timeout()
	s.expect("no other", s.advance(rto-1))
	s.advance(1)
	if s.sh.Stats.Timeouts != 1 || s.sh.Recovery.TailProbes != 1 {
		t.Errorf("%+v", s.sh.Recovery)
	}
	// Not beyond the peer's window.
	s = sendingOver(t, 5, 8, false)
	s.c.snd.wnd = 5 * testMSS
	s.expect("the last one", s.advance(2*testRTT), seg(s.at(4), 1, wire.ACK, testMSS))
}

// A single segment may wait for a delayed ACK.
func TestTailProbeSingle(t *testing.T) {
	s := sendingOver(t, 1, 1, false)
	if got := s.c.probeTimeout(); got != 2*testRTT+worstDelayedAck {
		t.Errorf("%v", got)
	}
	// But not longer than for the timeout, which the probe puts off.
	rto := s.c.rtt.timeout()
	s.expect("probe", s.advance(rto), seg(1, 1, wire.ACK, testMSS))
	if s.sh.Stats.Timeouts != 0 || s.sh.Recovery.TailProbes != 1 {
		t.Errorf("%+v", s.sh.Stats)
	}
	s.expect("nothing", s.advance(rto-1))
	s.expect("timeout", s.advance(1), seg(1, 1, wire.ACK, testMSS))
}

// The tail of a flight is lost: the probe's SACK tells, and no timeout is needed.
func TestTailProbeFindsLoss(t *testing.T) {
	s := sendingOver(t, 10, 10, false)
	s.advance(testRTT)
	s.sack(6)
	out := s.advance(3 * testRTT)
	s.expect("probe", out, seg(s.at(9), 1, wire.ACK, testMSS))
	out = s.sack(6, 9, 10)
	out = append(out, s.advance(testRTT)...)
	if len(out) == 0 || out[0].Seq != s.c.snd.una || !s.c.loss.active {
		t.Fatalf("%+v", out)
	}
	if s.sh.Stats.Timeouts != 0 {
		t.Errorf("%+v", s.sh.Stats)
	}
}

// Section 7.4: what became of a copy.
func TestTailProbeAnswers(t *testing.T) {
	probe := func(t *testing.T) *script {
		s := sendingOver(t, 5, 5, false)
		s.advance(2 * testRTT)
		s.advance(testRTT / 2)
		if !s.c.tlp.copied {
			t.Fatal("no probe")
		}
		return s
	}
	t.Run("lost", func(t *testing.T) {
		s := probe(t)
		s.sack(5) // of the copy, or of the original: not known yet
		if !s.c.tlp.open {
			t.Fatal("judged too early")
		}
		s.write(testMSS)
		s.flush()
		s.sack(6)
		if s.c.tlp.open || s.sh.Recovery.TailLosses != 1 || s.c.cc.ssthresh == maxCwnd || s.c.cc.cwnd > s.c.cc.ssthresh+testMSS {
			t.Errorf("%+v, ssthresh %d", s.c.tlp, s.c.cc.ssthresh)
		}
	})
	t.Run("lost, with a window under way", func(t *testing.T) {
		s := probe(t)
		s.sack(5)
		cwnd := s.c.cc.cwnd
		s.write(20 * testMSS)
		s.flush()
		s.sack(6)
		// Half of what was under way, of which the ACK's segment was a part.
		if s.sh.Recovery.TailLosses != 1 || s.c.cc.ssthresh != cwnd/2 {
			t.Errorf("%+v, ssthresh %d with %d under way", s.c.tlp, s.c.cc.ssthresh, cwnd)
		}
	})
	t.Run("DSACK of another", func(t *testing.T) {
		s := probe(t)
		s.sack(5)
		s.write(testMSS)
		s.flush()
		s.sack(6, 0, 1) // duplicated by the network: the probe's copy is not known to have come twice
		if s.c.tlp.open || s.sh.Recovery.TailLosses != 1 {
			t.Errorf("%+v, %+v", s.c.tlp, s.sh.Recovery)
		}
	})
	t.Run("duplicate ACK with blocks", func(t *testing.T) {
		s := probe(t)
		s.sack(5)
		s.write(5 * testMSS)
		s.flush()
		s.sack(5, 6, 7) // tells of what came out of order, and not of the probe
		if !s.c.tlp.open {
			t.Error("the copy was taken for the second")
		}
	})
	t.Run("DSACK", func(t *testing.T) {
		s := probe(t)
		s.sack(5)
		s.write(testMSS)
		s.flush()
		s.sack(5, 4, 5)
		if s.c.tlp.open || s.sh.Recovery.TailLosses != 0 || s.c.rack.mult > 1 {
			t.Errorf("%+v, %+v", s.c.tlp, s.c.rack)
		}
	})
	t.Run("duplicate ACK", func(t *testing.T) {
		s := probe(t)
		s.sack(5)
		s.write(testMSS)
		s.flush()
		s.sack(5)
		if s.c.tlp.open || s.sh.Recovery.TailLosses != 0 {
			t.Errorf("%+v", s.c.tlp)
		}
	})
}

// A recovery ends the probing (section 7.1): what is acknowledged beyond the probe later is no
// sign of another loss. And while it is not known that the probe's copy came twice, that another
// segment did is not known either.
func TestTailProbeThenRecovery(t *testing.T) {
	probed := func() *script {
		s := sendingOver(t, 10, 10, false)
		s.advance(2 * testRTT)
		if s.sh.Recovery.TailProbes != 1 {
			t.Fatal("no probe")
		}
		s.sack(0, 1, 10) // the first is lost, and sent again
		if !s.c.loss.active || s.c.tlp.open || s.sh.Stats.Retransmits != 2 {
			t.Fatalf("active %v, %+v, %+v", s.c.loss.active, s.c.tlp, s.sh.Stats)
		}
		return s
	}
	s := probed()
	ssthresh := s.c.cc.ssthresh
	s.write(20 * testMSS)
	s.flush()
	s.advance(testRTT)
	s.sack(11)
	if s.sh.Recovery.TailLosses != 0 || s.c.cc.ssthresh != ssthresh {
		t.Errorf("reduced twice: ssthresh %d, was %d", s.c.cc.ssthresh, ssthresh)
	}
	s = probed()
	s.sack(0, 9, 10, 1, 10)
	if s.sh.Recovery.Undone != 0 {
		t.Error("the reduction was undone for the copy of the probe")
	}
}

// After a timeout there is no sample yet for a probe to be timed by: the timer stays backed off
// (RFC 6298 section 5.7, Karn).
func TestNoTailProbeWithoutSample(t *testing.T) {
	s := sendingOver(t, 1, 1, false)
	rto := s.c.rtt.timeout()
	s.advance(2 * rto)
	s.sack(1)
	if s.sh.Stats.Timeouts != 1 || s.c.loss.timedOut {
		t.Fatalf("%+v", s.sh.Stats)
	}
	s.write(testMSS)
	s.expect("a segment", s.flush(), seg(s.at(1), 1, wire.ACK, testMSS))
	s.expect("nothing", s.advance(2*rto-1))
	s.expect("timeout", s.advance(1), seg(s.at(1), 1, wire.ACK, testMSS))
	if s.sh.Stats.Timeouts != 2 {
		t.Errorf("%+v, %+v", s.sh.Stats, s.sh.Recovery)
	}
}

// The FIN is a tail, too.
func TestTailProbeFin(t *testing.T) {
	s := sendingOver(t, 2, 2, false)
	s.c.CloseWrite(s.now)
	s.c.cc.cwnd = 10 * testMSS
	s.expect("FIN", s.flush(), seg(s.at(2), 1, wire.ACK|wire.FIN, 0))
	s.expect("again", s.advance(2*testRTT), seg(s.at(1), 1, wire.ACK|wire.FIN, testMSS))
	s.inOut(1, s.at(2)+1, wire.ACK, nil)
	s.state(FinWait2)
	if s.c.board.tx != nil || s.c.timers.armed(timerLoss) {
		t.Errorf("%+v", s.c.board)
	}
}

// Without SACK there are no probes: NewReno's rules.
func TestNoTailProbeWithoutSACK(t *testing.T) {
	s := sending(t, 5)
	s.expect("nothing", s.advance(minRTO-1))
	s.advance(time.Second)
	if s.sh.Recovery.TailProbes != 0 || s.sh.Stats.Timeouts == 0 {
		t.Errorf("%+v", s.sh.Recovery)
	}
}

// On a path of microseconds a probe waits until the peer may have run.
func TestProbeTimeoutFloor(t *testing.T) {
	s := sendingOver(t, 4, 4, false)
	for srtt, want := range map[time.Duration]time.Duration{
		20 * time.Microsecond: leastProbeTimeout, time.Millisecond: 2 * time.Millisecond, 30 * time.Millisecond: 60 * time.Millisecond,
		0: time.Second, // not known (RFC 8985 section 7.2)
	} {
		if s.c.rtt.srtt = srtt; s.c.probeTimeout() != want {
			t.Errorf("round trip of %v: probe after %v, want %v", srtt, s.c.probeTimeout(), want)
		}
	}
}
