package tcp

import (
	"bytes"
	"testing"
	"time"

	"github.com/zctap/zctap/internal/mono"
	"github.com/zctap/zctap/internal/wire"
)

const testRTT = 100 * ms

// sendingSACK makes a connection to a peer that understands SACK, 100 ms away, with
// n segments in flight and as many more to send.
func sendingSACK(t *testing.T, n int) *script { return sendingOver(t, n, 2*n, false) }

// sendingOver is sendingSACK with a number of segments to send in all.
func sendingOver(t *testing.T, n, all int, timestamps bool) *script {
	s := established(t, func(s *script) {
		withSACK(s)
		s.opts.HasWindowScale, s.opts.WindowScale = true, 7
		s.opts.HasTimestamps, s.opts.TSVal = timestamps, 1
	})
	s.c.rtt = rttEstimator{}
	s.c.rtt.init()
	s.c.rtt.sample(testRTT)
	s.c.rack.minRTT, s.c.rack.minRTTAt = testRTT, s.now
	s.c.cc.cwnd = uint32(n) * s.c.snd.mss
	s.write(all * int(s.c.snd.mss))
	s.opts.TSEcr = s.c.timestamp(s.now)
	s.expect("window", s.flush(), seg(1, 1, wire.ACK, n*int(s.c.snd.mss)))
	return s
}

// at is where segment n begins, relative to our SYN.
func (s *script) at(n int) int { return 1 + n*int(s.c.snd.mss) }

// sack gives the connection an ACK of all before segment ack, with SACK blocks from
// segment to segment, and returns what came out.
func (s *script) sack(ack int, fromTo ...int) []sent {
	s.t.Helper()
	s.opts.SACKCount = uint8(len(fromTo) / 2)
	for i := range int(s.opts.SACKCount) {
		s.opts.SACK[i] = wire.SACKBlock{
			Start: s.c.snd.iss.Add(uint32(s.at(fromTo[2*i]))), End: s.c.snd.iss.Add(uint32(s.at(fromTo[2*i+1]))),
		}
	}
	out := s.inOut(1, s.at(ack), wire.ACK, nil)
	s.opts.SACKCount = 0
	return out
}

// sendOne sends another segment, as if the window had grown by one.
func (s *script) sendOne() []sent {
	s.c.cc.cwnd = s.c.flight() + s.c.snd.mss
	s.c.touch()
	return s.flush()
}

// RFC 8985 section 6.2: three segments SACKed, and no reordering seen before: what
// is missing is lost at once.
func TestRackDupThresh(t *testing.T) {
	s := sendingOver(t, 10, 10, false)
	s.advance(testRTT)
	s.expect("one SACKed", s.sack(0, 1, 2))
	s.expect("two", s.sack(0, 1, 3))
	s.expect("three", s.sack(0, 1, 4), seg(1, 1, wire.ACK, testMSS))
	// Two segments had left the network before.
	if p := s.c.prr; p.flight != 8*testMSS || p.out != testMSS {
		t.Errorf("%+v", p)
	}
	if !s.c.loss.active || s.sh.Stats.FastRetransmits != 1 || s.c.cc.ssthresh != 5*testMSS {
		t.Errorf("%+v, ssthresh %d", s.c.loss, s.c.cc.ssthresh)
	}
	s.advance(testRTT)
	s.expect("done", s.sack(10))
	if s.c.loss.active || s.c.cc.cwnd != 5*testMSS || s.c.board.tx != nil {
		t.Errorf("%+v, cwnd %d, %+v", s.c.loss, s.c.cc.cwnd, s.c.board)
	}
	if s.sh.Stats.Retransmits != 1 || s.sh.Stats.Timeouts != 0 {
		t.Errorf("%+v", s.sh.Stats)
	}
}

// Three duplicate ACKs are as many, however small the segments.
func TestRackSmallSegments(t *testing.T) {
	s := sendingOver(t, 1, 1, false)
	s.advance(testRTT)
	s.sack(1)
	una := int(s.c.snd.una.Sub(s.c.snd.iss))
	for range 6 {
		s.now++
		s.write(10)
		s.flush()
	}
	s.advance(testRTT)
	for i := 1; i <= 3; i++ {
		start := s.c.snd.una.Add(uint32(10 * i))
		s.opts.SACKCount, s.opts.SACK[0] = 1, wire.SACKBlock{Start: start, End: start.Add(10)}
		out := s.inOut(1, una, wire.ACK, nil)
		if i < 3 {
			s.expect("too early", out)
			continue
		}
		s.expect("third", out, seg(una, 1, wire.ACK, 10))
	}
}

