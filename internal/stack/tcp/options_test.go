package tcp

import (
	"math"
	"testing"
	"time"

	"github.com/zctap/zctap/internal/wire"
)

func TestNegotiation(t *testing.T) {
	all := wire.TCPOptions{MSS: 1460, HasTimestamps: true, TSVal: 7, HasWindowScale: true, WindowScale: 9}
	for _, tt := range []struct {
		name       string
		peer       wire.TCPOptions
		timestamps bool
		scale      bool
		snd, rcv   uint8
		mss        uint32
	}{
		{"all", all, true, true, 9, 7, 1448},
		{"none", wire.TCPOptions{}, false, false, 0, 0, 536},
		{"timestamps", wire.TCPOptions{MSS: 1000, HasTimestamps: true}, true, false, 0, 0, 988},
		{"scale of zero", wire.TCPOptions{MSS: 1000, HasWindowScale: true}, false, true, 0, 7, 1000},
		{"larger MSS than ours", wire.TCPOptions{MSS: 9000}, false, false, 0, 0, 1460},
		{"tiny MSS", wire.TCPOptions{MSS: 1}, false, false, 0, 0, minMSS},
	} {
		t.Run(tt.name, func(t *testing.T) {
			for _, active := range []bool{false, true} {
				var s *script
				var syn sent
				if active {
					s = newScript(t, 1024, nil)
					s.c = Dial(s.sh, s.now, testTuple, testMSS)
					syn = s.flush()[0]
					if o := syn.Options; !o.HasTimestamps || !o.HasWindowScale || o.WindowScale != 7 || o.MSS != testMSS {
						t.Errorf("SYN with %+v", o)
					}
					s.opts = tt.peer
					s.inOut(0, 1, wire.SYN|wire.ACK, nil)
				} else {
					s = newScript(t, 1024, nil)
					s.opts = tt.peer
					s.c = s.l.Input(s.now, s.segment(0, 0, wire.SYN, nil), testTuple)
					syn = s.flush()[0]
					if o := syn.Options; o.HasTimestamps != tt.timestamps || o.HasWindowScale != tt.scale || o.MSS != testMSS {
						t.Errorf("SYN-ACK with %+v", o)
					}
					s.inOut(1, 1, wire.ACK, nil)
				}
				o := &s.c.opt
				if o.timestamps != tt.timestamps || o.scaling != tt.scale || o.sndShift != tt.snd || o.rcvShift != tt.rcv || s.c.snd.mss != tt.mss {
					t.Errorf("active %v: %+v, MSS %d", active, *o, s.c.snd.mss)
				}
				if want := uint32(s.wnd); !active && s.c.snd.wnd != want<<tt.snd {
					t.Errorf("peer's window %d", s.c.snd.wnd)
				}
				s.end()
				s.c = nil
			}
		})
	}
}

func TestDefaultMSS6(t *testing.T) {
	s := newScript(t, 64, nil)
	s.opts = wire.TCPOptions{}
	tu := testTuple
	tu.Remote = mustAddrPort("[fd00::1]:4000")
	c := newConn(s.sh, s.now, tu, testMSS)
	c.negotiate(s.now, &s.opts)
	if c.snd.mss != defaultMSS6 {
		t.Errorf("MSS %d", c.snd.mss)
	}
}

// stamped makes a connection with timestamps; the peer's was 1000 in its SYN.
func stamped(t *testing.T) *script {
	return established(t, func(s *script) { s.opts.HasTimestamps, s.opts.TSVal = true, 1000 })
}

