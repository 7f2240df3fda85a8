package tcp

import (
	"math"
	"testing"
	"time"

	"github.com/zctap/zctap/internal/mono"
	"github.com/zctap/zctap/internal/wire"
)

// A path acknowledges all of a window, segment by segment, once a round trip.
type path struct {
	w   congestion
	rtt time.Duration
	now mono.Time
	una wire.Seq
}

const pathMSS = 1000

func newPath(a Congestion, segments int, rtt time.Duration) *path {
	p := &path{rtt: rtt, now: 1e9}
	p.w.start(a, pathMSS)
	p.w.cwnd = uint32(segments) * pathMSS
	return p
}

func (p *path) segments() float64 { return float64(p.w.cwnd) / pathMSS }

// round is a window of ACKs, spread over a round trip.
func (p *path) round() {
	n := int(p.w.cwnd / pathMSS)
	for range n {
		p.now = p.now.Add(p.rtt / time.Duration(n))
		p.una = p.una.Add(pathMSS)
		p.w.control.acked(&p.w, &ackInfo{
			now: p.now, bytes: pathMSS, mss: pathMSS, rtt: p.rtt, srtt: p.rtt, una: p.una, nxt: p.una.Add(p.w.cwnd),
		})
	}
}

// lose is a loss that duplicate ACKs show.
func (p *path) lose() {
	p.w.reduce(p.w.cwnd, pathMSS, false)
	p.w.cwnd = p.w.ssthresh
}

// RFC 9438 section 4.2: after a loss at W_max the window is at
// W_cubic(t) = C (t - K)^3 + W_max, with K = cbrt(W_max (1 - beta) / C).
func TestCubicCurve(t *testing.T) {
	for _, tt := range []struct {
		segments int
		rtt      time.Duration
	}{{1000, 100 * ms}, {5000, 50 * ms}, {300, 200 * ms}} {
		p := newPath(Cubic, tt.segments, tt.rtt)
		wMax := p.segments()
		p.lose()
		if got := p.segments(); math.Abs(got-0.7*wMax) > 1 {
			t.Fatalf("%v segments after a loss at %v", got, wMax)
		}
		k := math.Cbrt(wMax * 0.3 / 0.4)
		start := p.now
		slowest := math.Inf(1)
		for p.now.Sub(start).Seconds() < 2*k {
			before := p.segments()
			p.round()
			at := p.now.Sub(start).Seconds()
			want := 0.4*(at-k)*(at-k)*(at-k) + wMax
			if got := p.segments(); math.Abs(got-want) > 0.03*want {
				t.Fatalf("W_max %v, rtt %v: %.1f segments %.2f s after the loss, want %.1f", wMax, tt.rtt, got, at, want)
			}
			if grown := p.segments() - before; grown < slowest {
				slowest = grown
				if d := math.Abs(p.segments() - wMax); at > 0.9*k && at < 1.1*k && d > 0.02*wMax {
					t.Errorf("flat at %.1f segments, W_max is %.1f", p.segments(), wMax)
				}
			}
		}
	}
}

// Section 4.3: where Reno is faster, the window grows as Reno's, by alpha segments
// a round trip until it is what it was, and then by one.
func TestCubicRenoFriendly(t *testing.T) {
	p := newPath(Cubic, 20, 5*ms)
	p.lose() // to 14
	w0 := p.segments()
	for range 10 {
		p.round()
	}
	if got, want := p.segments()-w0, 10*9.0/17; math.Abs(got-want) > 0.6 {
		t.Errorf("grown by %.2f segments in 10 round trips, want %.2f", got, want)
	}
	for p.segments() < 20.5 {
		p.round()
	}
	w0 = p.segments()
	for range 10 {
		p.round()
	}
	if got := p.segments() - w0; math.Abs(got-10) > 1 {
		t.Errorf("grown by %.2f segments in 10 round trips beyond cwnd_prior, want 10", got)
	}
}

// Section 4.7: a flow that loses below its last W_max makes room for others.
func TestCubicFastConvergence(t *testing.T) {
	p := newPath(Cubic, 100, 100*ms)
	c := p.w.control.(*cubic)
	p.lose()
	if c.wMax != 100*pathMSS {
		t.Errorf("W_max %v after the first loss", c.wMax)
	}
	p.w.cwnd = 80 * pathMSS
	p.lose()
	if c.wMax != 80*pathMSS*1.7/2 {
		t.Errorf("W_max %v after a loss at 80 segments", c.wMax)
	}
	p.w.cwnd = 90 * pathMSS
	p.lose()
	if c.wMax != 90*pathMSS {
		t.Errorf("W_max %v after a loss at 90 segments", c.wMax)
	}
	// One that comes as far as before makes no room.
	p.w.cwnd = 90 * pathMSS
	p.lose()
	if c.wMax != 90*pathMSS {
		t.Errorf("W_max %v after another loss at 90 segments", c.wMax)
	}
}

