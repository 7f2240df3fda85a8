package tcp

import (
	"testing"

	"github.com/zctap/zctap/internal/wire"
)

// An echo tells of a round trip what was sent again does not (RFC 7323 section 4). A zero is none: it is
// what segments have that echo nothing (section 3.2); nor is one of a time to come.
func TestEchoThatIsNone(t *testing.T) {
	for _, tt := range []struct {
		name    string
		echo    int64 // before the ACK, in milliseconds; -1: 0 is echoed
		sampled bool
	}{{"20 ms ago", 20, true}, {"now", 0, true}, {"zero", -1, false}, {"in 5 ms", -5, false}} {
		s := established(t, func(s *script) { s.opts.HasTimestamps, s.opts.TSVal = true, 1 })
		s.c.opt.tsOffset = 1000 - milliseconds(s.now) // of zero the clock would say that it was a second ago
		s.c.rtt.sample(testRTT)
		srtt := s.c.rtt.srtt
		s.write(100)
		s.flush()
		s.advance(s.c.rtt.timeout())
		s.advance(30 * ms)
		if s.opts.TSEcr = s.c.timestamp(s.now) - uint32(tt.echo); tt.echo == -1 {
			s.opts.TSEcr = 0
		}
		s.inOut(1, 101, wire.ACK, nil)
		if got := s.c.rtt.srtt != srtt; got != tt.sampled || s.sh.Stats.Timeouts != 1 {
			t.Errorf("%s: srtt was %v, is %v; %d timeouts", tt.name, srtt, s.c.rtt.srtt, s.sh.Stats.Timeouts)
		}
		if backedOff := s.c.rtt.backoff != 0; backedOff == tt.sampled {
			t.Errorf("%s: backed off %v", tt.name, backedOff)
		}
	}
}

// Nor does a zero tell that what arrived was sent before it was sent again (Eifel, RFC 3522 section 3.2).
func TestZeroEchoUndoesNothing(t *testing.T) {
	for _, zero := range []bool{true, false} {
		s := sendingOver(t, 10, 20, true)
		s.c.opt.tsOffset = 0
		first := s.c.timestamp(s.now)
		s.advance(testRTT)
		s.sack(0, 1, 4)
		if !s.c.loss.active || s.sh.Stats.Retransmits != 1 {
			t.Fatalf("%+v", s.sh.Stats)
		}
		s.advance(ms)
		if s.opts.TSEcr = first; zero {
			s.opts.TSEcr = 0
		}
		s.inOut(1, s.at(4), wire.ACK, nil)
		if undone := s.sh.Recovery.Undone == 1; undone == zero {
			t.Errorf("zero %v: undone %v", zero, undone)
		}
	}
}

// While a segment is timed, ACKs of others yield no samples: one a round trip.
func TestNoSampleBesideTheTimed(t *testing.T) {
	s := sendingOver(t, 4, 4, true)
	srtt := s.c.rtt.srtt
	if !s.c.rtt.timing {
		t.Fatal("nothing is timed")
	}
	s.advance(testRTT / 2)
	s.opts.TSEcr = s.c.timestamp(s.now)
	for i := 1; i < 4; i++ {
		if s.inOut(1, s.at(i), wire.ACK, nil); s.c.rtt.srtt != srtt {
			t.Fatalf("srtt was %v, is %v after ACK %d", srtt, s.c.rtt.srtt, i)
		}
	}
	if s.inOut(1, s.at(4), wire.ACK, nil); s.c.rtt.srtt == srtt {
		t.Error("no sample of the timed one")
	}
}
