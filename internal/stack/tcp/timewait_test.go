package tcp

import (
	"reflect"
	"testing"
	"time"

	"github.com/zctap/zctap/internal/wire"
)

// timeWaiting makes a connection in TIME-WAIT: the peer's next number is 2, ours
// is 2.
func timeWaiting(t *testing.T, change func(*script)) *script {
	s := established(t, change)
	s.c.CloseWrite(s.now)
	s.flush()
	s.inOut(1, 2, wire.FIN|wire.ACK, nil)
	s.state(TimeWait)
	return s
}

func TestTimeWait(t *testing.T) {
	ack := []want{{2, 2, wire.ACK, 0}}
	s := timeWaiting(t, nil)
	for _, tt := range []struct {
		name    string
		seq     int
		flags   wire.Flags
		n       int
		out     []want
		restart bool
	}{
		{"FIN again", 1, wire.FIN | wire.ACK, 0, ack, true},
		{"RST at the right number", 2, wire.RST, 0, nil, false}, // RFC 1337
		{"old data", 1, wire.ACK, 10, ack, false},
		{"new data", 2, wire.ACK, 10, ack, false},
		{"ACK", 2, wire.ACK, 0, nil, false},
		{"old ACK", -5, wire.ACK, 0, ack, false},
		{"SYN", 1, wire.SYN, 0, ack, false},
		{"another FIN", 2, wire.FIN | wire.ACK, 0, nil, false},
		{"ACK at the window's end", 2 + int(s.c.offered()), wire.ACK, 0, nil, false},
		{"ACK behind the window", 3 + int(s.c.offered()), wire.ACK, 0, ack, false},
	} {
		t.Run(tt.name, func(t *testing.T) {
			s := timeWaiting(t, nil)
			s.advance(40 * time.Second)
			s.expect("answer", s.inOut(tt.seq, 2, tt.flags, make([]byte, tt.n)), tt.out...)
			s.state(TimeWait)
			s.advance(40 * time.Second)
			if restarted := s.c.state == TimeWait; restarted != tt.restart {
				t.Errorf("restarted %v, want %v", restarted, tt.restart)
			}
		})
	}
}

// RFC 9293 section 3.6.1, RFC 6191.
func TestReopen(t *testing.T) {
	const ts, none = 1000, 1
	for _, tt := range []struct {
		name  string
		ts    uint32 // 0: without timestamps
		seq   int
		flags wire.Flags
		want  bool
	}{
		{"higher number", 0, 3, wire.SYN, true},
		{"same number", 0, 2, wire.SYN, false},
		{"lower number", 0, 1, wire.SYN, false},
		{"not a SYN", 0, 3, wire.ACK, false},
		{"SYN-ACK", 0, 3, wire.SYN | wire.ACK, false},
		{"RST", 0, 3, wire.SYN | wire.RST, false},
		{"newer timestamp, lower number", ts + 1, 1, wire.SYN, true},
		{"older timestamp, higher number", ts - 1, 3, wire.SYN, false},
		{"same timestamp, higher number", ts, 3, wire.SYN, true},
		{"same timestamp, same number", ts, 2, wire.SYN, false},
		{"no timestamp any more, higher number", none, 3, wire.SYN, true},
		{"no timestamp any more, lower number", none, 1, wire.SYN, false},
	} {
		t.Run(tt.name, func(t *testing.T) {
			s := timeWaiting(t, func(s *script) {
				if tt.ts != 0 {
					s.opts.HasTimestamps, s.opts.TSVal = true, ts
				}
			})
			if s.opts.TSVal = tt.ts; tt.ts == none {
				s.opts.HasTimestamps, s.opts.TSVal = false, 0
			}
			segment := s.segment(tt.seq, 2, tt.flags, nil)
			w := s.c.Reopen(segment)
			if (w != nil) != tt.want {
				t.Fatalf("Reopen: %v, want %v", w, tt.want)
			}
			if !tt.want {
				s.state(TimeWait)
				return
			}
			s.flush()
			s.closed()
			old := s.c
			if s.c = s.l.Input(s.now, segment, testTuple); s.c == nil || s.c == old {
				t.Fatal("no new connection")
			}
		})
	}
}

func TestReopenOnlyInTimeWait(t *testing.T) {
	s := established(t, nil)
	if s.c.Reopen(s.segment(100000, 0, wire.SYN, nil)) != nil {
		t.Error("an established connection was closed by a SYN")
	}
}

