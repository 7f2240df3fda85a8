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
