package tcp

import (
	"testing"
	"time"

	"github.com/zctap/zctap/internal/wire"
)

// All that is too long and not SACKed is sent again at once, in shorter segments. It
// is no sign of congestion.
func TestTooBigResends(t *testing.T) {
	const mss = testMSS
	for _, timestamps := range []bool{false, true} {
		s := sendingOver(t, 10, 10, timestamps)
		full := int(s.c.snd.mss)
		s.advance(testRTT / 2)
		s.sack(0, 3, 5)
		cwnd, ssthresh, options := s.c.cc.cwnd, s.c.cc.ssthresh, full-mss
		if !s.icmp(1, tooBig(1040)) {
			t.Fatal("not believed")
		}
		out := s.flush()
		s.expect("resent", out, seg(1, 1, wire.ACK, 3*full), seg(1+5*full, 1, wire.ACK, 5*full))
		for _, o := range out {
			if o.mss != 1000+options {
				t.Errorf("segments of %d, want %d", o.mss, 1000+options)
			}
		}
		if s.c.cc.cwnd != cwnd || s.c.cc.ssthresh != ssthresh || s.sh.Stats.FastRetransmits+s.sh.Stats.Timeouts != 0 {
			t.Errorf("cwnd %d, ssthresh %d, were %d, %d", s.c.cc.cwnd, s.c.cc.ssthresh, cwnd, ssthresh)
		}
		// The next one says the same, of the segments behind it.
		if s.icmp(1+full, tooBig(1040)) {
			t.Error("news that is none was believed")
		}
		s.expect("nothing", s.flush())
		// An ACK for something sent before shows nothing: what is sent again was not
		// late. It would call all of it arrived or under way.
		s.c.cc.priorCwnd = 10 * cwnd
		if timestamps {
			s.opts.TSEcr = s.c.timestamp(s.now.Add(-testRTT / 2))
		}
		s.advance(10 * ms)
		s.inOut(1, 1+1000+options, wire.ACK, nil)
		if s.sh.Recovery.Undone != 0 || s.c.cc.cwnd > cwnd+uint32(mss) {
			t.Errorf("timestamps %v: undone %d times, cwnd %d", timestamps, s.sh.Recovery.Undone, s.c.cc.cwnd)
		}
		s.inOut(1, 1+10*full, wire.ACK, nil)
		if l := &s.c.loss; l.active || l.timedOut {
			t.Errorf("still repairing: %+v", l)
		}
		if s.sh.Stats.PathMTULowered != 1 {
			t.Errorf("lowered %d times", s.sh.Stats.PathMTULowered)
		}
	}
}

// Without SACK all is sent again.
func TestTooBigResendsWithoutSACK(t *testing.T) {
	s := established(t, nil)
	s.c.cc.cwnd = 4 * testMSS
	s.write(4 * testMSS)
	s.expect("window", s.flush(), seg(1, 1, wire.ACK, 4*testMSS))
	if !s.icmp(1+testMSS, tooBig(1240)) {
		t.Fatal("not believed")
	}
	out := s.flush()
	s.expect("resent", out, seg(1, 1, wire.ACK, 4*testMSS))
	if out[0].mss != 1200 || s.c.cc.cwnd != 4*testMSS {
		t.Errorf("segments of %d, cwnd %d", out[0].mss, s.c.cc.cwnd)
	}
}

// What is sent again since it was too long has a timer of its own, and yields no sample of the round trip:
// its ACK may be for either copy (Karn).
func TestTooBigStartsOver(t *testing.T) {
	s := established(t, nil)
	s.c.rtt.sample(testRTT)
	srtt, rto := s.c.rtt.srtt, s.c.rtt.timeout()
	s.c.cc.cwnd = 4 * testMSS
	s.write(4 * testMSS)
	s.flush()
	s.advance(rto - ms)
	if !s.icmp(1, tooBig(1240)) || len(s.flush()) == 0 {
		t.Fatal("not sent again")
	}
	s.expect("the first one's timer", s.advance(rto-ms))
	s.inOut(1, 1+4*testMSS, wire.ACK, nil)
	if s.c.rtt.srtt != srtt || s.sh.Stats.Timeouts != 0 {
		t.Errorf("srtt was %v, is %v; %d timeouts", srtt, s.c.rtt.srtt, s.sh.Stats.Timeouts)
	}
}

