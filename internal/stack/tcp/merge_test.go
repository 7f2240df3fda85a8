package tcp

import (
	"fmt"
	"reflect"
	"testing"
	"time"

	"github.com/zctap/zctap/internal/wire"
)

// Data that comes while a loss of ours is being repaired, or a tail loss probe is out, may be
// put together: it leaves a connection just as it does in segments of its own, and has it send
// the same, then and later.
func TestMergeInRecovery(t *testing.T) {
	const n, each = 4, 1000
	echo := func(s *script) { s.opts.TSEcr = s.c.timestamp(s.now) } // of what was sent again
	for _, tt := range []struct {
		name                   string
		lose                   func(s *script)
		active, timedOut, tail bool // the state that it leads to
	}{
		{"nothing lost", func(*script) {}, false, false, false},
		{"recovery", func(s *script) { s.advance(testRTT); s.sack(0, 1, 5) }, true, false, false},
		{"PRR, later", func(s *script) { s.advance(testRTT); s.sack(0, 1, 5); s.sack(0, 1, 9) }, true, false, false},
		{"tail probe", func(s *script) { s.advance(2*testRTT + ms) }, false, false, true},
		{"timeout", func(s *script) { s.advance(time.Second) }, false, true, false},
		{"F-RTO", func(s *script) { s.advance(time.Second); echo(s); s.sack(1) }, false, true, false},
		{"slow start", func(s *script) { s.advance(time.Second); echo(s); s.sack(1); s.sack(1, 11, 12) }, false, true, false},
	} {
		name, lose := tt.name, tt.lose
		for _, timestamps := range []bool{false, true} {
			var scripts [2]*script
			var after [2]string
			for i := range scripts {
				s := sendingOver(t, 10, 30, timestamps)
				scripts[i] = s
				lose(s)
				if l := &s.c.loss; l.active != tt.active || l.timedOut != tt.timedOut || s.c.tlp.open != tt.tail {
					t.Fatalf("%s: %+v, a probe is out: %v", name, *l, s.c.tlp.open)
				}
				s.opts.SACKCount = 0
				ack := int(s.c.snd.una - s.c.snd.iss)
				if i == 0 {
					for k := range n {
						s.in(1+k*each, ack, wire.ACK, stream(k*each, each))
					}
				} else {
					m := s.segment(1, ack, wire.ACK, stream(0, n*each))
					m.Count = n
					if room := s.c.Mergeable(m.TCP); room < n*each {
						t.Fatalf("%s: %d bytes may be put together", name, room)
					}
					s.c.Input(s.now, m)
				}
				after[i] = outcome(s, s.flush())
				s.advance(testRTT)
				after[i] += outcome(s, s.sack(2, 4, 8))
				after[i] += outcome(s, s.advance(5*time.Second))
			}
			if after[0] != after[1] {
				t.Errorf("%s, timestamps %v: one by one\n%s\ntogether\n%s", name, timestamps, after[0], after[1])
			}
			if a, b := scripts[0].received(), scripts[1].received(); !reflect.DeepEqual(a, b) || len(a) != n*each {
				t.Errorf("%s: received %d and %d bytes", name, len(a), len(b))
			}
		}
	}
}

// outcome is what came out, and the state of sending behind it.
func outcome(s *script, out []sent) string {
	c := s.c
	text := fmt.Sprintf("cwnd %d ssthresh %d loss %+v prr %+v rack %+v tlp %+v rtt %+v timers %v\n",
		c.cc.cwnd, c.cc.ssthresh, c.loss, c.prr, c.rack, c.tlp, c.rtt, c.timers)
	for _, o := range out {
		text += fmt.Sprintf("  %v seq %d ack %d len %d %+v\n", o.Flags, o.Seq.Sub(c.snd.iss), o.Ack.Sub(s.irs), len(o.payload), o.Options)
	}
	return text
}

// What each segment has to be looked at for is not put together with others.
func TestNotMergeable(t *testing.T) {
	for _, tt := range []struct {
		name   string
		change func(s *script, h *wire.TCP)
		want   bool
	}{
		{"in order", func(*script, *wire.TCP) {}, true},
		{"PSH", func(_ *script, h *wire.TCP) { h.Flags |= wire.PSH }, true},
		{"FIN", func(_ *script, h *wire.TCP) { h.Flags |= wire.FIN }, false},
		{"RST", func(_ *script, h *wire.TCP) { h.Flags |= wire.RST }, false},
		{"SYN", func(_ *script, h *wire.TCP) { h.Flags |= wire.SYN }, false},
		{"ECE", func(_ *script, h *wire.TCP) { h.Flags |= wire.ECE }, false},
		{"CWR", func(_ *script, h *wire.TCP) { h.Flags |= wire.CWR }, false},
		{"SACK", func(s *script, h *wire.TCP) {
			h.Options.SACKCount = 1
			h.Options.SACK[0] = wire.SACKBlock{Start: h.Ack.Add(1), End: h.Ack.Add(2)}
		}, false},
		{"a FIN behind a gap", func(s *script, _ *wire.TCP) { s.in(5000, 1, wire.ACK|wire.FIN, nil) }, false},
		{"data behind a gap", func(s *script, _ *wire.TCP) { s.in(5000, 1, wire.ACK, stream(0, 10)) }, false},
		{"nobody reads", func(s *script, _ *wire.TCP) { s.c.Recv.Close(); s.c.Close(s.now); s.flush() }, false},
		{"few buffers", func(s *script, _ *wire.TCP) {
			b := s.take(s.pool.Free() - s.sh.reserve + 1)
			s.c.admission = unjudged
			s.t.Cleanup(func() { s.giveBack(b) })
		}, false},
	} {
		t.Run(tt.name, func(t *testing.T) {
			s := established(t, withSACK)
			g := s.segment(1, 1, wire.ACK, nil)
			s.c.touch()
			tt.change(s, g.TCP)
			g.TCP.Ack = s.c.snd.una
			if got := s.c.Mergeable(g.TCP); (got > 0) != tt.want {
				t.Errorf("%d bytes may be put together", got)
			}
			s.flush()
		})
	}
}
