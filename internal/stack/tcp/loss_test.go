package tcp

import (
	"fmt"
	"testing"
	"time"

	"github.com/zctap/zctap/internal/testenv"
)

// Whatever is lost once is repaired by SACK, RACK and tail loss probes, without the
// retransmission timer; reordering costs nothing but a few retransmissions.
func TestRepairWithoutTimeouts(t *testing.T) {
	const size = 2 << 20
	for _, tt := range []struct {
		name string
		wire wireConfig
	}{
		{"1%", wireConfig{loss: 0.01}},
		{"2%", wireConfig{loss: 0.02}},
		{"5%", wireConfig{loss: 0.05}},
		{"reordered", wireConfig{reorder: 0.05}},
		{"reordered, 1%", wireConfig{reorder: 0.05, loss: 0.01}},
		{"duplicated, 2%", wireConfig{dup: 0.05, loss: 0.02}},
	} {
		for _, algorithm := range []Congestion{Cubic, Reno} {
			t.Run(fmt.Sprintf("%s/%v", tt.name, algorithm), func(t *testing.T) {
				seeds := uint64(4)
				if testenv.Race {
					seeds = 1
				}
				for seed := range seeds {
					w := tt.wire
					w.delay, w.fragSize, w.firstOnly = 10*time.Millisecond, 4096, true
					s := newSim(t, seed, w, 2048, func(_ int, c *Config) {
						c.Congestion, c.TimeWait = algorithm, time.Millisecond
					})
					s.ends[0].toSend = size
					start := s.now
					s.run(time.Minute)
					sh := s.ends[0].sh
					t.Logf("seed %d: %v, %d lost, %d retransmitted, %+v", seed, s.now.Sub(start), s.lost, sh.Stats.Retransmits, sh.Recovery)
					if sh.Stats.Timeouts != 0 {
						t.Errorf("seed %d: %d timeouts", seed, sh.Stats.Timeouts)
					}
					if w.loss > 0 && s.lost == 0 {
						t.Errorf("seed %d: nothing was lost", seed)
					}
					// Little more is sent again than was lost.
					if most := uint64(s.lost + s.lost/5 + 20); w.reorder == 0 && sh.Stats.Retransmits > most {
						t.Errorf("seed %d: %d lost, %d sent again", seed, s.lost, sh.Stats.Retransmits)
					}
					if w.reorder > 0 && sh.Stats.Retransmits > size/testMSS/10 {
						t.Errorf("seed %d: %d of %d segments sent again for reordering", seed, sh.Stats.Retransmits, size/testMSS)
					}
				}
			})
		}
	}
}

// A window's losses cost about a round trip, not one each, as NewReno's do.
func TestBurstLoss(t *testing.T) {
	s := sendingOver(t, 30, 60, false)
	s.advance(testRTT)
	// Every other one of the first twenty is lost.
	n := 0
	for i := 1; i < 20; i += 2 {
		blocks := []int{i, i + 1}
		if i > 1 {
			blocks = append(blocks, i-2, i-1)
		}
		n += len(s.sack(0, blocks...))
	}
	n += len(s.sack(0, 20, 30))
	if s.sh.Stats.Retransmits != 10 || !s.c.loss.active {
		t.Errorf("%d sent again, %d segments in all", s.sh.Stats.Retransmits, n)
	}
	s.advance(testRTT)
	s.sack(int(s.c.snd.nxt.Sub(s.c.snd.iss)) / testMSS)
	if s.c.loss.active || s.sh.Stats.FastRetransmits != 1 || s.c.cc.ssthresh != 15*testMSS {
		t.Errorf("%+v, ssthresh %d segments", s.sh.Stats, s.c.cc.ssthresh/testMSS)
	}
}
