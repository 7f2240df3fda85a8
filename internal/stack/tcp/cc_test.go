package tcp

import (
	"testing"

	"github.com/zctap/zctap/internal/wire"
)

// RFC 5681 section 3.1.
func TestCongestionWindow(t *testing.T) {
	const mss = 1000
	for _, tt := range []struct {
		name       string
		in         congestion
		credit     uint32
		acked      uint32
		cwnd, rest uint32
	}{
		{"slow start", congestion{cwnd: 4000, ssthresh: 8000}, 0, 2000, 6000, 0},
		{"slow start, stretch ACK", congestion{cwnd: 4000, ssthresh: 80000}, 0, 30000, 34000, 0},
		{"slow start up to the threshold", congestion{cwnd: 1000, ssthresh: 5000}, 0, 10000, 6000, 1000},
		{"slow start up to a part of a segment", congestion{cwnd: 2000, ssthresh: 2500}, 0, 1000, 3000, 0},
		{"avoidance, part of a window", congestion{cwnd: 8000, ssthresh: 8000}, 0, 2000, 8000, 2000},
		{"avoidance, a window", congestion{cwnd: 8000, ssthresh: 8000}, 7000, 2000, 9000, 1000},
		{"bounded", congestion{cwnd: maxCwnd - 10, ssthresh: maxCwnd}, 0, 2000, maxCwnd, 0},
	} {
		t.Run(tt.name, func(t *testing.T) {
			w, r := tt.in, &reno{credit: tt.credit}
			r.acked(&w, &ackInfo{bytes: tt.acked, mss: mss})
			if w.cwnd != tt.cwnd || r.credit != tt.rest {
				t.Errorf("cwnd %d credit %d, want %d and %d", w.cwnd, r.credit, tt.cwnd, tt.rest)
			}
		})
	}
	for _, tt := range []struct{ flight, want uint32 }{{20000, 10000}, {3000, 2 * mss}} {
		w := congestion{control: new(reno)}
		if w.reduce(tt.flight, mss, false); w.ssthresh != tt.want {
			t.Errorf("threshold %d after a loss with %d in flight", w.ssthresh, tt.flight)
		}
	}
}

// RFC 6928 section 2.
func TestInitialWindow(t *testing.T) {
	for _, tt := range []struct{ mss, want uint32 }{{536, 5360}, {1460, 14600}, {4000, 14600}, {8960, 17920}} {
		if got := initialWindow(tt.mss); got != tt.want {
			t.Errorf("segments of %d: %d, want %d", tt.mss, got, tt.want)
		}
	}
}

// RFC 7661: a window that is not used does not grow.
func TestUnusedWindowDoesNotGrow(t *testing.T) {
	s := established(t, nil)
	for i := range 50 {
		s.write(100)
		s.flush()
		s.inOut(1, 101+100*i, wire.ACK, nil)
	}
	if s.c.cc.cwnd != initialWindow(testMSS) {
		t.Errorf("cwnd %d", s.c.cc.cwnd)
	}
	s.write(10 * testMSS)
	s.flush()
	s.inOut(1, 5001+10*testMSS, wire.ACK, nil)
	if s.c.cc.cwnd != 2*initialWindow(testMSS) {
		t.Errorf("cwnd %d after a full window", s.c.cc.cwnd)
	}
}

// RFC 5681 section 4.1.
func TestIdleRestart(t *testing.T) {
	s := established(t, nil)
	s.c.cc.cwnd = 100 * testMSS
	s.advance(steadyRTO + 1)
	s.write(50 * testMSS)
	s.expect("after a pause", s.flush(), seg(1, 1, wire.ACK, 10*testMSS))
	s = established(t, nil)
	s.c.cc.cwnd = 100 * testMSS
	s.advance(steadyRTO / 2)
	s.write(20 * testMSS)
	s.expect("without", s.flush(), seg(1, 1, wire.ACK, 20*testMSS))
}
