package tcp

import (
	"syscall"
	"testing"

	"github.com/zctap/zctap/internal/wire"
)

// icmp gives the connection an ICMP error about the segment at seq, relative to our
// SYN, and reports whether it was believed.
func (s *script) icmp(seq int, m wire.ICMP) bool {
	m.Quote = wire.Quote{Flow: s.c.tuple, Seq: s.c.snd.iss.Add(uint32(seq))}
	return s.c.InputICMP(s.now, &m)
}

// tooBig is what a router says of packets that are longer than mtu.
func tooBig(mtu uint32) wire.ICMP {
	return wire.ICMP{Kind: wire.ICMPPacketTooBig, Type: 3, Code: 4, MTU: mtu}
}

func unreachable(code uint8) wire.ICMP {
	return wire.ICMP{Kind: wire.ICMPUnreachable, Type: 3, Code: code}
}

// Only what is under way can have drawn an error (RFC 5927 section 4.1).
func TestICMPSequenceNumbers(t *testing.T) {
	const mss = testMSS
	quarter := 1 << 30 // of all sequence numbers
	for _, m := range []wire.ICMP{tooBig(1000), unreachable(1)} {
		for seq, want := range map[int]bool{
			1 + 2*mss - 1: false, 1 + 2*mss: true, 1 + 3*mss: true, 1 + 6*mss - 1: true, 1 + 6*mss: false,
			quarter: false, 2*quarter + 10: false,
		} {
			s := sendingOver(t, 4, 6, false)
			s.sack(2) // two more go out
			if got := s.icmp(seq, m); got != want {
				t.Errorf("%v about %d: believed %v, want %v", m.Kind, seq, got, want)
			}
			if lowered := s.c.snd.mss < mss; lowered != (want && m.Kind == wire.ICMPPacketTooBig) {
				t.Errorf("%v about %d: segments of %d", m.Kind, seq, s.c.snd.mss)
			}
			if soft := s.c.path.soft != 0; soft != (want && m.Kind == wire.ICMPUnreachable) {
				t.Errorf("%v about %d: error %v", m.Kind, seq, s.c.path.soft)
			}
		}
	}
}

// A dial ends with what the error says; an answer to a SYN that came to us is only
// forgotten if there is no way back.
func TestICMPEndsHandshakes(t *testing.T) {
	for code, want := range map[uint8]error{
		0: syscall.ENETUNREACH, 1: syscall.EHOSTUNREACH, 2: syscall.ENOPROTOOPT, 3: syscall.ECONNREFUSED,
		5: syscall.EOPNOTSUPP, 7: syscall.EHOSTDOWN, 13: syscall.EHOSTUNREACH, 200: syscall.EHOSTUNREACH,
	} {
		s := dial(t)
		if s.icmp(1, unreachable(code)) || s.icmp(-1, unreachable(code)) {
			t.Error("an error about something that was not sent was believed")
		}
		if !s.icmp(0, unreachable(code)) {
			t.Errorf("code %d was not believed", code)
		}
		s.connects(want)
		s.state(Closed)
		if s.icmp(0, unreachable(code)) {
			t.Error("an error about a closed connection was believed")
		}
	}
	s := dial(t)
	if s.icmp(0, tooBig(576)) {
		t.Error("a SYN was too big")
	}
	s.state(SynSent)

	for code, want := range map[uint8]State{0: Closed, 1: Closed, 3: SynReceived, 13: SynReceived} {
		s := newScript(t, 64, nil)
		s.c = s.l.Input(s.now, s.segment(0, 0, wire.SYN, nil), testTuple)
		s.flush()
		s.icmp(0, unreachable(code))
		if s.flush(); s.c.state != want {
			t.Errorf("code %d for a SYN-ACK: %v, want %v", code, s.c.state, want)
		}
	}
}

// What a router said is the reason, if the connection is then given up, and the last
// ACK makes it forgotten.
func TestICMPIsTheReasonOfATimeout(t *testing.T) {
	for _, acked := range []bool{false, true} {
		s := sendingOver(t, 2, 2, false)
		if !s.icmp(1, unreachable(1)) {
			t.Fatal("not believed")
		}
		s.state(Established)
		want := error(syscall.EHOSTUNREACH)
		if acked {
			s.sack(1)
			want = syscall.ETIMEDOUT
		}
		s.advance(DefaultUserTimeout * 2)
		if err := s.recvErr(); err != want {
			t.Errorf("acknowledged %v: %v, want %v", acked, err, want)
		}
	}
}