// TestRetire: when all is put out what is left is small, and does what the connection did.
func TestRetire(t *testing.T) {
	s := established(t, nil)
	if s.c.Retire() != nil {
		t.Fatal("an established connection retires")
	}
	s.c.CloseWrite(s.now)
	s.flush()
	s.in(1, 2, wire.FIN|wire.ACK, nil)
	if s.c.Retire() != nil {
		t.Fatal("it retires with an ACK due")
	}
	s.expect("ACK", s.flush(), seg(2, 2, wire.ACK, 0))
	w := s.c.Retire()
	if w == nil || !s.c.Done() || s.c.Deadline() != 0 || s.c.State() != TimeWait || s.sh.timeWaits != 1 || s.sh.conns != 0 {
		t.Fatalf("%+v, done %v, %v, %d in TIME-WAIT", w, s.c.Done(), s.c.State(), s.sh.timeWaits)
	}
	if n := reflect.TypeFor[Wait]().Size(); n > 192 {
		t.Errorf("%d bytes", n)
	}
	s.now = s.now.Add(time.Second)
	w.Input(s.now, s.segment(1, 2, wire.FIN|wire.ACK, nil))
	s.expect("FIN again", s.flush(), seg(2, 2, wire.ACK, 0))
	if w.Due != s.now.Add(DefaultTimeWait) {
		t.Errorf("due in %v", w.Due.Sub(s.now))
	}
	// The application, which still has the connection, changes nothing.
	s.c.Recv.Close()
	s.c.Close(s.now)
	s.c.Abort(s.now)
	s.expect("close", s.flush())
	w.End()
	w.End()
	if s.c.State() != Closed || s.sh.timeWaits != 0 {
		t.Errorf("%v, %d in TIME-WAIT", s.c.State(), s.sh.timeWaits)
	}
}

// TestWaitEchoes: the ACK of a FIN that comes again echoes its timestamp (RFC 7323 section 4.3),
// or the peer would take the time of its repeating for a round trip; but none goes back.
func TestWaitEchoes(t *testing.T) {
	s := timeWaiting(t, func(s *script) { s.opts.HasTimestamps, s.opts.TSVal = true, 1000 })
	for _, tt := range []struct{ ts, echo uint32 }{{1000, 1000}, {1300, 1300}, {1200, 1300}} {
		s.opts.TSVal = tt.ts
		if out := s.inOut(1, 2, wire.FIN|wire.ACK, nil); len(out) != 1 || out[0].Options.TSEcr != tt.echo {
			t.Errorf("FIN with %d: came out %+v, want an echo of %d", tt.ts, out, tt.echo)
		}
	}
}

// TestWaitWindow: what was offered last stays so (RFC 9293 section 3.8.6: the right edge is not
// to move left), before and after the connection has retired.
func TestWaitWindow(t *testing.T) {
	for _, retired := range []bool{false, true} {
		s := established(t, nil)
		s.c.CloseWrite(s.now)
		s.flush()
		out := s.inOut(1, 2, wire.FIN|wire.ACK, make([]byte, 4000))
		s.state(TimeWait)
		if len(out) != 1 || len(s.received()) != 4000 {
			t.Fatalf("came out %+v", out)
		}
		offered, again := out[0].Window, s.segment(4001, 2, wire.FIN|wire.ACK, nil)
		if !retired {
			s.c.Input(s.now, again)
		} else if w := s.c.Retire(); w != nil {
			w.Input(s.now, again)
			w.End()
		}
		if out := s.flush(); len(out) != 1 || out[0].Window != offered {
			t.Errorf("retired %v: came out %+v, want a window of %d", retired, out, offered)
		}
	}
}

// TestWaitChallenges: segments that cost their sender nothing are answered now and
// then only.
func TestWaitChallenges(t *testing.T) {
	for _, flags := range []wire.Flags{wire.SYN, wire.ACK} {
		s := timeWaiting(t, nil)
		for range 100 {
			s.in(-1000, 2, flags, nil)
			s.now = s.now.Add(10 * time.Millisecond)
		}
		if n := len(s.flush()); n != 2 {
			t.Errorf("%v: %d answers in a second, want 2", flags, n)
		}
	}
}

// TestFollow: the numbers of the next connection begin beyond the old one's, however
// many those were.
func TestFollow(t *testing.T) {
	s := timeWaiting(t, nil)
	s.c.wait.snd = s.c.wait.snd.Add(1 << 30) // a fast connection's
	w := s.c.Reopen(s.segment(3, 0, wire.SYN, nil))
	s.flush()
	next := s.l.Input(s.now, s.segment(3, 0, wire.SYN, nil), testTuple)
	next.Follow(w)
	out := s.flush()
	if len(out) != 1 || !w.snd.LessThan(out[0].Seq) {
		t.Errorf("the next connection begins with %+v, the last one ended with %d", out, w.snd)
	}
	s.c = next
	// Numbers that are beyond already stay: they are nobody's to foresee (RFC 6528).
	s.c.snd.iss = w.snd.Add(1 << 20)
	if s.c.Follow(w); s.c.snd.iss != w.snd.Add(1<<20) {
		t.Errorf("%d became %d behind %d", w.snd.Add(1<<20), s.c.snd.iss, w.snd)
	}
}

// TestReusable: with timestamps, from a second on.
func TestReusable(t *testing.T) {
	for _, timestamps := range []bool{false, true} {
		s := timeWaiting(t, func(s *script) { s.opts.HasTimestamps = timestamps })
		for after, want := range map[time.Duration]bool{0: false, reuseAfter - 1: false, reuseAfter: timestamps, 50 * time.Second: timestamps} {
			if got := s.c.wait.Reusable(s.now.Add(after)); got != want {
				t.Errorf("timestamps %v, after %v: %v", timestamps, after, got)
			}
		}
	}
}
