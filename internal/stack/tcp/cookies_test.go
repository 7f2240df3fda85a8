package tcp

import (
	"testing"
	"time"

	"github.com/zctap/zctap/internal/mono"
	"github.com/zctap/zctap/internal/wire"
)

// cookie has the peer send a SYN to a listener that keeps none, and returns the
// answer.
func cookie(t *testing.T, syn wire.TCPOptions) (*script, sent) {
	t.Helper()
	s := newScript(t, 1024, nil)
	s.l.MaxPending = -1
	s.opts = syn
	before := s.sh.conns
	if c := s.l.Input(s.now, s.segment(0, 0, wire.SYN, nil), testTuple); c != nil {
		t.Fatal("the SYN was kept")
	}
	out := s.flush()
	if len(out) != 1 || out[0].Flags != wire.SYN|wire.ACK || out[0].Ack != s.irs+1 {
		t.Fatalf("SYN drew %+v", out)
	}
	if s.sh.conns != before || s.l.Pending() != 0 || s.sh.Stats.CookiesSent != 1 {
		t.Fatalf("%d connections, %d pending, %d cookies", s.sh.conns, s.l.Pending(), s.sh.Stats.CookiesSent)
	}
	return s, out[0]
}

// ack is the peer's answer to a cookie.
func (s *script) ack(cookie sent, payload []byte) *Segment {
	g := s.segment(1, 0, wire.ACK, payload)
	g.TCP.Ack = cookie.Seq + 1
	g.TCP.Options = wire.TCPOptions{}
	if cookie.Options.HasTimestamps {
		g.TCP.Options = wire.TCPOptions{HasTimestamps: true, TSVal: s.opts.TSVal + 1, TSEcr: cookie.Options.TSVal}
	}
	return g
}

// complete gives the listener an ACK, and reports whether it made a connection.
func (s *script) complete(g *Segment) bool {
	s.t.Helper()
	c, taken := s.l.Complete(s.now, g, testTuple)
	if !taken {
		s.pool.PutFrags(g.Frags)
	}
	if c == nil {
		return false
	}
	s.c = c
	return true
}

