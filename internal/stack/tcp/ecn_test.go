package tcp

import (
	"fmt"
	"net/netip"
	"testing"
	"time"

	"github.com/zctap/zctap/internal/wire"
)

func (s *script) transmitECT(src, dst netip.Addr, h *wire.TCP, p [2][]byte, mss int) {
	s.transmit(src, dst, h, p, mss)
	s.out[len(s.out)-1].ect = true
}

// withECN makes an established connection of which both ends take part, with n full
// segments in flight and as many more to send.
func withECN(t *testing.T, n int, sack bool) *script {
	t.Helper()
	s := newScript(t, 1024, nil)
	s.opts.SACKPermitted = sack
	s.c = s.l.Input(s.now, s.segment(0, 0, wire.SYN|ecnSetup, nil), testTuple)
	s.opts.MSS, s.opts.SACKPermitted = 0, false
	s.expect("SYN-ACK", s.flush(), seg(0, 1, wire.SYN|wire.ACK|wire.ECE, 0))
	s.inOut(1, 1, wire.ACK, nil)
	s.c.acks.quick = 0
	s.c.rtt.sample(testRTT)
	s.c.cc.cwnd = uint32(n) * s.c.snd.mss
	s.write(2 * n * int(s.c.snd.mss))
	s.expect("window", s.flush(), seg(1, 1, wire.ACK, n*int(s.c.snd.mss)))
	return s
}

// The window falls once for all marks of one window, and not while losses are
// repaired; it grows by no ACK that tells of a mark.
func TestECNReducesOnceAWindow(t *testing.T) {
	s := withECN(t, 20, true)
	const echo = wire.ACK | wire.ECE
	s.advance(testRTT)
	var cwr int
	take := func(out []sent) {
		t.Helper()
		for _, o := range out {
			if o.Flags.Has(wire.CWR) {
				cwr++
				if len(o.payload) > testMSS {
					t.Error("CWR in a super-segment")
				}
			}
			if o.ect != (len(o.payload) > 0) {
				t.Errorf("ECT %v with %d bytes", o.ect, len(o.payload))
			}
		}
	}
	const flight = 21 // a tail probe went out, too
	for i := 1; i <= flight; i++ {
		take(s.inOut(1, s.at(i), echo, nil))
		if s.c.cc.cwnd != 10*testMSS || s.c.cc.ssthresh != 10*testMSS {
			t.Fatalf("after ACK %d: cwnd %d, ssthresh %d", i, s.c.cc.cwnd, s.c.cc.ssthresh)
		}
	}
	if cwr != 1 || s.sh.Stats.MarksEchoed != 1 {
		t.Errorf("told %d times of %d reductions", cwr, s.sh.Stats.MarksEchoed)
	}
	// Of the next window.
	take(s.inOut(1, s.at(flight+1), echo, nil))
	if s.c.cc.cwnd != 5*testMSS || s.sh.Stats.MarksEchoed != 2 {
		t.Errorf("cwnd %d, %d reductions", s.c.cc.cwnd, s.sh.Stats.MarksEchoed)
	}
	// With room for more than one segment, one alone has the flag.
	s.write(20 * testMSS)
	out := s.inOut(1, int(s.c.snd.nxt-s.c.snd.iss), echo, nil)
	if len(out) < 2 || !out[0].Flags.Has(wire.CWR) || len(out[1].payload) <= testMSS || out[1].Flags.Has(wire.CWR) {
		t.Errorf("%d came out", len(out))
	}
	take(out)
	// An old echo, with nothing under way, is none.
	for s.c.snd.una != s.c.snd.max {
		s.inOut(1, int(s.c.snd.max-s.c.snd.iss), wire.ACK, nil)
	}
	s.inOut(1, int(s.c.snd.max-s.c.snd.iss), echo, nil)
	if s.sh.Stats.MarksEchoed != 2 || cwr != 2 {
		t.Errorf("%d reductions, told %d times", s.sh.Stats.MarksEchoed, cwr)
	}

	s = withECN(t, 20, true)
	s.advance(testRTT)
	s.sack(0, 1, 5) // a loss
	if s.c.cc.ssthresh != 10*testMSS {
		t.Fatalf("ssthresh %d", s.c.cc.ssthresh)
	}
	s.inOut(1, s.at(5), echo, nil)
	if s.c.cc.ssthresh != 10*testMSS || s.sh.Stats.MarksEchoed != 0 {
		t.Errorf("ssthresh %d: reduced twice", s.c.cc.ssthresh)
	}
}

