package tcp

import (
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
			if got := s.c.Reopen(segment); got != tt.want {
				t.Fatalf("Reopen: %v, want %v", got, tt.want)
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
	if s.c.Reopen(s.segment(100000, 0, wire.SYN, nil)) {
		t.Error("an established connection was closed by a SYN")
	}
}

func TestMaxTimeWait(t *testing.T) {
	s := newScript(t, 64, func(c *Config) { c.MaxTimeWait = 1 })
	s.establish()
	s.sh.timeWaits = 1 // another connection's
	s.c.CloseWrite(s.now)
	s.flush()
	s.inOut(1, 2, wire.FIN|wire.ACK, nil)
	s.closed()
	if s.sh.Stats.TimeWaitOverflows != 1 || s.sh.timeWaits != 1 {
		t.Errorf("%+v, %d", s.sh.Stats, s.sh.timeWaits)
	}
	s.sh.timeWaits = 0
}