// RFC 7323 section 5.
func TestPAWS(t *testing.T) {
	for _, tt := range []struct {
		name  string
		ts    uint32
		flags wire.Flags
		wait  time.Duration
		taken bool
		out   int
	}{
		{"same", 1000, wire.ACK | wire.PSH, 0, true, 1},
		{"newer", 1001, wire.ACK | wire.PSH, 0, true, 1},
		{"older", 999, wire.ACK | wire.PSH, 0, false, 1},
		{"far newer", 1000 + 1<<31 - 1, wire.ACK | wire.PSH, 0, true, 1},
		{"wrapped", 1000 + 1<<31 + 1, wire.ACK | wire.PSH, 0, false, 1},
		// RFC 7323 section 5.5: a clock that ticks each millisecond wraps its sign bit then.
		{"older after 24 days", 999, wire.ACK | wire.PSH, 24 * 24 * time.Hour, true, 1},
		{"older, a little before", 999, wire.ACK | wire.PSH, 24*24*time.Hour - 1, false, 1},
	} {
		t.Run(tt.name, func(t *testing.T) {
			s := stamped(t)
			s.now = s.now.Add(tt.wait)
			s.opts.TSVal = tt.ts
			out := s.inOut(1, 1, tt.flags, []byte("abc"))
			if taken := len(s.received()) == 3; taken != tt.taken || len(out) != tt.out {
				t.Errorf("taken %v, %d answers", taken, len(out))
			}
			if drops := s.sh.Stats.Drops.OldTimestamp; (drops == 0) != tt.taken {
				t.Errorf("%d drops", drops)
			}
		})
	}
	t.Run("24 days count from the last segment", func(t *testing.T) {
		s := stamped(t)
		for range 3 {
			s.now = s.now.Add(12 * 24 * time.Hour)
			s.in(1, 1, wire.ACK, nil)
		}
		s.opts.TSVal--
		s.inOut(1, 1, wire.ACK|wire.PSH, []byte("abc"))
		if len(s.received()) != 0 || s.sh.Stats.Drops.OldTimestamp != 1 {
			t.Errorf("%+v", s.sh.Stats.Drops)
		}
	})
	t.Run("RST is not judged", func(t *testing.T) {
		s := stamped(t)
		s.opts.TSVal = 1
		s.inOut(1, 1, wire.RST, nil)
		s.closed()
	})
}

// RFC 7323 section 3.2.
func TestMissingTimestamp(t *testing.T) {
	s := stamped(t)
	s.opts.HasTimestamps = false
	s.expect("data without", s.inOut(1, 1, wire.ACK|wire.PSH, []byte("abc")))
	if len(s.received()) != 0 || s.sh.Stats.Drops.NoTimestamp != 1 {
		t.Errorf("%+v", s.sh.Stats.Drops)
	}
	s.inOut(1, 1, wire.RST, nil)
	s.closed()
}

// RFC 7323 section 4.3: what is echoed.
func TestEcho(t *testing.T) {
	s := stamped(t)
	echo := func(what string, out []sent, want uint32) {
		t.Helper()
		if len(out) != 1 || out[0].Options.TSEcr != want {
			t.Fatalf("%s: %+v, want echo %d", what, out, want)
		}
	}
	s.opts.TSVal = 1010
	s.expect("first", s.inOut(1, 1, wire.ACK, stream(0, 100)))
	s.opts.TSVal = 1020
	s.expect("second", s.inOut(101, 1, wire.ACK, stream(0, 100)))
	echo("delayed ACK echoes the oldest", s.advance(delayedAck), 1010)
	s.opts.TSVal = 1030
	echo("a gap echoes what came before it", s.inOut(301, 1, wire.ACK, stream(0, 100)), 1010)
	s.opts.TSVal = 1040
	echo("what fills it is echoed", s.inOut(201, 1, wire.ACK, stream(0, 100)), 1040)
	s.opts.TSVal = 5000
	echo("old data does not count, not being acceptable", s.inOut(1, 1, wire.ACK, stream(0, 10)), 1040)
	s.opts.TSVal = 6000
	echo("what was acknowledged last does, if it comes again", s.inOut(301, 1, wire.ACK, stream(0, 100)), 6000)
}

// Nobody learns our uptime (RFC 7323 section 7.1).
func TestTimestampOffset(t *testing.T) {
	s := newScript(t, 64, nil)
	a := newConn(s.sh, s.now, testTuple, testMSS)
	tu := testTuple
	tu.Remote = netipAddrPort(tu.Remote, 9)
	b := newConn(s.sh, s.now, tu, testMSS)
	if a.timestamp(s.now) == b.timestamp(s.now) {
		t.Error("two connections have the same clock")
	}
	if d := a.timestamp(s.now.Add(time.Second)) - a.timestamp(s.now); d != 1000 {
		t.Errorf("%d ticks a second", d)
	}
}

func TestWindowShift(t *testing.T) {
	for _, tt := range []struct {
		window int
		want   uint8
	}{{1000, 0}, {65535, 0}, {65536, 1}, {4 << 20, 7}, {1 << 30, 14}, {math.MaxInt, 14}} {
		s := newScript(t, 16, nil)
		s.sh.MaxRecvWindow = tt.window
		c := newConn(s.sh, s.now, testTuple, testMSS)
		if got := c.sh.windowShift(); got != tt.want {
			t.Errorf("window %d: shift %d, want %d", tt.window, got, tt.want)
		}
	}
	if s := newScript(t, 16, nil); s.sh.MaxRecvWindow != 16*4096 {
		t.Errorf("window of up to %d with a region of 64 KiB", s.sh.MaxRecvWindow)
	}
}
