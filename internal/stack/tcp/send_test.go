package tcp

import (
	"testing"
	"time"

	"github.com/zctap/zctap/internal/wire"
)

func TestSendSuperSegments(t *testing.T) {
	s := newScript(t, 64, func(c *Config) { c.MaxSuper = 5 * testMSS })
	s.establish()
	s.write(14600 + 500)
	out := s.flush()
	s.expect("initial window", out, seg(1, 1, wire.ACK, 7300), seg(7301, 1, wire.ACK, 7300))
	for _, o := range out {
		if o.mss != testMSS || o.Flags.Has(wire.PSH) {
			t.Errorf("segment size %d, %v", o.mss, o.Flags)
		}
	}
	out = s.inOut(1, 14601, wire.ACK, nil)
	s.expect("the rest", out, seg(14601, 1, wire.ACK, 500))
	if !out[0].Flags.Has(wire.PSH) {
		t.Error("no PSH on the last segment")
	}
	if string(out[0].payload) != string(stream(14600, 500)) {
		t.Error("wrong bytes")
	}
}

// RFC 9293 section 3.7.4.
func TestNagle(t *testing.T) {
	s := established(t, nil)
	s.write(10)
	s.expect("first", s.flush(), seg(1, 1, wire.ACK, 10))
	s.write(10)
	s.expect("without", s.flush(), seg(11, 1, wire.ACK, 10))
	s.c.Nagle = true
	s.write(10)
	s.expect("with, data in flight", s.flush())
	s.write(1460)
	s.expect("a full segment goes", s.flush(), seg(21, 1, wire.ACK, 1460))
	s.expect("all acknowledged", s.inOut(1, 1481, wire.ACK, nil), seg(1481, 1, wire.ACK, 10))
	s.write(10)
	s.c.CloseWrite(s.now)
	s.expect("the last bytes need not wait", s.flush(), seg(1491, 1, wire.FIN|wire.ACK, 10))
}

// Nor does Nagle's algorithm let a small segment go that fills half of a small window: only if there
// is more than the window admits is that enough (section 3.8.6.2.1, (3)).
func TestNagleOfSmallWindow(t *testing.T) {
	s := established(t, func(s *script) { s.wnd = 1000 })
	s.c.Nagle = true
	s.write(300)
	s.expect("first", s.flush(), seg(1, 1, wire.ACK, 300))
	s.write(500)
	s.expect("data in flight", s.flush())
	s.expect("acknowledged", s.inOut(1, 301, wire.ACK, nil), seg(301, 1, wire.ACK, 500))
}

func TestPeersWindow(t *testing.T) {
	s := established(t, func(s *script) { s.wnd = 3000 })
	s.write(10_000)
	s.expect("whole segments", s.flush(), seg(1, 1, wire.ACK, 2920))
	s.expect("an ACK that moves the edge", s.inOut(1, 1461, wire.ACK, nil), seg(2921, 1, wire.ACK, 1460))
	s.wnd = 1000
	s.expect("a window that shrinks", s.inOut(1, 2921, wire.ACK, nil))
	s.wnd = 6000
	s.expect("and grows", s.inOut(1, 4381, wire.ACK, nil), seg(4381, 1, wire.ACK, 5620))
}

// RFC 9293 section 3.10.7.4: an old segment does not set the window back.
func TestWindowUpdateOrder(t *testing.T) {
	for _, tt := range []struct {
		name     string
		seq, ack int
		want     uint32
	}{
		{"newer data", 21, 1, 7},
		{"same, newer ACK", 11, 11, 7},
		{"same", 11, 1, 7},
		{"older data", 2, 1, 60000},
		{"older ACK", 11, 0, 60000},
	} {
		t.Run(tt.name, func(t *testing.T) {
			s := established(t, nil)
			s.write(100)
			s.inOut(1, 1, wire.ACK, stream(0, 10))
			s.inOut(11, 1, wire.ACK, nil)
			s.wnd = 7
			s.in(tt.seq, tt.ack, wire.ACK, stream(tt.seq-1, 12))
			if s.c.snd.wnd != tt.want {
				t.Errorf("window %d, want %d", s.c.snd.wnd, tt.want)
			}
		})
	}
}

