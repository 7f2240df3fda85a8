package tcp

import (
	"testing"

	"github.com/zctap/zctap/internal/wire"
)

// What was sent into a window that closed meanwhile is sent again as soon as that opens, and the
// timer begins anew: it was backed off for a peer that does answer.
func TestReopenedAfterTimeouts(t *testing.T) {
	s := sendingOver(t, 2, 2, false)
	full := int(s.c.snd.mss)
	s.wnd = 0
	s.inOut(1, 1, wire.ACK, nil)
	for s.sh.Stats.Timeouts < 3 {
		s.advance(ms)
	}
	s.wnd = 60000
	out := s.inOut(1, 1, wire.ACK, nil)
	if len(out) == 0 || int(out[0].Seq.Sub(s.c.snd.iss)) != 1 || len(out[0].payload) < full {
		t.Fatalf("the window opens: %d segments came out", len(out))
	}
	if due := s.c.timers[timerRetransmit].Sub(s.now); s.c.rtt.backoff != 0 || due != s.c.rtt.rto {
		t.Errorf("backed off %d times, the next timeout is in %v, want %v", s.c.rtt.backoff, due, s.c.rtt.rto)
	}
}