// A DSACK of what was sent again tells that it had only been late, also without
// timestamps.
func TestRackReorderingByDSACK(t *testing.T) {
	s := sendingOver(t, 10, 10, false)
	s.advance(testRTT)
	s.sack(0, 1, 5)
	s.advance(testRTT / 10)
	s.sack(10)
	if s.c.rack.reordering {
		t.Fatal("known too early")
	}
	s.write(testMSS)
	s.flush()
	s.sack(10, 0, 1)
	if !s.c.rack.reordering || s.c.rack.mult != 2 {
		t.Errorf("%+v", s.c.rack)
	}
}

// In slow start after a timeout a hole that is filled does not count for what was
// SACKed behind it.
func TestTimeoutSlowStart(t *testing.T) {
	s := sendingOver(t, 20, 20, false)
	s.advance(testRTT)
	s.c.rtt.rto = s.c.rack.rtt // as if nothing had been told of the loss
	s.c.loss.timedOut, s.c.loss.recover = true, s.c.snd.nxt
	s.c.cc.reduce(20*testMSS, testMSS, true)
	s.c.cc.cwnd = testMSS
	s.sack(0, 1, 19)
	cwnd := s.c.cc.cwnd
	s.sack(19)
	if got := s.c.cc.cwnd - cwnd; got > testMSS {
		t.Errorf("grown by %d for one segment", got)
	}
}

// Fewer SACKed: after a reordering window of a quarter of the round trip.
func TestRackReorderingTimer(t *testing.T) {
	s := sendingOver(t, 3, 3, false)
	s.advance(testRTT)
	s.expect("SACKed", s.sack(0, 1, 2))
	s.expect("too early", s.advance(testRTT/4-1))
	s.expect("in time", s.advance(1), seg(1, 1, wire.ACK, testMSS))
	if s.sh.Stats.Timeouts != 0 || s.sh.Recovery.Lost != 1 {
		t.Errorf("%+v %+v", s.sh.Stats, s.sh.Recovery)
	}
}

// What arrives within the window was reordered; from then on three SACKed are no
// proof any more.
func TestRackReordering(t *testing.T) {
	s := sendingOver(t, 10, 20, false)
	s.advance(testRTT)
	s.sack(0, 1, 2)
	s.advance(testRTT / 10)
	s.sack(2)
	if !s.c.rack.reordering || s.sh.Stats.Retransmits != 0 {
		t.Fatalf("%+v, %+v", s.c.rack, s.sh.Stats)
	}
	s.advance(testRTT * 9 / 10)
	s.sack(2, 3, 9)
	if s.sh.Stats.Retransmits != 0 {
		t.Fatal("retransmitted though the path reorders")
	}
	s.advance(testRTT / 4)
	if s.sh.Stats.Retransmits != 1 {
		t.Errorf("%d retransmitted", s.sh.Stats.Retransmits)
	}
}

// Step 4: DSACKs widen the window, once a round trip, up to the round trip time;
// sixteen recoveries without make it narrow again.
func TestRackWindow(t *testing.T) {
	r := rackState{minRTT: testRTT, reordering: true}
	want := func(d time.Duration) {
		t.Helper()
		if got := r.window(true, testRTT); got != d {
			t.Errorf("window %v, want %v", got, d)
		}
	}
	want(testRTT / 4)
	r.widen(true, 0, 1000)
	want(testRTT / 2)
	r.widen(true, 500, 1500)
	want(testRTT / 2)
	r.widen(true, 1000, 2000)
	want(testRTT * 3 / 4)
	for i := range 200 {
		r.widen(true, wire.Seq(2000+1000*i), wire.Seq(3000+1000*i))
	}
	want(testRTT)
	for range 15 { // RFC 8985 section 6.2, step 4: 16 recoveries
		r.recovered()
	}
	want(testRTT)
	r.recovered()
	want(testRTT / 4)
	// Another one has all sixteen begin anew.
	r.widen(true, 1<<20, 1<<20+1000)
	for range 15 {
		r.recovered()
	}
	r.widen(true, 2<<20, 2<<20+1000)
	for range 15 {
		r.recovered()
	}
	want(testRTT * 3 / 4)
	r.recovered()
	want(testRTT / 4)
	r.reordering = false
	want(0)
	if got := r.window(false, testRTT); got != testRTT/4 {
		t.Errorf("window %v before three are SACKed", got)
	}
}

