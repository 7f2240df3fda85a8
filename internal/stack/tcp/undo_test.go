package tcp

import (
	"testing"

	"github.com/zctap/zctap/internal/wire"
)

// DSACK undoes a reduction when all that was sent again is reported to have come twice,
// also after recovery, and not before; what was reported before the loss does not count, nor
// does what congestion has reduced since.
func TestUndoByDSACK(t *testing.T) {
	lost := func() (s *script, cwnd uint32) {
		s = sendingOver(t, 10, 10, false)
		cwnd = s.c.cc.cwnd
		s.advance(testRTT)
		s.sack(2, 3, 5, 6, 10) // segments 2 and 5 are lost
		s.advance(testRTT)
		s.sack(10)
		if s.c.loss.active || s.sh.Stats.Retransmits != 2 || s.c.cc.cwnd != cwnd/2 || s.c.cc.ssthresh != cwnd/2 {
			t.Fatalf("cwnd %d of %d, active %v, %+v", s.c.cc.cwnd, cwnd, s.c.loss.active, s.sh.Stats)
		}
		return s, cwnd
	}
	s, cwnd := lost()
	s.sack(10, 2, 3)
	if s.c.cc.cwnd != cwnd/2 || s.sh.Recovery.Undone != 0 {
		t.Errorf("one of two came twice: cwnd %d, %+v", s.c.cc.cwnd, s.sh.Recovery)
	}
	s.sack(10, 5, 6)
	if s.c.cc.cwnd != cwnd || s.c.cc.ssthresh != maxCwnd || s.sh.Recovery.Undone != 1 {
		t.Errorf("both came twice: cwnd %d, ssthresh %d, %+v", s.c.cc.cwnd, s.c.cc.ssthresh, s.sh.Recovery)
	}
	s.sack(10, 5, 6)
	if s.sh.Recovery.Undone != 1 {
		t.Error("undone twice")
	}

	s, cwnd = lost()
	s.sack(10, 0, 2)
	s.sack(10, 2, 3)
	if s.c.cc.cwnd != cwnd/2 || s.sh.Recovery.Undone != 0 {
		t.Errorf("segments of before the loss: cwnd %d, %+v", s.c.cc.cwnd, s.sh.Recovery)
	}

	s, cwnd = lost()
	s.c.ecn.on = true
	s.write(10 * testMSS)
	s.flush()
	s.inOut(1, s.at(10), wire.ACK|wire.ECE, nil)
	reduced := s.c.cc.cwnd
	s.sack(10, 2, 3)
	s.sack(10, 5, 6)
	if reduced >= cwnd/2 || s.c.cc.cwnd != reduced || s.sh.Recovery.Undone != 0 {
		t.Errorf("congestion since: cwnd %d, %+v", s.c.cc.cwnd, s.sh.Recovery)
	}
}