// TestCookie: what was agreed on is known when the answer comes, as if it had been
// kept.
func TestCookie(t *testing.T) {
	for _, tt := range []struct {
		name    string
		syn     wire.TCPOptions
		mss     uint32
		scaling bool
		sack    bool
	}{
		{"no options", wire.TCPOptions{}, 536, false, false},
		{"tiny MSS", wire.TCPOptions{MSS: 1}, 88, false, false},
		{"MSS", wire.TCPOptions{MSS: 1460}, 1460, false, false},
		{"odd MSS", wire.TCPOptions{MSS: 1459}, 1440, false, false},
		{"jumbo MSS", wire.TCPOptions{MSS: 8960}, testMSS, false, false}, // ours bounds it
		{"no timestamps", wire.TCPOptions{MSS: 1460, SACKPermitted: true, HasWindowScale: true, WindowScale: 7}, 1460, false, false},
		{"timestamps", wire.TCPOptions{MSS: 1460, HasTimestamps: true, TSVal: 77}, 1448, false, false},
		{"SACK", wire.TCPOptions{MSS: 1460, HasTimestamps: true, TSVal: 77, SACKPermitted: true}, 1448, false, true},
		{"window scale", wire.TCPOptions{MSS: 1460, HasTimestamps: true, TSVal: 77, HasWindowScale: true, WindowScale: 14}, 1448, true, false},
		{"window scale of 0", wire.TCPOptions{MSS: 1460, HasTimestamps: true, TSVal: 77, HasWindowScale: true}, 1448, true, false},
		{"all", wire.TCPOptions{MSS: 1400, HasTimestamps: true, TSVal: 1<<32 - 1, SACKPermitted: true, HasWindowScale: true, WindowScale: 9}, 1388, true, true},
	} {
		t.Run(tt.name, func(t *testing.T) {
			s, answer := cookie(t, tt.syn)
			o := &answer.Options
			if o.MSS != testMSS || o.HasTimestamps != tt.syn.HasTimestamps || o.HasWindowScale != tt.scaling || o.SACKPermitted != tt.sack {
				t.Errorf("SYN-ACK has %+v", *o)
			}
			if o.HasTimestamps && o.TSEcr != tt.syn.TSVal {
				t.Errorf("echo of %d", o.TSEcr)
			}
			s.now = s.now.Add(30 * time.Millisecond)
			if !s.complete(s.ack(answer, stream(0, 100))) {
				t.Fatal("the ACK made no connection")
			}
			c := s.c
			s.opts = wire.TCPOptions{HasTimestamps: tt.syn.HasTimestamps, TSVal: s.opts.TSVal + 1}
			out := s.flush()
			s.expect("ACK", out, seg(1, 101, wire.ACK, 0))
			if o.HasTimestamps && int32(out[0].Options.TSVal-o.TSVal) < 0 {
				t.Errorf("timestamp %d after %d: PAWS would drop it", out[0].Options.TSVal, o.TSVal)
			}
			if d := int(int32(c.timestamp(s.now.Add(-30*time.Millisecond)) - o.TSVal)); o.HasTimestamps && (d < 0 || d > cookieBits) {
				t.Errorf("the cookie's timestamp is %d ms old", d)
			}
			s.state(Established)
			if string(s.received()) != string(stream(0, 100)) {
				t.Error("the ACK's payload was not delivered")
			}
			if c.snd.mss != tt.mss || c.opt.scaling != tt.scaling || c.opt.sack != tt.sack || c.opt.timestamps != tt.syn.HasTimestamps {
				t.Errorf("MSS %d, %+v", c.snd.mss, c.opt)
			}
			if tt.scaling && (c.opt.sndShift != tt.syn.WindowScale || c.opt.rcvShift != o.WindowScale) {
				t.Errorf("shifts %d and %d", c.opt.sndShift, c.opt.rcvShift)
			}
			if c.snd.wnd != uint32(s.wnd)<<c.opt.sndShift {
				t.Errorf("window %d", c.snd.wnd)
			}
			if c.rcv.adv.Sub(s.irs+1) < int32(answer.Window) {
				t.Errorf("window of %d, but %d was offered", c.rcv.adv.Sub(s.irs+1), answer.Window)
			}
			if len(s.accepted) != 1 || s.l.Pending() != 0 || s.sh.Stats.CookiesAccepted != 1 || s.sh.Stats.PassiveOpens != 1 {
				t.Errorf("accepted %d, pending %d, %+v", len(s.accepted), s.l.Pending(), s.sh.Stats)
			}
			// Both directions work.
			s.write(5000)
			n := 0
			for _, o := range s.flush() {
				n += len(o.payload)
			}
			if n != min(5000, int(initialWindow(tt.mss))) {
				t.Errorf("sent %d bytes", n)
			}
		})
	}
}

// TestCookieRefused: an ACK that acknowledges no cookie makes no connection.
func TestCookieRefused(t *testing.T) {
	all := wire.TCPOptions{MSS: 1460, HasTimestamps: true, TSVal: 77, SACKPermitted: true, HasWindowScale: true, WindowScale: 7}
	for name, forge := range map[string]func(s *script, g *Segment, tu *wire.Tuple){
		"next number":        func(_ *script, g *Segment, _ *wire.Tuple) { g.TCP.Ack += 8 },
		"previous number":    func(_ *script, g *Segment, _ *wire.Tuple) { g.TCP.Ack -= 8 },
		"no such size":       func(s *script, g *Segment, tu *wire.Tuple) { g.TCP.Ack = s.sh.cookieHash(tu, s.irs, 0) + 9 },
		"other number":       func(_ *script, g *Segment, _ *wire.Tuple) { g.TCP.Ack ^= 1 << 31 },
		"peer's number":      func(_ *script, g *Segment, _ *wire.Tuple) { g.TCP.Seq++ },
		"peer's port":        func(_ *script, _ *Segment, tu *wire.Tuple) { tu.Remote = netipAddrPort(tu.Remote, 40001) },
		"our port":           func(_ *script, _ *Segment, tu *wire.Tuple) { tu.Local = netipAddrPort(tu.Local, 81) },
		"too old":            func(s *script, _ *Segment, _ *wire.Tuple) { s.now = s.now.Add(128*time.Second + 1) },
		"too old in a flood": func(s *script, _ *Segment, _ *wire.Tuple) { s.now = s.now.Add(128 * time.Second); s.l.cookieAt = s.now },
		"no flood":           func(s *script, _ *Segment, _ *wire.Tuple) { s.l.cookieAt = 0 },
		"listener closed":    func(s *script, _ *Segment, _ *wire.Tuple) { s.l.Close() },
		"another secret":     func(s *script, _ *Segment, _ *wire.Tuple) { s.sh.Hasher = wire.KeyedHasher([16]byte{2}) },
	} {
		t.Run(name, func(t *testing.T) {
			s, answer := cookie(t, all)
			g, tu := s.ack(answer, nil), testTuple
			forge(s, g, &tu)
			if c, taken := s.l.Complete(s.now, g, tu); c != nil || taken {
				t.Error("the ACK was taken")
			}
			if len(s.accepted) != 0 || s.sh.conns != 0 {
				t.Errorf("%d accepted, %d connections", len(s.accepted), s.sh.conns)
			}
		})
	}
}