// RFC 9293 section 3.8.6.1.
func TestZeroWindowProbes(t *testing.T) {
	s := established(t, nil)
	s.wnd = 0
	s.inOut(1, 1, wire.ACK, nil)
	s.write(100)
	s.expect("closed window", s.flush())
	// The interval doubles.
	for wait := steadyRTO; wait < 4*time.Second; wait *= 2 {
		s.expect("too early", s.advance(wait-1))
		s.expect("probe", s.advance(1), seg(1, 1, wire.ACK, 1))
		s.expect("refused", s.inOut(1, 1, wire.ACK, nil))
	}
	// One is taken.
	s.expect("probe", s.advance(10*time.Second), seg(1, 1, wire.ACK, 1))
	s.expect("taken", s.inOut(1, 2, wire.ACK, nil))
	s.wnd = 50
	s.expect("window opens", s.inOut(1, 2, wire.ACK, nil))
	s.wnd = 2000
	s.expect("wide enough", s.inOut(1, 2, wire.ACK, nil), seg(2, 1, wire.ACK, 99))
	if s.sh.Stats.Probes != 6 || s.sh.Stats.Timeouts != 0 {
		t.Errorf("%+v", s.sh.Stats)
	}
}

// A window that stays as small as it is does not open: the interval doubles on.
func TestSmallWindowProbes(t *testing.T) {
	s := established(t, nil)
	s.wnd = 50
	s.inOut(1, 1, wire.ACK, nil)
	s.write(2000)
	s.expect("held back", s.flush())
	for wait := steadyRTO; wait < 4*time.Second; wait *= 2 {
		s.expect("too early", s.advance(wait-1))
		s.expect("probe", s.advance(1), seg(1, 1, wire.ACK, 50))
		s.expect("not taken", s.inOut(1, 1, wire.ACK, nil))
	}
}

// What is sent when the window opens is timed anew: the probes' interval was not for it.
func TestWindowOpensTimer(t *testing.T) {
	s := established(t, nil)
	s.wnd = 0
	s.inOut(1, 1, wire.ACK, nil)
	s.write(100)
	s.flush()
	for range 5 {
		s.advance(s.c.Deadline().Sub(s.now))
		s.inOut(1, 1, wire.ACK, nil)
	}
	s.wnd = 1000
	s.expect("opens", s.inOut(1, 1, wire.ACK, nil), seg(1, 1, wire.ACK, 100))
	s.expect("lost", s.advance(steadyRTO), seg(1, 1, wire.ACK, 100))
}

// A probe is not sent any more if the window opens before it could be.
func TestProbeOvertaken(t *testing.T) {
	s := established(t, nil)
	s.wnd = 0
	s.inOut(1, 1, wire.ACK, nil)
	s.write(100)
	s.flush()
	s.now = s.c.Deadline()
	s.c.Advance(s.now)
	s.wnd = 1000
	s.expect("data", s.inOut(1, 1, wire.ACK, nil), seg(1, 1, wire.ACK, 100))
}

// Probes that are answered never end the connection, ones that are not do.
func TestProbesGiveUp(t *testing.T) {
	for _, answered := range []bool{true, false} {
		s := established(t, nil)
		s.wnd = 0
		s.inOut(1, 1, wire.ACK, nil)
		s.write(100)
		s.flush()
		for end := s.now.Add(3 * DefaultUserTimeout); s.now < end; {
			if len(s.advance(time.Second)) > 0 && answered {
				s.inOut(1, 1, wire.ACK, nil)
			}
		}
		if alive := s.c.state == Established; alive != answered {
			t.Errorf("answered %v: %v", answered, s.c.state)
		}
	}
}

// A FIN that the window does not admit is the probe.
func TestFinBehindClosedWindow(t *testing.T) {
	s := established(t, nil)
	s.wnd = 0
	s.inOut(1, 1, wire.ACK, nil)
	s.c.CloseWrite(s.now)
	s.expect("FIN waits", s.flush())
	s.expect("as a probe", s.advance(steadyRTO), seg(1, 1, wire.FIN|wire.ACK, 0))
	s.inOut(1, 2, wire.ACK, nil)
	s.state(FinWait2)
}

// What ends the buffer has PSH when it probes a window, too.
func TestPushedAgain(t *testing.T) {
	// A probe with all that waits.
	s := established(t, nil)
	s.wnd = 0
	s.inOut(1, 1, wire.ACK, nil)
	s.write(1)
	s.flush()
	probe := s.advance(time.Second)
	if len(probe) == 0 || len(probe[0].payload) != 1 || !probe[0].Flags.Has(wire.PSH) {
		t.Errorf("probes %+v", probe)
	}
	s.write(1)
	s.flush()
	for _, o := range s.advance(time.Minute) {
		if o.Flags.Has(wire.PSH) {
			t.Error("PSH, and there is more")
		}
	}
}

// RFC 9293 section 3.8.6.2.1: small pieces of a window are not filled, until the
// override timeout.
func TestSenderSillyWindow(t *testing.T) {
	s := established(t, func(s *script) { s.wnd = 4000 })
	s.wnd = 500 // less than a segment, and than half of the largest window
	s.inOut(1, 1, wire.ACK, nil)
	s.write(2000)
	s.expect("held back", s.flush())
	s.expect("override", s.advance(steadyRTO), seg(1, 1, wire.ACK, 500))
	s.expect("acknowledged", s.inOut(1, 501, wire.ACK, nil))
	s.wnd = 2000 // half of the largest window
	s.expect("half of the largest window", s.inOut(1, 501, wire.ACK, nil), seg(501, 1, wire.ACK, 1500))
}

