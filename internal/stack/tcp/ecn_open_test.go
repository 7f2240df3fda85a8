package tcp

import (
	"testing"
	"time"

	"github.com/zctap/zctap/internal/wire"
)

// marksData reports whether what is written goes out as of a transport that takes part.
func (s *script) marksData() bool {
	s.t.Helper()
	s.write(100)
	out := s.flush()
	if len(out) != 1 || len(out[0].payload) != 100 {
		s.t.Fatalf("%d segments came out", len(out))
	}
	return out[0].ect
}

// asking makes a connection whose SYN asks for ECN, or does not.
func asking(t *testing.T, ask bool) *script {
	t.Helper()
	s := newScript(t, 1024, func(c *Config) { c.ECN = ask })
	s.c = Dial(s.sh, s.now, testTuple, testMSS)
	flags := wire.SYN
	if ask {
		flags |= ecnSetup
	}
	s.expect("SYN", s.flush(), seg(0, 0, flags, 0))
	return s
}

// RFC 3168 section 6.1.1: a SYN-ACK takes part by ECE without CWR, and only if it was asked. Both
// are the flags of the SYN, which something has sent back that does not know them.
func TestECNAnswer(t *testing.T) {
	for _, tt := range []struct {
		ask    bool
		answer wire.Flags
		on     bool
	}{
		{true, wire.ECE, true}, {true, wire.ECE | wire.CWR, false}, {true, wire.CWR, false}, {true, 0, false},
		{false, wire.ECE, false}, {false, wire.ECE | wire.CWR, false},
	} {
		s := asking(t, tt.ask)
		s.expect("ACK", s.inOut(0, 1, wire.SYN|wire.ACK|tt.answer, nil), seg(1, 1, wire.ACK, 0))
		if got := s.marksData(); got != tt.on {
			t.Errorf("asked %v, the answer has %v: takes part %v", tt.ask, tt.answer, got)
		}
		// What looks like an echo is none for who does not take part.
		cwnd := s.c.cc.cwnd
		s.inOut(1, 1, wire.ACK|wire.ECE, nil)
		if reduced := s.c.cc.cwnd < cwnd || s.sh.Stats.MarksEchoed > 0; reduced != tt.on {
			t.Errorf("asked %v, the answer has %v: an echo reduces the window: %v", tt.ask, tt.answer, reduced)
		}
	}
}

// Of two SYNs that cross both have to ask (figure 8 of RFC 9293 section 3.5).
func TestECNSimultaneousOpen(t *testing.T) {
	for _, tt := range []struct{ ask, asked, on bool }{
		{true, true, true}, {true, false, false}, {false, true, false}, {false, false, false},
	} {
		s := asking(t, tt.ask)
		flags, answer := wire.SYN, wire.SYN|wire.ACK
		if tt.asked {
			flags |= ecnSetup
		}
		if tt.on {
			answer |= wire.ECE
		}
		s.expect("SYN-ACK", s.inOut(0, 0, flags, nil), seg(0, 1, answer, 0))
		s.inOut(1, 1, wire.ACK, nil)
		s.state(Established)
		if got := s.marksData(); got != tt.on {
			t.Errorf("asked %v, was asked %v: takes part %v", tt.ask, tt.asked, got)
		}
	}
}

// Section 6.1.1.1: a SYN that has to be repeated asks no more. What answers the first of them
// has the peer take part, but we do not mark.
func TestECNSynRepeated(t *testing.T) {
	s := asking(t, true)
	s.expect("SYN again", s.advance(initialRTO), seg(0, 0, wire.SYN, 0))
	s.inOut(0, 1, wire.SYN|wire.ACK|wire.ECE, nil)
	s.state(Established)
	if s.marksData() {
		t.Error("data is marked that a SYN did not ask for")
	}
	if !s.c.ecn.on {
		t.Error("the peer, which takes part, is not listened to")
	}
}

// A SYN that comes again without asking gets an answer without ECE, and data that is not marked;
// one that goes on asking does not.
func TestECNSynAgain(t *testing.T) {
	for _, again := range []wire.Flags{0, wire.ECE, wire.CWR, ecnSetup} {
		s := newScript(t, 1024, nil)
		s.c = s.l.Input(s.now, s.segment(0, 0, wire.SYN|ecnSetup, nil), testTuple)
		s.opts.MSS = 0
		s.expect("SYN-ACK", s.flush(), seg(0, 1, wire.SYN|wire.ACK|wire.ECE, 0))
		s.now = s.now.Add(time.Millisecond)
		want := wire.SYN | wire.ACK
		if again == ecnSetup {
			want |= wire.ECE
		}
		s.expect("SYN-ACK again", s.inOut(0, 0, wire.SYN|again, nil), seg(0, 1, want, 0))
		s.inOut(1, 1, wire.ACK, nil)
		if got := s.marksData(); got != (again == ecnSetup) {
			t.Errorf("the SYN came again with %v: data is marked: %v", again, got)
		}
	}
}

// A SYN that asks by one flag of the two does not ask; nor does who can't mark answer.
func TestECNPassiveOpen(t *testing.T) {
	for _, tt := range []struct {
		flags wire.Flags
		able  bool
		on    bool
	}{{ecnSetup, true, true}, {wire.ECE, true, false}, {wire.CWR, true, false}, {0, true, false}, {ecnSetup, false, false}} {
		s := newScript(t, 1024, func(c *Config) {
			if !tt.able {
				c.TransmitECT = nil
			}
		})
		s.c = s.l.Input(s.now, s.segment(0, 0, wire.SYN|tt.flags, nil), testTuple)
		s.opts.MSS = 0
		want := wire.SYN | wire.ACK
		if tt.on {
			want |= wire.ECE
		}
		s.expect("SYN-ACK", s.flush(), seg(0, 1, want, 0))
		s.inOut(1, 1, wire.ACK, nil)
		if got := s.marksData(); got != tt.on {
			t.Errorf("asked by %v, able %v: data is marked: %v", tt.flags, tt.able, got)
		}
	}
}