// What was in doubt before, with SACK or without, is not any more: all is sent again, and what
// comes of that says nothing about the loss that the window was reduced for.
func TestTooBigEndsDoubt(t *testing.T) {
	s := established(t, nil)
	s.c.cc.cwnd = 4 * testMSS
	s.write(5 * testMSS)
	s.flush()
	s.expect("timeout", s.advance(steadyRTO), seg(1, 1, wire.ACK, testMSS))
	if !s.icmp(1, tooBig(1240)) {
		t.Fatal("not believed")
	}
	s.flush()
	for i := 1; i <= 3; i++ {
		s.inOut(1, 1+i*1200, wire.ACK, nil)
	}
	if s.sh.Recovery.Undone != 0 || s.c.cc.cwnd > 4*testMSS {
		t.Errorf("without SACK: undone %d times, cwnd %d", s.sh.Recovery.Undone, s.c.cc.cwnd)
	}

	s = sendingOver(t, 10, 10, false)
	s.advance(testRTT)
	s.sack(0, 1, 4)
	if s.sh.Stats.FastRetransmits != 1 || !s.icmp(1, tooBig(1040)) {
		t.Fatalf("%+v", s.sh.Stats)
	}
	s.flush()
	ssthresh := s.c.cc.ssthresh
	all := s.c.snd.nxt // twice, every byte
	s.opts.SACKCount, s.opts.SACK[0] = 1, wire.SACKBlock{Start: s.c.snd.una, End: all}
	s.inOut(1, int(all-s.c.snd.iss), wire.ACK, nil)
	if s.sh.Recovery.Undone != 0 || s.c.cc.ssthresh != ssthresh {
		t.Errorf("with SACK: undone %d times, ssthresh was %d, is %d", s.sh.Recovery.Undone, ssthresh, s.c.cc.ssthresh)
	}
}

// What routers may ask for, and what one that does not say gets.
func TestTooBigBounds(t *testing.T) {
	for _, tt := range []struct {
		mtu, want uint32
	}{
		{1500, 1460}, {1501, 1460}, {1 << 31, 1460}, {1499, 1459}, {552, 512}, {551, 512}, {68, 512}, {1, 512},
		{0, 1024}, // RFC 1191 section 5: the next plateau
	} {
		s := sendingOver(t, 2, 2, false)
		if got := s.icmp(1, tooBig(tt.mtu)); got != (tt.want < testMSS) || s.c.snd.mss != tt.want {
			t.Errorf("MTU %d: believed %v, segments of %d, want %d", tt.mtu, got, s.c.snd.mss, tt.want)
		}
		// And again, to where it ends.
		s.icmp(1, tooBig(0))
		s.icmp(1, tooBig(0))
		if s.c.snd.mss != 512 && tt.want != testMSS {
			t.Errorf("in the end segments of %d", s.c.snd.mss)
		}
	}
}