// Section 4.3: the window grows by alpha segments a round trip until it is what it was at the
// loss, which after fast convergence is more than W_max.
func TestCubicRenoFriendlyConvergence(t *testing.T) {
	p := newPath(Cubic, 40, 5*ms)
	p.lose()
	p.w.cwnd = 30 * pathMSS
	p.lose() // to 21, with a W_max of 25.5
	for p.segments() < 26 {
		p.round()
	}
	w0 := p.segments()
	for range 5 {
		p.round()
	}
	if got, want := p.segments()-w0, 5*9.0/17; math.Abs(got-want) > 0.6 {
		t.Errorf("grown by %.2f segments in 5 round trips behind W_max, want %.2f", got, want)
	}
}

// Section 4.3: W_est begins where the window is after the loss, not where it was before.
func TestCubicRenoFriendlyBeginsAnew(t *testing.T) {
	p := newPath(Cubic, 40, 5*ms)
	p.lose()
	for range 10 {
		p.round()
	}
	p.lose()
	w0 := p.segments()
	p.round()
	if grown := p.segments() - w0; grown > 1 {
		t.Errorf("grown by %.2f segments in the first round trip after a second loss", grown)
	}
}

// Section 4.3 counts segments, not ACKs: one that covers a whole window counts for all of it.
func TestCubicRenoFriendlyStretchAcks(t *testing.T) {
	p := newPath(Cubic, 20, 5*ms)
	p.lose()
	w0 := p.segments()
	for range 10 {
		p.now = p.now.Add(p.rtt)
		p.una = p.una.Add(p.w.cwnd)
		p.w.control.acked(&p.w, &ackInfo{
			now: p.now, bytes: p.w.cwnd, mss: pathMSS, rtt: p.rtt, srtt: p.rtt, una: p.una, nxt: p.una.Add(p.w.cwnd),
		})
	}
	if got, want := p.segments()-w0, 10*9.0/17; math.Abs(got-want) > 0.6 {
		t.Errorf("grown by %.2f segments in 10 round trips, want %.2f", got, want)
	}
}

// Section 4.2: each loss begins an epoch. Long after the one before, the window does not rise
// at once to where that one's curve has come.
func TestCubicEpochs(t *testing.T) {
	p := newPath(Cubic, 1000, 100*ms)
	p.lose()
	for range 150 {
		p.round() // for 15 s; K is 9
	}
	wMax := p.segments()
	p.lose()
	k, start := math.Cbrt(wMax*0.3/0.4), p.now
	for range 30 {
		p.round()
	}
	at := p.now.Sub(start).Seconds()
	if want := 0.4*(at-k)*(at-k)*(at-k) + wMax; math.Abs(p.segments()-want) > 0.03*want {
		t.Errorf("%.1f segments %.1f s after the second loss, want %.1f", p.segments(), at, want)
	}
}

// A window that is above W_max when an epoch begins, as after a pause, has no plateau to come:
// it grows from where it is, convex.
func TestCubicAboveWMax(t *testing.T) {
	p := newPath(Cubic, 8, 500*ms)
	p.lose()
	p.w.cwnd = 40 * pathMSS
	p.w.restart(pathMSS)
	p.w.ssthresh = p.w.cwnd
	w0, start := p.segments(), p.now
	for range 12 {
		p.round()
	}
	at := p.now.Sub(start).Seconds()
	if got, want := p.segments(), w0+0.4*at*at*at; math.Abs(got-want) > 0.1*want {
		t.Errorf("%.1f segments %.1f s after %.1f, want %.1f", got, at, w0, want)
	}
}

// Section 4.6: what was under way is what the threshold is a part of, not a window that was not in
// use.
func TestCubicReducesFlight(t *testing.T) {
	p := newPath(Cubic, 100, 100*ms)
	p.w.reduce(50*pathMSS, pathMSS, false)
	if p.w.ssthresh != 35*pathMSS {
		t.Errorf("threshold %d with 50 segments under way", p.w.ssthresh)
	}
}

// Section 4.8: after a timeout the curve begins in its convex part.
func TestCubicTimeout(t *testing.T) {
	p := newPath(Cubic, 100, 100*ms)
	p.w.reduce(p.w.cwnd, pathMSS, true)
	p.w.cwnd = pathMSS
	if p.w.ssthresh != 70*pathMSS {
		t.Errorf("threshold %d", p.w.ssthresh)
	}
	for p.w.slowStart() {
		p.round()
	}
	p.round()
	c := p.w.control.(*cubic)
	if c.k != 0 || c.origin < 70*pathMSS {
		t.Errorf("K %v, origin %v", c.k, c.origin)
	}
}