// The smallest round trip counts for five minutes, then any other does: the path may have changed.
func TestRackMinRTT(t *testing.T) {
	var r rackState
	now := mono.Time(1e9)
	for _, tt := range []struct {
		after     time.Duration // the one before
		rtt, want time.Duration
	}{
		{0, 20 * ms, 20 * ms},
		{0, 30 * ms, 20 * ms},
		{0, 10 * ms, 10 * ms},
		{5 * time.Minute, 30 * ms, 10 * ms},
		{1, 30 * ms, 30 * ms},
		{4 * time.Minute, 30 * ms, 30 * ms}, // as small: it counts anew
		{4 * time.Minute, 40 * ms, 30 * ms},
		{time.Minute + 1, 40 * ms, 40 * ms},
	} {
		now = now.Add(tt.after)
		r.arrived(&delivery{now: now, rtt: tt.rtt})
		if r.minRTT != tt.want {
			t.Fatalf("%v after %v: %v, want %v", tt.rtt, tt.after, r.minRTT, tt.want)
		}
	}
}

// A retransmission that was lost too is found by what was sent after it.
func TestRackLostRetransmission(t *testing.T) {
	s := sendingOver(t, 10, 40, false)
	s.advance(testRTT)
	s.expect("first", s.sack(0, 1, 4)[:1], seg(1, 1, wire.ACK, testMSS))
	s.now++
	s.sack(0, 1, 10) // lets something new out, later than the retransmission
	sentTo := int(s.c.snd.nxt-s.c.snd.iss-1) / testMSS
	if sentTo <= 10 {
		t.Fatal("nothing new was sent")
	}
	s.advance(testRTT)
	out := s.sack(0, 1, sentTo)
	out = append(out, s.advance(testRTT/4)...)
	s.expect("again", out[:1], seg(1, 1, wire.ACK, testMSS))
	if s.sh.Stats.Timeouts != 0 || s.sh.Stats.FastRetransmits != 1 {
		t.Errorf("%+v", s.sh.Stats)
	}
}

// An ACK that may be for the first copy says nothing of the second (step 2).
func TestRackAmbiguousAck(t *testing.T) {
	s := sendingOver(t, 10, 10, false)
	s.advance(testRTT)
	s.sack(0, 1, 4)
	xmit := s.c.rack.xmit
	s.advance(testRTT / 10)
	s.sack(1, 4, 5)
	if s.c.rack.xmit != xmit {
		t.Error("round trip of a tenth of the smallest was believed")
	}
	if s.c.rack.minRTT != testRTT {
		t.Errorf("minimum %v", s.c.rack.minRTT)
	}
	// Nor one that is late enough, if the echo tells that it is for the first.
	for _, first := range []bool{true, false} {
		s = sendingOver(t, 10, 10, true)
		s.advance(testRTT)
		s.sack(0, 1, 4)
		sent := s.now
		s.advance(2 * testRTT)
		s.opts.TSEcr = s.c.timestamp(sent)
		if first {
			s.opts.TSEcr = s.c.timestamp(sent.Add(-testRTT))
		}
		s.sack(1, 1, 4)
		if (s.c.rack.xmit == sent) == first {
			t.Errorf("echo of the first copy %v: sent %v, RACK has %v", first, sent, s.c.rack.xmit)
		}
	}
}

