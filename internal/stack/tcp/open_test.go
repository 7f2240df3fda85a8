package tcp

import (
	"errors"
	"io"
	"net"
	"syscall"
	"testing"
	"time"

	"github.com/zctap/zctap/internal/wire"
)

// dial begins an active open and checks its SYN.
func dial(t *testing.T) *script {
	s := newScript(t, 1024, nil)
	s.c = Dial(s.sh, s.now, testTuple, testMSS)
	s.c.OnConnect = func(err error) { s.connectErr = append(s.connectErr, err) }
	s.expect("SYN", s.flush(), seg(0, 0, wire.SYN, 0))
	return s
}

func (s *script) connects(want error) {
	s.t.Helper()
	if len(s.connectErr) != 1 || !errors.Is(s.connectErr[0], want) && s.connectErr[0] != want {
		s.t.Fatalf("OnConnect got %v, want %v once", s.connectErr, want)
	}
}

func TestActiveOpen(t *testing.T) {
	s := dial(t)
	s.opts = wire.TCPOptions{MSS: 1000}
	out := s.inOut(0, 1, wire.SYN|wire.ACK, nil)
	s.expect("ACK", out, seg(1, 1, wire.ACK, 0))
	s.state(Established)
	s.connects(nil)
	if s.c.snd.mss != 1000 {
		t.Errorf("segments of %d bytes to a peer that takes 1000", s.c.snd.mss)
	}
	if s.sh.Stats.ActiveOpens != 1 {
		t.Errorf("%+v", s.sh.Stats)
	}
}

func TestActiveOpenWithDataAndFin(t *testing.T) {
	s := dial(t)
	out := s.inOut(0, 1, wire.SYN|wire.ACK|wire.FIN, []byte("hello"))
	s.expect("ACK of all", out, seg(1, 7, wire.ACK, 0))
	s.state(CloseWait)
	if got := s.received(); string(got) != "hello" {
		t.Errorf("received %q", got)
	}
	if err := s.recvErr(); err != io.EOF {
		t.Error(err)
	}
}

// RFC 9293 section 3.10.7.3.
func TestSynSent(t *testing.T) {
	for _, tt := range []struct {
		name  string
		ack   int
		flags wire.Flags
		out   []want
		state State
		err   error
	}{
		{"RST with right ACK", 1, wire.RST | wire.ACK, nil, Closed, syscall.ECONNREFUSED},
		{"RST without ACK", 0, wire.RST, nil, SynSent, nil},
		{"RST with wrong ACK", 2, wire.RST | wire.ACK, nil, SynSent, nil},
		{"ACK of nothing sent", 2, wire.ACK, []want{{2, 0, wire.RST, 0}}, SynSent, nil},
		{"SYN-ACK of nothing sent", 7, wire.SYN | wire.ACK, []want{{7, 0, wire.RST, 0}}, SynSent, nil},
		{"old ACK", 0, wire.ACK, []want{{0, 0, wire.RST, 0}}, SynSent, nil},
		{"right ACK without SYN", 1, wire.ACK, nil, SynSent, nil},
		{"no ACK, no SYN", 0, wire.PSH, nil, SynSent, nil},
	} {
		t.Run(tt.name, func(t *testing.T) {
			s := dial(t)
			s.expect("answer", s.inOut(0, tt.ack, tt.flags, nil), tt.out...)
			s.state(tt.state)
			if tt.err != nil {
				s.connects(tt.err)
				if !s.c.Done() {
					t.Error("not done")
				}
			} else if len(s.connectErr) != 0 {
				t.Error(s.connectErr)
			}
		})
	}
}

// RFC 9293 section 3.5, figure 8: both SYNs cross, then both SYN-ACKs.
func TestSimultaneousOpen(t *testing.T) {
	s := dial(t)
	s.expect("SYN-ACK for a SYN", s.inOut(0, 0, wire.SYN, nil), seg(0, 1, wire.SYN|wire.ACK, 0))
	s.state(SynReceived)
	s.in(0, 1, wire.SYN|wire.ACK, nil)
	s.state(Established)
	s.connects(nil)
}

func TestSimultaneousOpenRefused(t *testing.T) {
	s := dial(t)
	s.inOut(0, 0, wire.SYN, nil)
	s.inOut(1, 1, wire.RST|wire.ACK, nil)
	s.connects(syscall.ECONNREFUSED)
}

// RFC 6298 section 5.5 and 5.7, RFC 1122 section 4.2.3.5: 1, 2, 4 ... seconds,
// for at least three minutes.
func TestSynRetransmission(t *testing.T) {
	s := dial(t)
	for wait := time.Second; wait < maxRTO; wait *= 2 {
		s.expect("before the timer", s.advance(wait-1))
		s.expect("SYN again", s.advance(1), seg(0, 0, wire.SYN, 0))
	}
	s.advance(10 * time.Minute)
	s.state(Closed)
	s.connects(syscall.ETIMEDOUT)
	if s.sh.Stats.Retransmits < 6 {
		t.Errorf("SYN was repeated %d times", s.sh.Stats.Retransmits)
	}
}

