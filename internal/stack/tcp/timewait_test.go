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
	const ts = 1000
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
	} {
		t.Run(tt.name, func(t *testing.T) {
			s := timeWaiting(t, func(s *script) {
				if tt.ts != 0 {
					s.opts.HasTimestamps, s.opts.TSVal = true, ts
				}
			})
			s.opts.TSVal = tt.ts
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