// The timeout has what is old sent again, whatever the window, and the rest not.
func TestTimeoutSelective(t *testing.T) {
	s := sendingOver(t, 4, 8, false)
	s.c.tlp.open = true // no probe
	s.advance(testRTT)
	s.sack(0, 2, 3)
	s.c.timers.stop(timerLoss)
	s.advance(testRTT / 2)
	s.sendOne()
	s.c.timers.stop(timerLoss)
	s.c.timers.set(timerRetransmit, s.now)
	s.expect("timeout", s.advance(0), seg(1, 1, wire.ACK, testMSS))
	if s.c.cc.cwnd != testMSS || s.sh.Stats.Timeouts != 1 {
		t.Errorf("cwnd %d, %+v", s.c.cc.cwnd, s.sh.Stats)
	}
	// Segments 0, 1 and 3 are lost, 2 is SACKed, the others were sent less than a round trip ago.
	if b := s.c.board; b.lost != 3*testMSS || b.resent != testMSS || b.sacked != testMSS {
		t.Errorf("%+v", b)
	}
	s.advance(testRTT)
	s.expect("new data, for F-RTO", s.sack(1, 2, 3), seg(s.at(6), 1, wire.ACK, testMSS))
	s.advance(testRTT)
	s.expect("slow start", s.sack(1, 2, 3, 6, 7), seg(s.at(1), 1, wire.ACK, testMSS),
		seg(s.at(3), 1, wire.ACK, testMSS), seg(s.at(4), 1, wire.ACK, testMSS))
	s.advance(testRTT)
	s.inOut(1, int(s.c.snd.nxt.Sub(s.c.snd.iss)), wire.ACK, nil)
	if s.c.loss.timedOut {
		t.Error("recovery goes on")
	}
}

// What was sent first arrives after all: nothing was lost, and the window is what
// it was. The timestamp echo tells.
func TestUndo(t *testing.T) {
	for _, timeout := range []bool{false, true} {
		s := sendingOver(t, 10, 10, true)
		cwnd, echo := s.c.cc.cwnd, s.opts.TSEcr
		if timeout {
			s.c.tlp.open = true
			s.advance(time.Second)
		} else {
			s.advance(testRTT)
			s.sack(0, 1, 5)
		}
		if s.c.cc.ssthresh != cwnd/2 || s.sh.Stats.Retransmits != 1 {
			t.Fatalf("timeout %v: ssthresh %d, %+v", timeout, s.c.cc.ssthresh, s.sh.Stats)
		}
		s.advance(10 * ms)
		s.opts.TSEcr = echo
		s.expect("nothing is sent again", s.sack(10))
		if s.c.cc.cwnd < cwnd || s.c.cc.ssthresh != maxCwnd || s.sh.Recovery.Undone != 1 {
			t.Errorf("timeout %v: cwnd %d, ssthresh %d, %+v", timeout, s.c.cc.cwnd, s.c.cc.ssthresh, s.sh.Recovery)
		}

		// The copy arrives: the loss was one.
		s = sendingOver(t, 10, 10, true)
		s.advance(testRTT)
		s.sack(0, 1, 5)
		s.advance(10 * ms)
		s.opts.TSEcr = s.c.timestamp(s.now.Add(-5 * ms))
		s.sack(10)
		if s.sh.Recovery.Undone != 0 || s.c.cc.cwnd != cwnd/2 {
			t.Errorf("timeout %v: %+v", timeout, s.sh.Recovery)
		}
	}
}

// One reduction for what is under way, however often the timer expires for it, and
// whether recovery has begun before or not.
func TestTimeoutReducesOnce(t *testing.T) {
	for _, recovering := range []bool{false, true} {
		s := sendingOver(t, 20, 20, false)
		s.advance(testRTT)
		if recovering {
			s.sack(0, 1, 5)
		}
		s.advance(2500 * ms) // before it is taken for a black hole
		if s.sh.Stats.Timeouts < 3 || s.c.cc.ssthresh != 10*testMSS || s.c.cc.cwnd != testMSS {
			t.Errorf("recovering %v: cwnd %d, ssthresh %d, %d timeouts", recovering, s.c.cc.cwnd, s.c.cc.ssthresh, s.sh.Stats.Timeouts)
		}
	}
}

// New data that recovery lets out counts as sent, too.
func TestRepairNewData(t *testing.T) {
	s := sendingOver(t, 10, 30, false)
	s.advance(testRTT)
	n := 0
	for i := 4; i <= 10; i++ {
		for _, o := range s.sack(0, 1, i) {
			n += len(o.payload)
		}
	}
	if !s.c.loss.active || n <= testMSS || int(s.c.prr.out) != n {
		t.Errorf("%d bytes came out, counted %d", n, s.c.prr.out)
	}
}

