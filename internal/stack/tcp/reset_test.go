package tcp

import (
	"syscall"
	"testing"
	"time"

	"github.com/zctap/zctap/internal/wire"
)

// RFC 5961: segments of an attacker who does not see the connection.
func TestBlindAttacks(t *testing.T) {
	challenge := []want{{1, 1, wire.ACK, 0}}
	const window = 60000 // less than what is offered
	for _, tt := range []struct {
		name     string
		seq, ack int
		flags    wire.Flags
		n        int
		out      []want
		state    State
	}{
		{"RST at RCV.NXT", 1, 0, wire.RST, 0, nil, Closed},
		{"RST at RCV.NXT with ACK", 1, 1, wire.RST | wire.ACK, 0, nil, Closed},
		{"RST in the window", 2, 0, wire.RST, 0, challenge, Established},
		{"RST far in the window", window, 0, wire.RST, 0, challenge, Established},
		{"RST before the window", 0, 0, wire.RST, 0, nil, Established},
		{"RST beyond the window", 1 << 28, 0, wire.RST, 0, nil, Established},
		{"SYN at RCV.NXT", 1, 0, wire.SYN, 0, challenge, Established},
		{"SYN in the window", 100, 0, wire.SYN, 0, challenge, Established},
		{"SYN outside", 1 << 28, 0, wire.SYN, 0, challenge, Established},
		{"SYN-ACK", 0, 1, wire.SYN | wire.ACK, 0, challenge, Established},
		{"data with an ACK of nothing sent", 1, 2, wire.ACK, 10, challenge, Established},
		{"data with a far too old ACK", 1, -70000, wire.ACK, 10, challenge, Established},
		{"data without ACK", 1, 0, 0, 10, nil, Established},
		{"data before the window", -100, 1, wire.ACK, 10, challenge, Established},
		{"data beyond the window", 1 << 28, 1, wire.ACK, 10, challenge, Established},
		{"ACK beyond the window", 1 << 28, 1, wire.ACK, 0, challenge, Established},
		{"FIN beyond the window", 1 << 28, 1, wire.FIN | wire.ACK, 0, challenge, Established},
	} {
		t.Run(tt.name, func(t *testing.T) {
			s := established(t, nil)
			s.expect("answer", s.inOut(tt.seq, tt.ack, tt.flags, make([]byte, tt.n)), tt.out...)
			s.state(tt.state)
			if got := s.received(); len(got) != 0 {
				t.Errorf("received %d bytes", len(got))
			}
		})
	}
}

func TestReset(t *testing.T) {
	s := established(t, nil)
	s.write(10)
	s.flush()
	s.in(1, 1, wire.ACK, []byte("before"))
	s.in(100, 1, wire.ACK, []byte("out of order"))
	s.expect("RST", s.inOut(7, 1, wire.RST, nil))
	s.closed()
	if got := s.received(); string(got) != "before" {
		t.Errorf("received %q", got)
	}
	if err := s.recvErr(); err != syscall.ECONNRESET {
		t.Error(err)
	}
	if _, err := s.c.Send.TryWrite([]byte("x")); err != syscall.ECONNRESET {
		t.Errorf("write: %v", err)
	}
	if s.sh.Stats.ResetsReceived != 1 {
		t.Errorf("%+v", s.sh.Stats)
	}
}

// RFC 5961 section 7: challenge ACKs are limited.
func TestChallengeLimit(t *testing.T) {
	s := established(t, nil)
	s.expect("first", s.inOut(2, 0, wire.RST, nil), seg(1, 1, wire.ACK, 0))
	for range 100 {
		s.expect("another", s.inOut(2, 0, wire.RST, nil))
		s.expect("of another kind", s.inOut(1, 0, wire.SYN, nil))
	}
	s.advance(challengeInterval)
	s.expect("later", s.inOut(2, 0, wire.RST, nil), seg(1, 1, wire.ACK, 0))
	if s.sh.Stats.ChallengeAcks != 2 {
		t.Errorf("%+v", s.sh.Stats)
	}
}

