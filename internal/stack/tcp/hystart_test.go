package tcp

import (
	"testing"
	"time"
)

// RFC 9406 section 4.2, with the window that comes of it.
func TestHyStart(t *testing.T) {
	p := newPath(Cubic, 16, 40*ms)
	h := &p.w.control.(*cubic).hystart
	p.round()
	p.round()
	if p.w.cwnd != 64*pathMSS || h.css {
		t.Fatalf("%v segments after two round trips, conservative %v", p.segments(), h.css)
	}
	p.rtt += 4 * ms // an eighth of 40 ms is 5: not yet
	p.round()
	if h.css {
		t.Fatal("round trips longer by 4 ms began conservative slow start")
	}
	p.rtt += 6 * ms // an eighth of 44 ms is 5.5
	before := p.w.cwnd
	p.round()
	if !h.css || h.baseline != p.rtt {
		t.Fatalf("conservative %v, baseline %v", h.css, h.baseline)
	}
	// All but the first samples of this round count for a quarter.
	if grown, most := p.w.cwnd-before, before/cssDivisor+2*hystartSamples*pathMSS; grown > most {
		t.Errorf("grown by %d in the first round, want %d at most", grown, most)
	}
	for i := 1; i < cssRounds; i++ {
		if p.w.ssthresh != maxCwnd {
			t.Fatalf("slow start was over in round %d", i)
		}
		before = p.w.cwnd
		p.round()
		if grown := p.w.cwnd - before; grown > before/cssDivisor || grown < before/cssDivisor-pathMSS {
			t.Errorf("grown by %d of %d in round %d", grown, before, i)
		}
	}
	p.round()
	if p.w.slowStart() || p.w.ssthresh == maxCwnd {
		t.Error("slow start goes on after five rounds")
	}
	if c := p.w.control.(*cubic); c.origin == 0 || c.k != 0 {
		t.Errorf("origin %v, K %v: section 4.10 of RFC 9438", c.origin, c.k)
	}
}

// Round trips that were longer by chance only: slow start is resumed.
func TestHyStartResumes(t *testing.T) {
	p := newPath(Cubic, 16, 40*ms)
	h := &p.w.control.(*cubic).hystart
	p.round()
	p.round()
	p.rtt = 50 * ms
	p.round()
	if !h.css {
		t.Fatal("no conservative slow start")
	}
	p.rtt = 41 * ms
	p.round()
	if h.css {
		t.Fatal("conservative slow start goes on")
	}
	before := p.w.cwnd
	p.round()
	if p.w.cwnd != 2*before {
		t.Errorf("grown from %d to %d", before, p.w.cwnd)
	}
}

// Section 4.2: each time that conservative slow start begins it lasts for five rounds, however
// many there were before it was left.
func TestHyStartRoundsBeginAnew(t *testing.T) {
	p := newPath(Cubic, 16, 40*ms)
	h := &p.w.control.(*cubic).hystart
	p.round()
	p.round()
	p.rtt = 50 * ms
	for range 4 {
		p.round()
	}
	if !h.css || p.w.ssthresh != maxCwnd {
		t.Fatalf("conservative %v, threshold %d", h.css, p.w.ssthresh)
	}
	p.rtt = 41 * ms
	p.round()
	p.round()
	if h.css {
		t.Fatal("conservative slow start goes on")
	}
	p.rtt = 60 * ms
	p.round()
	if !h.css {
		t.Fatal("no second conservative slow start")
	}
	for i := 1; i < cssRounds; i++ {
		p.w.cwnd = 100 * pathMSS // rounds need not be longer
		if p.round(); p.w.ssthresh != maxCwnd {
			t.Fatalf("slow start was over in round %d", i)
		}
	}
}

// What an ACK yields no round trip time of is no sample (section 4.2): it is neither counted nor
// taken for a round trip of zero, which would hide that others become longer.
func TestHyStartNoSample(t *testing.T) {
	// A round trip of which so many ACKs are measured.
	round := func(p *path, measured int) {
		n := int(p.w.cwnd / pathMSS)
		for i := range n {
			a := ackInfo{now: p.now, bytes: pathMSS, mss: pathMSS, srtt: p.rtt, una: p.una.Add(pathMSS)}
			if p.una, a.nxt = a.una, a.una.Add(p.w.cwnd); i < 2*measured && i%2 == 1 {
				a.rtt = p.rtt
			}
			p.w.control.acked(&p.w, &a)
		}
	}
	for _, tt := range []struct {
		measured int
		css      bool
	}{{hystartSamples - 1, false}, {hystartSamples, true}} {
		p := newPath(Cubic, 20, 40*ms)
		round(p, tt.measured)
		round(p, tt.measured)
		p.rtt = 60 * ms
		round(p, tt.measured)
		if got := p.w.control.(*cubic).hystart.css; got != tt.css {
			t.Errorf("%d samples a round trip, of 40 ms and then of 60: conservative %v", tt.measured, got)
		}
	}
}

// Too few samples in a round tell nothing; nor does a slow start that has been
// ended by a loss before.
func TestHyStartNeedsSamples(t *testing.T) {
	p := newPath(Cubic, hystartSamples-1, 40*ms)
	h := &p.w.control.(*cubic).hystart
	for i := range 10 {
		p.rtt += 20 * ms
		p.w.cwnd = (hystartSamples - 1) * pathMSS
		p.round()
		if h.css {
			t.Fatalf("conservative slow start in round %d", i)
		}
	}
	p = newPath(Cubic, 16, 40*ms)
	p.w.ssthresh = 1000 * pathMSS
	h = &p.w.control.(*cubic).hystart
	for range 4 {
		p.rtt += 20 * ms
		p.round()
	}
	if h.css || p.w.cwnd != 256*pathMSS {
		t.Errorf("conservative %v, cwnd %d", h.css, p.w.cwnd)
	}
}

// Short paths need 4 ms, long ones no more than 16.
func TestHyStartThreshold(t *testing.T) {
	for _, tt := range []struct {
		rtt, more time.Duration // ms
		css       bool
	}{{1, 3, false}, {1, 4, true}, {80, 9, false}, {80, 10, true}, {400, 15, false}, {400, 16, true}} {
		p := newPath(Cubic, 16, tt.rtt*ms)
		p.round()
		p.round()
		p.rtt += tt.more * ms
		p.round()
		if got := p.w.control.(*cubic).hystart.css; got != tt.css {
			t.Errorf("%d ms and %d ms more: conservative %v", tt.rtt, tt.more, got)
		}
	}
}