// What probes a closed window may be acknowledged by an ACK for either copy.
func TestRepairWindowProbe(t *testing.T) {
	s := sendingOver(t, 1, 3, false)
	wnd := s.wnd
	s.wnd = 0
	s.advance(testRTT)
	s.sack(1)
	s.expect("probe", s.advance(s.c.rtt.timeout()), seg(s.at(1), 1, wire.ACK, 1))
	s.wnd = wnd
	s.sack(1)
	if r := s.c.board.records(); len(r) == 0 || r[0].flags != again {
		t.Fatalf("%+v", r)
	}
	srtt, least := s.c.rtt.srtt, s.c.rack.minRTT
	s.now++
	s.inOut(1, s.at(1)+1, wire.ACK, nil)
	if s.c.rtt.srtt != srtt || s.c.rack.minRTT != least {
		t.Errorf("smoothed round trip %v, smallest %v", s.c.rtt.srtt, s.c.rack.minRTT)
	}
}

// Karn's algorithm: what was sent twice yields no round trip time.
func TestRepairKarn(t *testing.T) {
	s := sendingOver(t, 5, 5, false)
	srtt := s.c.rtt.srtt
	s.advance(testRTT)
	s.sack(0, 1, 5)
	s.advance(3 * testRTT / 2)
	s.sack(5)
	if s.c.rtt.srtt != srtt {
		t.Errorf("smoothed round trip was %v, is %v", srtt, s.c.rtt.srtt)
	}
}

// What is sent again at once may lie in more blocks than a call of Transmit takes.
func TestRepairInPieces(t *testing.T) {
	s := newScript(t, 1024, func(c *Config) { c.MaxSuper = 400 << 10 })
	withSACK(s)
	s.opts.HasWindowScale, s.opts.WindowScale = true, 7
	s.establish()
	s.c.cc.cwnd = 1 << 20
	s.write(1000)
	s.write(400_000)
	s.flush()
	end := s.c.snd.nxt
	s.c.cc.cwnd = 4 << 20
	s.write(10 * testMSS)
	s.now++
	s.flush()
	s.now = s.now.Add(testRTT)
	s.opts.SACKCount, s.opts.SACK[0] = 1, wire.SACKBlock{Start: end, End: s.c.snd.nxt}
	n := 1
	s.in(1, 1, wire.ACK, nil)
	s.c.cc.cwnd = 4 << 20
	for _, o := range s.flush() {
		if off := int(o.Seq.Sub(s.c.snd.iss)); len(o.payload) > 0 && (off != n || !bytes.Equal(o.payload, stream(off-1, len(o.payload)))) {
			t.Fatalf("wrong bytes, from %d on", off)
		}
		n += len(o.payload)
	}
	if s.c.snd.iss.Add(uint32(n)).LessThan(end) {
		t.Errorf("%d bytes sent again", n-1)
	}
}

// What had no time to arrive is not lost, but for the oldest segment, which the
// timer is for.
func TestTimeoutOldest(t *testing.T) {
	s := sendingOver(t, 4, 4, false)
	s.c.timers.stop(timerLoss)
	s.c.rack.xmit, s.c.rack.rtt = s.now-1, time.Hour
	s.expect("timeout", s.advance(s.c.rtt.timeout()), seg(1, 1, wire.ACK, testMSS))
	if b := s.c.board; b.lost != testMSS || len(b.records()) != 2 {
		t.Errorf("%+v", b)
	}
}

