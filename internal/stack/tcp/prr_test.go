package tcp

import "testing"

// RFC 9937 section 8's arithmetic, in segments of 1000 bytes: a window of 20 of
// which one is lost.
func TestPRROneLoss(t *testing.T) {
	const mss, ssthresh = 1000, 10_000
	var p prr
	p.begin(20 * mss)
	pipe, out := uint32(16*mss), 0 // three SACKed, one lost
	for i := range 16 {
		if i > 0 {
			pipe -= mss
		}
		cwnd := p.window(mss, pipe, ssthresh, mss, i > 14)
		for pipe+mss <= cwnd {
			pipe, p.out = pipe+mss, p.out+mss
			out++
		}
	}
	// Half a segment goes out for each that arrives.
	if out < 8 || out > 10 {
		t.Errorf("%d segments sent for 16 that arrived", out)
	}
	if pipe < 9*mss || pipe > 11*mss {
		t.Errorf("%d bytes under way at the end", pipe)
	}
}

// Many losses: the window may grow back to the threshold, with what arrives, by one
// segment more for an ACK that made progress, and never beyond.
func TestPRRManyLosses(t *testing.T) {
	const mss, ssthresh = 1000, 10_000
	for _, safe := range []bool{false, true} {
		var p prr
		p.begin(20 * mss)
		p.out = mss
		got := p.window(2*mss, 4*mss, ssthresh, mss, safe)
		want := uint32(6 * mss)
		if safe {
			want += mss
		}
		if got != want {
			t.Errorf("safe %v: window %d, want %d", safe, got, want)
		}
		if got := p.window(20*mss, 4*mss, ssthresh, mss, safe); got != ssthresh {
			t.Errorf("safe %v: window %d, want the threshold", safe, got)
		}
	}
}

// What may be sent is rounded up: half a byte for one that arrived is a byte (RFC 9937 section 6.2).
func TestPRRRoundsUp(t *testing.T) {
	var p prr
	p.begin(20_000)
	p.out = 1000
	for delivered, want := range map[uint32]uint32{1999: 16_000, 2000: 16_000, 2001: 16_001, 2002: 16_001, 2003: 16_002} {
		p.delivered = 0
		if got := p.window(delivered, 16_000, 10_000, 1000, false); got != want {
			t.Errorf("window %d after %d bytes, want %d", got, delivered, want)
		}
	}
}

// The fast retransmission is sent whatever is under way.
func TestPRRFirst(t *testing.T) {
	var p prr
	p.begin(20_000)
	if got := p.window(0, 19_000, 10_000, 1000, false); got != 20_000 {
		t.Errorf("window %d", got)
	}
	p.out = 1000
	if got := p.window(0, 19_000, 10_000, 1000, false); got != 19_000 {
		t.Errorf("window %d", got)
	}
	p.begin(0) // nothing to divide by
	p.begin(0) // nothing to divide by
	p.window(1<<30, 1<<30, 1<<30, 1000, true)
	p.window(1<<30, 1<<30, 10_000, 1000, false)
}