// A peer whose windows are always small is sent small segments.
func TestPeerWithSmallWindow(t *testing.T) {
	s := established(t, func(s *script) { s.wnd = 100 })
	s.write(1000)
	s.expect("its window", s.flush(), seg(1, 1, wire.ACK, 100))
	s.expect("and again", s.inOut(1, 101, wire.ACK, nil), seg(101, 1, wire.ACK, 100))
}

// RFC 9293 section 3.8.6: a peer that takes its window back.
func TestPeerShrinksWindow(t *testing.T) {
	s := established(t, nil)
	s.write(5000)
	s.flush()
	s.wnd = 0
	s.expect("taken back", s.inOut(1, 1461, wire.ACK, nil))
	s.expect("an ACK that the peer accepts", s.inOut(1, 1461, wire.ACK|wire.PSH, stream(0, 1)), seg(1461, 2, wire.ACK, 0))
	s.irs++ // the peer's numbers begin one later
	s.c.rcv.irs++
	s.expect("timer: nothing may be sent", s.advance(steadyRTO))
	s.expect("but a probe", s.advance(time.Second), seg(1461, 1, wire.ACK, 1))
	s.wnd = 60000
	s.expect("open again", s.inOut(1, 1461, wire.ACK, nil), seg(1461, 1, wire.ACK, 1460))
}

// A scaled window is told rounded down: what was sent into it, and lies beyond what is told
// by less than a unit, is not to be taken for beyond. The peer may have received it.
func TestBareSeqOfScaledWindow(t *testing.T) {
	s := newScript(t, 64, nil)
	s.opts.HasWindowScale, s.opts.WindowScale, s.wnd = true, 6, 24
	s.establish()
	s.write(1530)
	s.expect("all of it", s.flush(), seg(1, 1, wire.ACK, 1530))
	for i, tt := range []struct {
		ack, wnd, want int
	}{
		{101, 24, 1531},
		{409, 17, 1531},      // 1497 is the edge, and may be up to 1560
		{409 + 64, 15, 1433}, // 1433 is: it has shrunk
	} {
		s.wnd = uint16(tt.wnd)
		s.inOut(1+i, tt.ack, wire.ACK, stream(i, 1))
		s.c.acks.now = true
		s.c.touch()
		s.expect("an ACK", s.flush(), seg(tt.want, 2+i, wire.ACK, 0))
	}
}

// A super-segment cannot reach over more than two blocks of the send buffer; it
// is cut to whole segments there.
func TestSuperSegmentAtBlockEnd(t *testing.T) {
	s := newScript(t, 64, func(c *Config) { c.MaxSuper = 1 << 20 })
	s.wnd = 65535
	s.opts.HasWindowScale, s.opts.WindowScale = true, 7
	s.establish()
	s.c.cc.cwnd = 1 << 20
	s.write(100)
	s.flush()
	s.write(200_000)
	var got []byte
	for i, o := range s.flush() {
		if got = append(got, o.payload...); i < 2 && len(o.payload)%testMSS != 0 {
			t.Errorf("super-segment %d of %d bytes", i, len(o.payload))
		}
	}
	if string(got) != string(stream(100, 200_000)) {
		t.Errorf("sent %d bytes, or wrong ones", len(got))
	}
}

func TestMaxSuperBelowSegment(t *testing.T) {
	s := newScript(t, 64, func(c *Config) { c.MaxSuper = 100 })
	s.establish()
	s.write(3000)
	s.expect("segments", s.flush(), seg(1, 1, wire.ACK, 1460), seg(1461, 1, wire.ACK, 1460), seg(2921, 1, wire.ACK, 80))
}

// A round puts out each connection once, in the order in which they became dirty.
func TestDirtyList(t *testing.T) {
	s := newScript(t, 64, nil)
	var conns []*Conn
	for i := range 3 {
		tu := testTuple
		tu.Remote = netipAddrPort(tu.Remote, uint16(1000+i))
		conns = append(conns, newConn(s.sh, s.now, tu, testMSS))
	}
	for _, i := range []int{2, 0, 2, 1, 0} {
		conns[i].touch()
	}
	for _, i := range []int{2, 0, 1} {
		if c := s.sh.NextDirty(); c != conns[i] {
			t.Fatalf("got %v, want connection %d", c, i)
		}
	}
	if s.sh.NextDirty() != nil {
		t.Error("list not empty")
	}
	conns[1].touch()
	if s.sh.NextDirty() != conns[1] || s.sh.NextDirty() != nil {
		t.Error("list does not begin anew")
	}
}