// Nor is what may have been reordered: on a path that does so it has a reordering window
// longer (RFC 8985 section 6.3). Such a recovery counts for that window, too (section 6.2, step 4).
func TestTimeoutReordering(t *testing.T) {
	for _, late := range []time.Duration{testRTT / 8, testRTT / 2} {
		s := sendingOver(t, 2, 2, false)
		s.c.rack.xmit, s.c.rack.rtt, s.c.rack.reordering = s.now-1, testRTT, true
		s.c.rack.mult, s.c.rack.persist = 1, reoPersist
		s.c.tlp.open = true // no probe
		rto := s.c.rtt.timeout()
		s.advance(rto - testRTT - late)
		s.write(testMSS)
		s.sendOne()
		s.expect("timeout", s.advance(testRTT+late), seg(1, 1, wire.ACK, testMSS))
		want := uint32(2 * testMSS)
		if late > testRTT/4 {
			want += testMSS
		}
		if s.c.board.lost != want {
			t.Errorf("the last was sent a round trip and %v ago: %d bytes are lost, want %d", late, s.c.board.lost, want)
		}
		s.advance(testRTT)
		s.sack(1)
		s.advance(testRTT)
		s.sack(3)
		if s.c.loss.timedOut || s.sh.Recovery.Undone != 0 || s.c.rack.persist != reoPersist-1 {
			t.Errorf("timed out %v, %d recoveries left", s.c.loss.timedOut, s.c.rack.persist)
		}
	}
}

// A peer that closes its window and drops what was sent into it gets it again as
// soon as it opens, however far the timer was backed off.
func TestTimeoutClosedWindow(t *testing.T) {
	s := sendingOver(t, 4, 4, false)
	wnd := s.wnd
	s.wnd = 0
	s.advance(testRTT)
	s.sack(0)
	for range 4 {
		out := s.advance(s.c.rtt.timeout())
		s.expect("into the closed window, the oldest only", out, seg(1, 1, wire.ACK, testMSS))
		s.expect("nothing", s.sack(0))
	}
	s.wnd = wnd
	s.expect("it opens", s.sack(0), seg(1, 1, wire.ACK, testMSS))
	s.advance(testRTT)
	s.expect("slow start", s.sack(1), seg(s.at(1), 1, wire.ACK, 2*testMSS))
	s.advance(testRTT)
	s.sack(4)
	s.state(Established)
	if s.c.board.tx != nil {
		t.Errorf("%+v", s.c.board)
	}
}

// Nobody waits for ever for a peer that never opens its window, when the application
// has closed.
func TestOrphanClosedWindow(t *testing.T) {
	s := sendingOver(t, 4, 4, false)
	s.wnd = 0
	s.sack(0)
	s.c.Send.Close()
	s.c.Recv.Close()
	s.c.Close(s.now)
	for i := 0; s.c.state != Closed; i++ {
		if i > 1000 {
			t.Fatal("never given up")
		}
		s.advance(time.Second)
		if s.c.state != Closed {
			s.sack(0) // it is alive
		}
	}
}

// Blocks that lie outside of what is under way are counted, and change nothing.
func TestHostileBlocks(t *testing.T) {
	for _, tt := range []struct {
		name     string
		from, to int
		bad      bool
	}{
		{"inverted", 5, 3, true},
		{"empty", 5, 5, true},
		{"beyond", 5, 30, true},
		{"far beyond", 1 << 19, 1<<19 + 1, true},
		{"at the acknowledgment", 2, 4, true},
		{"across it", 1, 4, true},
		{"before anything", -10000, -9990, true},
		{"everything", -1 << 17, 1 << 17, true},
		{"good", 3, 4, false},
		{"to the end", 3, 10, false},
	} {
		t.Run(tt.name, func(t *testing.T) {
			s := sendingSACK(t, 10)
			s.sack(2)
			n := s.sh.Recovery.BadBlocks
			s.sack(2, tt.from, tt.to)
			if got := s.sh.Recovery.BadBlocks-n == 1; got != tt.bad || (s.c.board.sacked == 0) != tt.bad {
				t.Errorf("bad %v, %d bytes SACKed", got, s.c.board.sacked)
			}
			if s.c.loss.active && tt.bad {
				t.Error("recovery began")
			}
		})
	}
	t.Run("without SACK", func(t *testing.T) {
		s := sending(t, 10)
		s.sack(0, 1, 5)
		if s.c.board.tx != nil || s.c.loss.active {
			t.Errorf("%+v", s.c.board)
		}
	})
	t.Run("nothing in flight", func(t *testing.T) {
		s := sendingSACK(t, 2)
		s.sack(2)
		s.advance(time.Second)
		s.sack(4)
		s.sack(4, 5, 6)
		if s.c.board.tx != nil {
			t.Errorf("%+v", s.c.board)
		}
	})
}