// An answer to the segment that is tried tells at once how long it may be.
func TestPathProbeTooBig(t *testing.T) {
	s := sendingOver(t, 10, 40, false)
	s.icmp(1, tooBig(1040))
	s.flush()
	s.inOut(1, 1+10*testMSS, wire.ACK, nil)
	end := int(s.c.snd.max - s.c.snd.iss)
	s.now = s.now.Add(pathLife)
	s.c.rtt.rto = 2 * pathLife // no restart from idle
	out := s.inOut(1, end, wire.ACK, nil)
	if len(out) == 0 || len(out[0].payload) != testMSS || out[0].mss != testMSS {
		t.Fatalf("no longer segment was tried: %d came out, the first of %d bytes", len(out), len(out[0].payload))
	}
	if len(out) < 2 || out[1].mss != 1000 {
		t.Fatal("what follows has another length, too")
	}
	if !s.icmp(end, tooBig(1240)) || s.c.snd.mss != 1200 || s.c.path.trying {
		t.Errorf("segments of %d, trying %v", s.c.snd.mss, s.c.path.trying)
	}
	again := s.flush()
	if len(again) == 0 || again[0].mss != 1200 || again[0].Seq != s.c.snd.iss.Add(uint32(end)) {
		t.Errorf("it is not sent again: %+v", again)
	}
}

// tryingPath makes a connection that tries a full segment, which ends where end says, on a path
// that has carried 1,040 bytes so far.
func tryingPath(t *testing.T) (s *script, end int) {
	s = sendingOver(t, 10, 40, false)
	s.icmp(1, tooBig(1040))
	s.flush()
	s.inOut(1, 1+10*testMSS, wire.ACK, nil)
	all := int(s.c.snd.max - s.c.snd.iss)
	s.now = s.now.Add(pathLife)
	s.c.rtt.rto = 2 * pathLife // no restart from idle
	s.inOut(1, all, wire.ACK, nil)
	if !s.c.path.trying {
		t.Fatal("no longer segment is tried")
	}
	return s, all + testMSS
}

// What comes of the segment that is tried: if it is acknowledged the path carries it, for this
// connection and for others; if it is sent again another is tried after as long a time as before
// (RFC 8201 section 5.3), and what else is sent again does not matter. That packets of its own length
// pass is no news.
func TestPathProbeEnds(t *testing.T) {
	s, end := tryingPath(t)
	if s.icmp(end-testMSS, tooBig(1500)) || !s.c.path.trying || s.c.snd.mss != 1000 {
		t.Errorf("segments of %d, trying %v", s.c.snd.mss, s.c.path.trying)
	}
	s.sh.paths.learn(s.now, testTuple.Remote.Addr(), 1040) // as another connection has
	s.inOut(1, end, wire.ACK, nil)
	if mtu, _ := s.sh.paths.recall(s.now, testTuple.Remote.Addr()); mtu != 0 || s.c.snd.mss != testMSS || s.c.path.trying {
		t.Errorf("it passed: segments of %d, others are told of packets of %d", s.c.snd.mss, mtu)
	}

	s, end = tryingPath(t)
	at := func(n int) wire.Seq { return s.c.snd.iss.Add(uint32(n)) }
	s.c.sentAgain(s.now, at(end-testMSS-1000), at(end-testMSS))
	s.c.sentAgain(s.now, at(end), at(end+1000))
	if !s.c.path.trying {
		t.Error("its neighbours were sent again: it is tried no more")
	}
	s.c.sentAgain(s.now, at(end-1), at(end))
	if s.c.path.trying || s.c.path.raise != s.now.Add(pathLife) {
		t.Errorf("it was sent again: trying %v, the next one in %v", s.c.path.trying, s.c.path.raise.Sub(s.now))
	}
}

// A longer segment is tried only with as much behind it, and room for that, as shows its loss
// without a timeout.
func TestPathProbeNeedsMore(t *testing.T) {
	s := sendingOver(t, 10, 40, false)
	s.icmp(1, tooBig(1040))
	s.icmp(1, tooBig(840)) // what was full before the first is full
	s.flush()
	s.inOut(1, int(s.c.snd.max-s.c.snd.iss), wire.ACK, nil)
	s.inOut(1, int(s.c.snd.max-s.c.snd.iss), wire.ACK, nil)
	const enough = testMSS + dupThresh*800
	for _, tt := range []struct {
		after         time.Duration
		avail, usable uint32
		want          bool
	}{
		{pathLife, enough, enough, true},
		{pathLife, enough - 1, enough, false},
		{pathLife, enough, enough - 1, false},
		{pathLife - time.Second, enough, enough, false},
	} {
		if got := s.c.mayProbe(s.now.Add(tt.after), tt.avail, tt.usable); got != tt.want {
			t.Errorf("after %v, with %d bytes and room for %d: %v", tt.after, tt.avail, tt.usable, got)
		}
	}
}