// Nor is it given up earlier when the peer has opened, too, and our SYN has become a SYN-ACK.
func TestSimultaneousSynRetransmission(t *testing.T) {
	s := dial(t)
	s.inOut(0, 0, wire.SYN, nil)
	s.advance(synTimeout - time.Second)
	s.state(SynReceived)
	s.advance(2 * maxRTO)
	s.state(Closed)
	s.connects(syscall.ETIMEDOUT)
}

// After a SYN that was repeated there is no RTT sample (Karn) and the timeout
// starts at 3 s (RFC 6298 section 5.7).
func TestRepeatedSynGivesNoSample(t *testing.T) {
	s := dial(t)
	s.advance(time.Second)
	s.inOut(0, 1, wire.SYN|wire.ACK, nil)
	if s.c.rtt.srtt != 0 || s.c.rtt.timeout() != handshakeRTO {
		t.Errorf("srtt %v, timeout %v", s.c.rtt.srtt, s.c.rtt.timeout())
	}
	s = dial(t)
	s.advance(100 * time.Millisecond)
	s.inOut(0, 1, wire.SYN|wire.ACK, nil)
	if s.c.rtt.srtt != 100*time.Millisecond || s.c.rtt.timeout() != 300*time.Millisecond {
		t.Errorf("srtt %v, timeout %v", s.c.rtt.srtt, s.c.rtt.timeout())
	}
}

func TestAbortInSynSentIsSilent(t *testing.T) {
	s := dial(t)
	s.c.Abort(s.now)
	s.expect("abort", s.flush())
	s.connects(net.ErrClosed)
}

func TestPassiveOpen(t *testing.T) {
	s := established(t, nil)
	if len(s.accepted) != 1 || s.accepted[0] != s.c || s.l.Pending() != 0 {
		t.Errorf("accepted %v, pending %d", s.accepted, s.l.Pending())
	}
	if s.sh.Stats.PassiveOpens != 1 {
		t.Errorf("%+v", s.sh.Stats)
	}
}

// pending makes a connection in SYN-RECEIVED.
func pending(t *testing.T) *script {
	s := newScript(t, 1024, nil)
	s.c = s.l.Input(s.now, s.segment(0, 0, wire.SYN, nil), testTuple)
	s.expect("SYN-ACK", s.flush(), seg(0, 1, wire.SYN|wire.ACK, 0))
	return s
}

func TestSynReceived(t *testing.T) {
	for _, tt := range []struct {
		name     string
		seq, ack int
		flags    wire.Flags
		out      []want
		state    State
	}{
		{"ACK", 1, 1, wire.ACK, nil, Established},
		{"SYN again", 0, 0, wire.SYN, []want{{0, 1, wire.SYN | wire.ACK, 0}}, SynReceived},
		{"ACK of nothing sent", 1, 2, wire.ACK, []want{{2, 0, wire.RST, 0}}, SynReceived},
		{"old ACK", 1, 0, wire.ACK, []want{{0, 0, wire.RST, 0}}, SynReceived},
		{"RST", 1, 0, wire.RST, nil, Closed},
		{"RST in the window", 2, 0, wire.RST, []want{{1, 1, wire.ACK, 0}}, SynReceived},
		{"SYN in the window", 1, 0, wire.SYN, []want{{1, 1, wire.ACK, 0}}, SynReceived},
		{"no ACK", 1, 0, 0, nil, SynReceived},
		{"beyond the window", 1 << 20, 1, wire.ACK, []want{{1, 1, wire.ACK, 0}}, SynReceived},
		{"FIN with the ACK", 1, 1, wire.ACK | wire.FIN, []want{{1, 2, wire.ACK, 0}}, CloseWait},
	} {
		t.Run(tt.name, func(t *testing.T) {
			s := pending(t)
			s.expect("answer", s.inOut(tt.seq, tt.ack, tt.flags, nil), tt.out...)
			s.state(tt.state)
			if open := tt.state == SynReceived; open != (s.l.Pending() == 1) {
				t.Errorf("%d pending in %v", s.l.Pending(), tt.state)
			}
		})
	}
}

// The final ACK may be lost: data brings it too.
func TestDataCompletesHandshake(t *testing.T) {
	s := pending(t)
	s.in(1, 1, wire.ACK|wire.PSH, []byte("first"))
	s.expect("ACK", s.flush(), seg(1, 6, wire.ACK, 0))
	if got := s.received(); string(got) != "first" || len(s.accepted) != 1 {
		t.Errorf("received %q, accepted %d", got, len(s.accepted))
	}
}