// CWR goes with one segment also where there is room for two, and not with what a device cuts.
func TestECNReducedFlagOfTwo(t *testing.T) {
	s := withECN(t, 10, true)
	s.inOut(1, s.at(1), wire.ACK|wire.ECE, nil)
	s.wnd = 2 * testMSS
	s.c.opt.sndShift = 0
	out := s.inOut(1, s.at(10), wire.ACK, nil)
	if len(out) != 2 || !out[0].Flags.Has(wire.CWR) || len(out[0].payload) != testMSS || out[1].Flags.Has(wire.CWR) {
		t.Errorf("came out %d segments: %+v", len(out), out)
	}
}

// A mark is echoed at once, and so is acknowledged what comes with CWR: the peer may have a window
// of one segment, which no delayed ACK is to hold up. Between them ACKs are delayed.
func TestECNEchoesAtOnce(t *testing.T) {
	s := established(t, nil)
	s.c.ecn.on = true
	at := 1
	for i, tt := range []struct {
		ecn   wire.ECN
		flags wire.Flags
		out   wire.Flags // 0: none
	}{{}, {wire.CE, 0, wire.ACK | wire.ECE}, {}, {wire.NotECT, wire.CWR, wire.ACK}, {}} {
		g := s.segment(at, 1, wire.ACK|tt.flags, stream(at-1, 100))
		g.ECN = tt.ecn
		at += 100
		s.c.Input(s.now, g)
		out := s.flush()
		if len(out) > 1 || (len(out) == 1) != (tt.out != 0) || len(out) == 1 && out[0].Flags != tt.out {
			t.Errorf("segment %d: came out %+v, want %v", i, out, tt.out)
		}
	}
	s.received()
}

// A window that is less than what marks reduce it to does not grow by them.
func TestECNOfSmallWindow(t *testing.T) {
	s := withECN(t, 1, true)
	s.inOut(1, s.at(1), wire.ACK|wire.ECE, nil)
	if s.c.cc.cwnd != testMSS || s.sh.Stats.MarksEchoed != 1 {
		t.Errorf("cwnd %d, %d reductions", s.c.cc.cwnd, s.sh.Stats.MarksEchoed)
	}
}

// A mark counts, too, when gigabytes were sent since the one before it.
func TestECNAfterGigabytes(t *testing.T) {
	for gigabytes := range 5 {
		s := withECN(t, 10, true)
		all := func(flags wire.Flags) {
			s.inOut(1, int(s.c.snd.max-s.c.snd.iss), flags, nil)
		}
		s.inOut(1, s.at(1), wire.ACK|wire.ECE, nil)
		for s.c.snd.una != s.c.snd.max {
			all(wire.ACK)
		}
		for range gigabytes {
			// As if so much had been sent and acknowledged.
			for _, n := range []*wire.Seq{&s.c.snd.iss, &s.c.snd.una, &s.c.snd.nxt, &s.c.snd.max, &s.c.snd.wl2} {
				*n = n.Add(1 << 30)
			}
			s.write(testMSS)
			s.flush()
			all(wire.ACK)
		}
		s.write(testMSS)
		s.flush()
		all(wire.ACK | wire.ECE)
		if got := s.sh.Stats.MarksEchoed; got != 2 {
			t.Errorf("%d GiB on: %d reductions", gigabytes, got)
		}
	}
}

// What is sent again and what probes a window is of no transport that takes part: an
// attacker could have it marked instead of dropped (RFC 3168 sections 6.1.5, 6.1.6).
func TestECNIsOfNewDataOnly(t *testing.T) {
	for _, sack := range []bool{true, false} {
		s := withECN(t, 4, sack)
		again := s.advance(time.Second)
		again = append(again, s.inOut(1, s.at(1), wire.ACK, nil)...)
		if sack {
			again = append(again, s.sack(1, 4, 5)...) // what F-RTO has sent
		} else {
			again = append(again, s.inOut(1, s.at(1), wire.ACK, nil)...)
		}
		n := 0
		for _, o := range again {
			if o.Seq.LessThan(s.c.snd.iss.Add(uint32(s.at(4)))) {
				n++
				if o.ect {
					t.Errorf("SACK %v: sent again with ECT: %d", sack, o.Seq.Sub(s.c.snd.iss))
				}
			}
		}
		if n < 3 {
			t.Errorf("SACK %v: %d segments sent again", sack, n)
		}
	}
	s := withECN(t, 1, true)
	s.wnd = 0
	s.inOut(1, s.at(1), wire.ACK, nil)
	probes := s.advance(5 * time.Second)
	if len(probes) == 0 {
		t.Fatal("no probe")
	}
	for _, o := range probes {
		if o.ect || o.Flags.Has(wire.CWR) {
			t.Errorf("a probe with ECT: %+v", o)
		}
	}
}

