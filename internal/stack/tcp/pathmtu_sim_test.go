package tcp

import (
	"fmt"
	"testing"
	"time"

	"github.com/zctap/zctap/internal/wire"
)

// tooLong is the router of a sim: whether it drops a segment of e that has n bytes
// with its TCP header.
func tooLong(e *end, n int, seq wire.Seq) bool {
	w := &e.sim.wire
	if w.mtu == 0 || wire.IPv4HeaderLen+n <= w.mtu {
		return false
	}
	if !w.silent {
		e.icmp = append(e.icmp, wire.ICMP{
			Kind: wire.ICMPPacketTooBig, MTU: uint32(w.mtu), Quote: wire.Quote{Flow: *e.tuple(), Seq: seq},
		})
	}
	return true
}

// takeErrors delivers what the router has said.
func (e *end) takeErrors() bool {
	n := len(e.icmp)
	for i := range e.icmp {
		if e.c != nil && !e.c.Done() {
			e.c.InputICMP(e.sim.now, &e.icmp[i])
		}
	}
	e.icmp = e.icmp[:0]
	return n > 0
}

// Streams arrive whole over paths that carry less than both ends believe, with a
// router that says so and with one that does not, and both ways at once.
func TestTransferOverSmallMTU(t *testing.T) {
	for _, tt := range []struct {
		name   string
		wire   wireConfig
		bytes  int
		lowest uint32 // what a full segment has in the end, at least
	}{
		{"a router that answers", wireConfig{delay: 5 * time.Millisecond, mtu: 1300}, 1 << 20, 1248},
		{"and losses", wireConfig{delay: 5 * time.Millisecond, mtu: 1300, loss: 0.02, reorder: 0.1, dup: 0.05}, 1 << 19, 500},
		{"and super-segments", wireConfig{delay: 5 * time.Millisecond, mtu: 700, coalesce: 0}, 1 << 20, 648},
		{"without SACK", wireConfig{delay: 5 * time.Millisecond, mtu: 900, noSACK: true}, 1 << 20, 848},
		{"without SACK, and losses", wireConfig{delay: 5 * time.Millisecond, mtu: 900, loss: 0.02, noSACK: true}, 1 << 19, 500},
		{"a black hole", wireConfig{delay: 5 * time.Millisecond, mtu: 1200, silent: true}, 1 << 20, 1012},
		{"a smaller one", wireConfig{delay: 5 * time.Millisecond, mtu: 600, silent: true}, 1 << 19, 500},
		{"and losses", wireConfig{delay: 5 * time.Millisecond, mtu: 1200, silent: true, loss: 0.02, reorder: 0.1}, 1 << 19, 500},
		{"a black hole without SACK", wireConfig{delay: 5 * time.Millisecond, mtu: 1200, silent: true, noSACK: true}, 1 << 19, 1012},
	} {
		for seed := range 4 {
			t.Run(fmt.Sprintf("%s/%d", tt.name, seed), func(t *testing.T) {
				s := newSim(t, uint64(seed), tt.wire, 1024, nil)
				s.ends[0].toSend, s.ends[1].toSend = tt.bytes, tt.bytes/4
				s.run(20 * time.Minute)
				for _, e := range s.ends {
					st := &e.sh.Stats
					if mss := e.c.snd.mss; mss < tt.lowest || int(mss) > tt.wire.mtu-40 {
						t.Errorf("end %d: segments of %d bytes over packets of %d: %+v", e.i, mss, tt.wire.mtu, st)
					}
					if tt.wire.silent == (st.BlackHoles == 0) || tt.wire.silent != (st.PathMTULowered == 0) {
						t.Errorf("end %d: lowered %d, black holes %d", e.i, st.PathMTULowered, st.BlackHoles)
					}
				}
			})
		}
	}
}

// A path that gets wider is noticed, and one that does not costs one segment at a
// time. The stream lasts for an hour.
func TestPathMTUIsTriedAgain(t *testing.T) {
	for _, sack := range []bool{true, false} {
		for _, wider := range []bool{true, false} {
			for _, silent := range []bool{true, false} {
				t.Run(fmt.Sprintf("sack %v, wider %v, silent %v", sack, wider, silent), func(t *testing.T) {
					s := newSim(t, 1, wireConfig{delay: 5 * time.Millisecond, mtu: 1200, silent: silent, noSACK: !sack, coalesce: 0}, 1024, nil)
					a := s.ends[0]
					burst := func() {
						t.Helper()
						a.toSend += 200_000
						for deadline := s.now.Add(10 * time.Minute); s.ends[1].seen < a.toSend; {
							if !s.step() || deadline < s.now {
								t.Fatal("the stream stands still: ", s.describe())
							}
						}
					}
					a.shut, s.ends[1].shut = true, true // not yet
					a.toSend = 1
					burst()
					if a.c.path.full == 0 {
						t.Fatalf("the path's MTU was not found: %+v", a.sh.Stats)
					}
					if wider {
						s.wire.mtu = 0
					}
					full := a.c.path.full
					for range 60 {
						s.now = s.now.Add(time.Minute)
						burst()
					}
					st := a.sh.Stats
					if wider {
						if a.c.snd.mss != full || a.c.path.full != 0 || st.PathMTUProbes != 1 {
							t.Errorf("segments of %d bytes, %d probes; want %d, 1", a.c.snd.mss, st.PathMTUProbes, full)
						}
					} else if a.c.snd.mss > 1160 || st.PathMTUProbes < 5 || st.PathMTUProbes > 7 {
						t.Errorf("segments of %d bytes, %d probes; want about 6", a.c.snd.mss, st.PathMTUProbes)
					}
					if st.BlackHoles > 1 {
						t.Errorf("%d black holes", st.BlackHoles)
					}
					a.shut, s.ends[1].shut = false, false
					s.run(10 * time.Minute)
				})
			}
		}
	}
}