func TestSynAckRetransmission(t *testing.T) {
	s := pending(t)
	s.expect("SYN-ACK again", s.advance(time.Second), seg(0, 1, wire.SYN|wire.ACK, 0))
	s.advance(synAckTimeout - 2*time.Second)
	s.state(SynReceived)
	s.advance(maxRTO)
	s.state(Closed)
	if s.l.Pending() != 0 || s.sh.Stats.FailedOpens != 1 {
		t.Errorf("pending %d, %+v", s.l.Pending(), s.sh.Stats)
	}
}

func TestListener(t *testing.T) {
	for _, tt := range []struct {
		name  string
		flags wire.Flags
		n     int
		out   []want // relative to 0
	}{
		{"RST", wire.RST, 0, nil},
		{"ACK", wire.ACK, 0, []want{{0, 0, wire.RST, 0}}},
		{"SYN-ACK", wire.SYN | wire.ACK, 0, []want{{0, 0, wire.RST, 0}}},
		{"data", 0, 10, nil},
		{"FIN", wire.FIN, 0, nil},
		{"SYN and FIN", wire.SYN | wire.FIN, 0, nil},
	} {
		t.Run(tt.name, func(t *testing.T) {
			s := newScript(t, 64, nil)
			if c := s.l.Input(s.now, s.segment(0, 0, tt.flags, make([]byte, tt.n)), testTuple); c != nil {
				t.Fatal("made a connection")
			}
			if len(s.out) != len(tt.out) || len(s.out) > 0 && s.out[0].Flags != wire.RST {
				t.Errorf("came out %+v", s.out)
			}
		})
	}
}

// Payload of a SYN is not taken, and not acknowledged.
func TestSynWithData(t *testing.T) {
	s := newScript(t, 64, nil)
	s.c = s.l.Input(s.now, s.segment(0, 0, wire.SYN, []byte("early")), testTuple)
	s.expect("SYN-ACK", s.flush(), seg(0, 1, wire.SYN|wire.ACK, 0))
}

func TestListenerBounds(t *testing.T) {
	s := pending(t)
	other := testTuple
	s.l.MaxPending = 1
	if c := s.l.Input(s.now, s.segment(0, 0, wire.SYN, nil), other); c != nil {
		t.Fatal("SYN was kept beyond MaxPending")
	}
	if out := s.flush(); len(out) != 1 || out[0].Flags != wire.SYN|wire.ACK {
		t.Errorf("SYN beyond MaxPending drew %+v, want a cookie", out)
	}
	s.l.MaxPending = 0
	s.full = true
	if c := s.l.Input(s.now, s.segment(0, 0, wire.SYN, nil), other); c != nil {
		t.Fatal("SYN was taken with a full backlog")
	}
	// A final ACK is not taken either; the SYN-ACK comes again.
	s.expect("ACK with a full backlog", s.inOut(1, 1, wire.ACK, nil))
	s.state(SynReceived)
	s.full = false
	s.expect("SYN-ACK again", s.advance(time.Second), seg(0, 1, wire.SYN|wire.ACK, 0))
	s.inOut(1, 1, wire.ACK, nil)
	s.state(Established)
	if s.sh.Stats.Drops.ListenerFull != 2 || s.sh.Stats.CookiesSent != 1 {
		t.Errorf("%+v", s.sh.Stats.Drops)
	}
}

func TestListenerClosed(t *testing.T) {
	s := pending(t)
	s.l.Close()
	s.expect("ACK to a closed listener", s.inOut(1, 1, wire.ACK, nil), seg(1, 1, wire.RST|wire.ACK, 0))
	s.state(Closed)
	if len(s.accepted) != 0 || s.l.Pending() != 0 {
		t.Errorf("accepted %d, pending %d", len(s.accepted), s.l.Pending())
	}
}

// RFC 6528: the numbers of two tuples are unrelated, and those of one grow with
// the clock.
func TestInitialSequenceNumbers(t *testing.T) {
	s := newScript(t, 64, nil)
	isn := func(port uint16, at time.Duration) wire.Seq {
		tu := testTuple
		tu.Remote = netipAddrPort(tu.Remote, port)
		return newConn(s.sh, s.now.Add(at), tu, testMSS).snd.iss
	}
	if d := isn(1, time.Second).Sub(isn(1, 0)); d != 15_625_000 {
		t.Errorf("ISN grows by %d a second, want one each 64 ns", d)
	}
	seen := map[wire.Seq]bool{}
	for port := range uint16(100) {
		// Nor does a timestamp, which each segment has, tell the secret part of the number.
		tu := testTuple
		tu.Remote = netipAddrPort(tu.Remote, port)
		if c := newConn(s.sh, s.now, tu, testMSS); uint32(c.snd.iss)-uint32(s.now/isnClock) == c.timestamp(s.now)-clock(s.now) {
			t.Fatalf("port %d: numbers and timestamps have the same offset", port)
		}
		seen[isn(port, 0)>>16] = true
	}
	if len(seen) < 90 {
		t.Errorf("100 tuples have ISNs of %d kinds", len(seen))
	}
}