// TestCookieLives: a cookie is good until the end of the period behind its own; and again for data,
// when the ACK was lost.
func TestCookieLives(t *testing.T) {
	for _, after := range []time.Duration{0, time.Second, 64*time.Second - 1, 64 * time.Second, 127*time.Second - 1} {
		s, answer := cookie(t, wire.TCPOptions{MSS: 1460})
		s.now = s.now.Add(after)
		if !s.complete(s.ack(answer, stream(0, 10))) {
			t.Errorf("refused after %v", after)
		}
		s.flush()
		s.received()
	}
}

// TestCookieConnection: of a connection that was not kept what the SYN-ACK offered is known, and
// the round trip, and which timestamp to echo, as of one that was.
func TestCookieConnection(t *testing.T) {
	s, answer := cookie(t, wire.TCPOptions{MSS: 1460, HasTimestamps: true, TSVal: 77})
	s.now = s.now.Add(80 * ms)
	if !s.complete(s.ack(answer, nil)) {
		t.Fatal("refused")
	}
	if s.c.offered() != uint32(answer.Window) {
		t.Errorf("%d bytes are taken, %d were offered", s.c.offered(), answer.Window)
	}
	if rtt := s.c.rtt.srtt; rtt < 80*ms || rtt > (80+cookieBits+1)*ms {
		t.Errorf("round trip of %v", rtt)
	}
	s.opts = wire.TCPOptions{HasTimestamps: true, TSVal: 200, TSEcr: answer.Options.TSVal}
	out := s.inOut(1, 1, wire.ACK|wire.PSH, stream(0, 10))
	if len(out) != 1 || out[0].Options.TSEcr != 200 {
		t.Errorf("came out %+v, want an echo of 200", out)
	}
	s.received()
}

// TestCookieFullBacklog: the peer is left in the belief that it is connected, and
// completes the handshake when there is room.
func TestCookieFullBacklog(t *testing.T) {
	s, answer := cookie(t, wire.TCPOptions{MSS: 1460})
	s.full = true
	if c, taken := s.l.Complete(s.now, s.ack(answer, stream(0, 10)), testTuple); c != nil || !taken {
		t.Errorf("with a full backlog: %v, %v", c, taken)
	}
	s.expect0(s.flush())
	s.full = false
	if !s.complete(s.ack(answer, stream(0, 10))) {
		t.Error("refused when there was room")
	}
	s.flush()
	s.received()
}

// expect0 wants nothing to have come out, of no connection.
func (s *script) expect0(out []sent) {
	s.t.Helper()
	if len(out) != 0 {
		s.t.Errorf("came out: %+v", out)
	}
}

// TestCookiesAreUnpredictable: those of neighboring ports, numbers and periods are
// unrelated.
func TestCookiesAreUnpredictable(t *testing.T) {
	s := newScript(t, 64, nil)
	seen := map[wire.Seq]bool{}
	for i := range 300 {
		tu := testTuple
		tu.Remote = netipAddrPort(tu.Remote, uint16(i))
		for _, h := range []wire.Seq{
			s.sh.cookieHash(&tu, 5, 7), s.sh.cookieHash(&testTuple, wire.Seq(1000+i), 7), s.sh.cookieHash(&testTuple, 5, mono.Time(8+i)),
		} {
			seen[h>>8] = true
		}
	}
	if len(seen) < 895 {
		t.Errorf("900 cookies are of %d kinds", len(seen))
	}
}