// What is behind the window, if by one, is not answered (RFC 5961 section 3.2).
func TestResetBehindWindow(t *testing.T) {
	s := established(t, nil)
	edge := 1 + int(s.c.offered())
	s.expect("behind it", s.inOut(edge, 0, wire.RST, nil))
	s.expect("at its end", s.inOut(edge-1, 0, wire.RST, nil), seg(1, 1, wire.ACK, 0))
	s.state(Established)
}

// The first is sent also when the clock has just begun.
func TestChallengeAtFirst(t *testing.T) {
	s := established(t, func(s *script) { s.now = 1 })
	s.expect("first", s.inOut(2, 0, wire.RST, nil), seg(1, 1, wire.ACK, 0))
}

// Nor is the limit passed by old ACKs of nothing new, when the peer's window has shrunk.
func TestChallengeLimitOfOldAcks(t *testing.T) {
	s := sending(t, 10)
	s.wnd = 1000
	s.inOut(1, 1, wire.ACK, nil)
	n := 0
	for range 100 {
		n += len(s.inOut(0, 1, wire.ACK, nil))
	}
	if n > 1 {
		t.Errorf("%d answers to 100 old ACKs at once", n)
	}
}

// A challenge that is not one: the real peer, restarted, answers with a RST that
// hits (RFC 5961 section 4.2).
func TestRestartedPeer(t *testing.T) {
	s := established(t, nil)
	out := s.inOut(12345, 0, wire.SYN, nil)
	s.expect("challenge", out, seg(1, 1, wire.ACK, 0))
	s.inOut(int(out[0].Ack.Sub(s.irs)), 0, wire.RST, nil)
	s.closed()
}

// RFC 9293 section 3.10.7.1.
func TestRefuse(t *testing.T) {
	for _, tt := range []struct {
		name  string
		flags wire.Flags
		n     int
		want  *wire.TCP // of a segment with SEQ 5100 and ACK 700
	}{
		{"SYN", wire.SYN, 0, &wire.TCP{Flags: wire.RST | wire.ACK, Ack: 5101}},
		{"data", 0, 10, &wire.TCP{Flags: wire.RST | wire.ACK, Ack: 5110}},
		{"data and FIN", wire.FIN, 10, &wire.TCP{Flags: wire.RST | wire.ACK, Ack: 5111}},
		{"ACK", wire.ACK, 10, &wire.TCP{Flags: wire.RST, Seq: 700}},
		{"SYN-ACK", wire.SYN | wire.ACK, 0, &wire.TCP{Flags: wire.RST, Seq: 700}},
		{"RST", wire.RST, 0, nil},
		{"RST-ACK", wire.RST | wire.ACK, 5, nil},
	} {
		t.Run(tt.name, func(t *testing.T) {
			s := newScript(t, 16, nil)
			segment := s.segment(100, 0, tt.flags, make([]byte, tt.n))
			segment.TCP.Ack = 700
			s.sh.Refuse(segment, testTuple)
			if tt.want == nil {
				if len(s.out) != 0 {
					t.Errorf("came out %+v", s.out)
				}
				return
			}
			if len(s.out) != 1 {
				t.Fatalf("came out %+v", s.out)
			}
			if o := s.out[0]; o.Seq != tt.want.Seq || o.Ack != tt.want.Ack || o.Flags != tt.want.Flags {
				t.Errorf("came out %v seq %d ack %d, want %+v", o.Flags, o.Seq, o.Ack, tt.want)
			}
		})
	}
}

// Two ends that disagree must not answer each other's ACKs for ever.
func TestNoAckLoop(t *testing.T) {
	s := established(t, nil)
	n := 0
	for range 1000 {
		n += len(s.inOut(1<<28, 1, wire.ACK, nil))
		s.advance(time.Millisecond)
	}
	if n > 3 {
		t.Errorf("%d ACKs in a second", n)
	}
}

// A RST is taken in with a closed window, too (RFC 9293 section 3.8.6, MUST-66).
func TestResetWithClosedWindow(t *testing.T) {
	s := scaled(t, 64, nil)
	b := s.take(63)
	s.c.rcv.adv = s.c.rcv.nxt
	s.expect("elsewhere", s.inOut(2, 1, wire.RST, nil))
	s.state(Established)
	s.in(1, 1, wire.RST, nil)
	s.state(Closed)
	s.giveBack(b)
}