// Marks are echoed only of data that is acceptable, and of no connection without ECN.
func TestECNIgnoresForgedMarks(t *testing.T) {
	s := withECN(t, 1, true)
	marked := func(seq int, flags wire.Flags, n int) bool {
		sg := s.segment(seq, 1, flags, stream(0, n))
		sg.ECN = wire.CE
		s.c.Input(s.now, sg)
		s.flush()
		return s.c.ecn.echo
	}
	if marked(1, wire.ACK, 0) || marked(1_000_000, wire.ACK, 10) {
		t.Error("it was believed")
	}
	if !marked(1, wire.ACK, 10) || s.sh.Stats.Marked != 1 {
		t.Error("it was not believed")
	}
	s.in(1_000_000, 1, wire.ACK|wire.CWR, nil)
	if !s.c.ecn.echo {
		t.Error("a forged CWR was believed")
	}
	s.c.Abort(s.now)
	for _, o := range s.flush() {
		if o.Flags.Has(wire.ECE) {
			t.Errorf("a RST with %v", o.Flags)
		}
	}
	s = established(t, nil)
	if marked(1, wire.ACK, 10) || s.sh.Stats.Marked != 0 {
		t.Error("without ECN")
	}
}

func (e *end) transmitECT(src, dst netip.Addr, h *wire.TCP, p [2][]byte, mss int) {
	e.ecn = wire.ECT0
	e.transmit(src, dst, h, p, mss)
	e.ecn = wire.NotECT
}

// mark is the codepoint of a packet behind the routers of a sim.
func (e *end) mark() wire.ECN {
	if w := &e.sim.wire; e.ecn != wire.NotECT && w.mark > 0 && e.sim.rng.Float64() < w.mark {
		return wire.CE
	}
	return e.ecn
}

// Streams over routers that mark: without losses nothing is ever sent again, the
// window falls, and each end tells the other.
func TestTransferWithMarks(t *testing.T) {
	for _, tt := range []struct {
		name string
		wire wireConfig
	}{
		{"marks", wireConfig{delay: 5 * time.Millisecond, mark: 0.02}},
		{"many", wireConfig{delay: 5 * time.Millisecond, mark: 0.5}},
		{"all", wireConfig{delay: 5 * time.Millisecond, mark: 1}},
		{"without SACK", wireConfig{delay: 5 * time.Millisecond, mark: 0.02, noSACK: true}},
		{"and losses", wireConfig{delay: 5 * time.Millisecond, mark: 0.05, loss: 0.02, reorder: 0.1, dup: 0.05}},
		{"and losses without SACK", wireConfig{delay: 5 * time.Millisecond, mark: 0.05, loss: 0.02, noSACK: true}},
	} {
		for _, algorithm := range []Congestion{Cubic, Reno} {
			for seed := range 3 {
				t.Run(fmt.Sprintf("%s/%d/%d", tt.name, algorithm, seed), func(t *testing.T) {
					s := newSim(t, uint64(seed), tt.wire, 1024, func(i int, c *Config) {
						c.Congestion = algorithm
						c.ECN = i == 0
					})
					s.ends[0].toSend, s.ends[1].toSend = 1<<20, 1<<18
					s.run(30 * time.Minute)
					for _, e := range s.ends {
						st, other := &e.sh.Stats, &s.ends[1-e.i].sh.Stats
						if !e.c.ecn.on && tt.wire.loss == 0 || e.c.ecn.on && st.MarksEchoed == 0 {
							t.Errorf("end %d: ECN %v, %d reductions", e.i, e.c.ecn.on, st.MarksEchoed)
						}
						// A lost CWR makes one mark count twice.
						if tt.wire.loss == 0 && st.MarksEchoed > other.Marked {
							t.Errorf("end %d: %d reductions for %d marks", e.i, st.MarksEchoed, other.Marked)
						}
						if tt.wire.loss == 0 && st.Retransmits > 0 {
							t.Errorf("end %d sent %d segments again", e.i, st.Retransmits)
						}
					}
				})
			}
		}
	}
}

// Config.ECN is for who dials: a listener asks nobody.
func TestECNNotAsked(t *testing.T) {
	for i, ask := range []bool{false, true} {
		s := newSim(t, uint64(i), wireConfig{delay: time.Millisecond}, 512, func(i int, c *Config) { c.ECN = ask && i == 1 })
		s.ends[0].toSend = 1 << 16
		s.run(10 * time.Minute)
		if s.ends[0].c.ecn.on || s.ends[1].c.ecn.on {
			t.Errorf("a listener's Config.ECN %v turned it on", ask)
		}
	}
}