// What timeouts show is tried step by step, one timeout each after the first, and for a minute
// only: they may have another cause. What each path carries is not suspected.
func TestBlackHoleSteps(t *testing.T) {
	s := sendingOver(t, 4, 10, false)
	for s.sh.Stats.BlackHoles == 0 {
		s.advance(ms)
	}
	timeouts := s.sh.Stats.Timeouts
	if life := s.c.path.raise.Sub(s.now); s.c.snd.mss != 1024 || timeouts != blackHole || life > suspicionLife {
		t.Errorf("segments of %d after %d timeouts, for %v", s.c.snd.mss, timeouts, life)
	}
	for s.sh.Stats.Timeouts == timeouts {
		s.advance(ms)
	}
	if s.c.snd.mss != 512 {
		t.Errorf("segments of %d after another timeout", s.c.snd.mss)
	}
	for n, suspected := range map[int]bool{512: false, 513: true} {
		s := established(t, withSACK)
		s.write(n)
		s.flush()
		s.advance(20 * time.Second)
		if got := s.sh.Stats.BlackHoles > 0; got != suspected {
			t.Errorf("packets of %d bytes are lost: suspected %v", n+40, got)
		}
	}
}

// A path that drops what is too long is found out also when the last that was heard of the
// peer is a window too small for a segment, as an old ACK may say that was overtaken. A peer
// that answers with such windows drops what they do not admit itself.
func TestBlackHoleBehindOldWindow(t *testing.T) {
	for _, answers := range []bool{false, true} {
		s := sendingOver(t, 4, 10, false)
		s.wnd = 1 // of 128 bytes
		s.advance(10 * ms)
		s.inOut(1, 1, wire.ACK, nil)
		for end := s.now.Add(30 * time.Second); s.now < end; {
			s.advance(10 * ms)
			if answers && s.now.Sub(s.c.snd.lastData) < 10*ms {
				s.inOut(1, 1, wire.ACK, nil)
			}
		}
		if found := s.sh.Stats.BlackHoles > 0; found == answers {
			t.Errorf("answers %v: %d black holes after %d timeouts", answers, s.sh.Stats.BlackHoles, s.sh.Stats.Timeouts)
		}
	}
}

// What a small window lets through is sent by the persist timer, again and again (RFC 9293
// section 3.8.6.2.1): a path that drops it is found out, too.
func TestBlackHoleUnderSmallWindow(t *testing.T) {
	for _, answers := range []bool{false, true} {
		s := sendingOver(t, 4, 10, false)
		s.wnd = 9 // of 128 bytes: 1,152, less than a segment and than half of what there was
		s.advance(10 * ms)
		s.inOut(1, 1+4*testMSS, wire.ACK, nil)
		for end := s.now.Add(30 * time.Second); s.now < end; {
			s.advance(10 * ms)
			if answers && s.now.Sub(s.c.snd.lastData) < 10*ms {
				s.inOut(1, 1+4*testMSS, wire.ACK, nil)
			}
		}
		if s.sh.Stats.Probes < blackHole {
			t.Fatalf("%d probes", s.sh.Stats.Probes)
		}
		if found := s.sh.Stats.BlackHoles > 0; found == answers {
			t.Errorf("answers %v: %d black holes after %d probes, segments of %d", answers, s.sh.Stats.BlackHoles, s.sh.Stats.Probes, s.c.snd.mss)
		}
	}
}