// So does it after a loss: the window that this came at is no aim after a timeout.
func TestCubicTimeoutAfterLoss(t *testing.T) {
	p := newPath(Cubic, 100, 100*ms)
	p.lose()
	p.w.reduce(p.w.cwnd, pathMSS, true)
	p.w.cwnd = pathMSS
	for p.w.slowStart() {
		p.round()
	}
	p.round()
	if c := p.w.control.(*cubic); c.k != 0 || c.origin >= 70*pathMSS {
		t.Errorf("K %v, origin %v", c.k, c.origin)
	}
}

// Section 5.8: the curve waits while the window is not in use.
func TestCubicApplicationLimited(t *testing.T) {
	p := newPath(Cubic, 1000, 100*ms)
	p.lose()
	for range 20 {
		p.round()
	}
	before := p.w.cwnd
	for range 100 {
		p.now = p.now.Add(100 * ms)
		p.w.control.acked(&p.w, &ackInfo{now: p.now, bytes: 1, mss: pathMSS, srtt: p.rtt, limited: true})
	}
	if p.w.cwnd != before {
		t.Errorf("grown from %d to %d", before, p.w.cwnd)
	}
	p.round()
	if grown := p.w.cwnd - before; grown > 30*pathMSS {
		t.Errorf("caught up by %d bytes", grown)
	}
	// Nor does the pause put the curve off: it goes on where it was.
	k := math.Cbrt(1000 * 0.3 / 0.4)
	for range 60 {
		p.round()
	}
	at := 8.1 // 81 round trips in use
	if got, want := p.segments(), 0.4*(at-k)*(at-k)*(at-k)+1000; math.Abs(got-want) > 0.03*want {
		t.Errorf("%.1f segments after %v s of use, want %.1f", got, at, want)
	}
}

// RFC 7661: nor does a window grow in slow start that is not in use, be it the first one or
// one after a timeout.
func TestCubicLimitedSlowStart(t *testing.T) {
	for _, threshold := range []uint32{maxCwnd, 100 * pathMSS} {
		p := newPath(Cubic, 10, 100*ms)
		p.w.ssthresh = threshold
		for range 20 {
			p.now, p.una = p.now.Add(p.rtt), p.una.Add(100)
			p.w.control.acked(&p.w, &ackInfo{
				now: p.now, bytes: 100, mss: pathMSS, rtt: p.rtt, srtt: p.rtt, una: p.una, nxt: p.una.Add(100), limited: true,
			})
		}
		if p.w.cwnd != 10*pathMSS {
			t.Errorf("threshold %d: cwnd %d", threshold, p.w.cwnd)
		}
	}
}

// Section 4.4: never to more than half again as much in a round trip.
func TestCubicTargetBounded(t *testing.T) {
	p := newPath(Cubic, 10, time.Second)
	p.lose()
	p.round()
	p.now = p.now.Add(time.Hour) // far up the curve
	before := p.segments()
	p.round()
	if got := p.segments(); got > 1.7*before {
		t.Errorf("from %.1f to %.1f segments in a round trip", before, got)
	}
	for range 200 {
		p.w.control.acked(&p.w, &ackInfo{now: p.now, bytes: maxCwnd, mss: pathMSS, srtt: time.Hour})
	}
	if p.w.cwnd > maxCwnd {
		t.Errorf("cwnd %d", p.w.cwnd)
	}
}

// RFC 5681 section 4.1: after a pause another epoch begins, where the window is.
func TestCubicIdle(t *testing.T) {
	p := newPath(Cubic, 1000, 100*ms)
	p.lose()
	p.round()
	c := p.w.control.(*cubic)
	if p.w.restart(pathMSS); p.w.cwnd != initialWindow(pathMSS) || c.running {
		t.Errorf("cwnd %d, the epoch goes on %v", p.w.cwnd, c.running)
	}
}

// A reduction for nothing leaves no trace.
func TestCubicUndo(t *testing.T) {
	p := newPath(Cubic, 1000, 100*ms)
	p.lose()
	for range 20 {
		p.round()
	}
	c := p.w.control.(*cubic)
	before, cwnd := c.cubicState, p.w.cwnd
	p.lose()
	p.w.undo()
	if c.cubicState != before || p.w.cwnd != cwnd {
		t.Errorf("%+v cwnd %d, was %+v cwnd %d", c.cubicState, p.w.cwnd, before, cwnd)
	}
}
