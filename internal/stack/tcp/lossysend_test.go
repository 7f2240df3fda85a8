package tcp

import (
	"fmt"
	"math/rand/v2"
	"net/netip"
	"slices"
	"testing"
	"time"

	"github.com/zctap/zctap/internal/mono"
	"github.com/zctap/zctap/internal/wire"
)

// A lossyReceiver is a peer 20 ms away who acknowledges every other segment, over a path that
// loses some, and keeps what it has received as simply as can be.
type lossyReceiver struct {
	*ackCost
	rng    *rand.Rand
	loss   float64
	flying []flight
	next   wire.Seq
	held   []wire.SACKBlock // beyond next, in order
	recent []wire.Seq       // in ranges that changed last
	high   wire.Seq
	count  int
}

// A flight is a segment on its way.
type flight struct {
	at       mono.Time
	seq, end wire.Seq
}

func (r *lossyReceiver) transmit(_, _ netip.Addr, h *wire.TCP, p [2][]byte, mss int) {
	seq := h.Seq
	for left := uint32(len(p[0]) + len(p[1])); left > 0; {
		n := min(left, uint32(mss))
		end := seq.Add(n)
		if r.count++; end.LessEq(r.high) || r.rng.Float64() >= r.loss {
			r.flying = append(r.flying, flight{r.now.Add(20 * time.Millisecond), seq, end})
		}
		r.high = later(r.high, end)
		seq, left = end, left-n
	}
}

// arrived takes in a segment.
func (r *lossyReceiver) arrived(f flight) {
	b := wire.SACKBlock{Start: f.seq, End: f.end}
	if b.Start.LessEq(r.next) {
		r.next = later(r.next, b.End)
		for len(r.held) > 0 && r.held[0].Start.LessEq(r.next) {
			r.next = later(r.next, r.held[0].End)
			r.held = r.held[1:]
		}
		return
	}
	i := len(r.held)
	for i > 0 && b.Start.LessEq(r.held[i-1].End) {
		i--
	}
	j := i
	for ; j < len(r.held) && r.held[j].Start.LessEq(b.End); j++ {
		b.Start, b.End = earlier(b.Start, r.held[j].Start), later(b.End, r.held[j].End)
	}
	r.held = slices.Replace(r.held, i, j, b)
	r.recent = append([]wire.Seq{f.seq}, r.recent...)
	r.recent = r.recent[:min(len(r.recent), 3)]
}

// ack sends an ACK with the ranges that changed last, and returns what the sender took.
func (r *lossyReceiver) ack() time.Duration {
	o := &r.h.Options
	o.SACKCount = 0
	for _, seq := range r.recent {
		for _, b := range r.held {
			if b.Start.LessEq(seq) && seq.LessThan(b.End) && !slices.Contains(o.SACK[:o.SACKCount], b) {
				o.SACK[o.SACKCount] = b
				o.SACKCount++
			}
		}
	}
	r.h.Ack = r.next
	start := time.Now()
	r.c.Input(r.now, &r.seg)
	return time.Since(start)
}

// BenchmarkLossySend is the time that a sender takes for a segment, with a window under way and some of
// it lost: the ACKs, what is sent again, and what is new.
func BenchmarkLossySend(b *testing.B) {
	for _, window := range []uint32{64 << 10, 1 << 20, 8 << 20} {
		for _, loss := range []float64{0, 0.001, 0.01, 0.05} {
			b.Run(fmt.Sprintf("%d KB/%v", window>>10, loss), func(b *testing.B) {
				r := &lossyReceiver{ackCost: newAckCost(b, false), rng: rand.New(rand.NewPCG(1, 2)), loss: loss}
				r.sh.Transmit = r.transmit
				r.next, r.high, r.first = r.c.snd.nxt, r.c.snd.nxt, r.c.snd.nxt
				r.c.snd.wnd = 30 << 20
				data := stream(0, 1<<20)
				var took time.Duration
				for r.count < b.N {
					for n := 1; n > 0; {
						n, _ = r.c.Send.TryWrite(data)
					}
					r.c.Kick()
					// The window stays what it is: congestion control is not measured.
					if w := &r.c.cc; !r.c.loss.active && !r.c.loss.timedOut {
						w.cwnd, w.ssthresh = window, window
					} else {
						w.ssthresh = window
					}
					start := time.Now()
					r.c.Advance(r.now)
					r.output()
					took += time.Since(start)
					r.now = r.now.Add(100 * time.Microsecond)
					next := r.c.Deadline()
					if len(r.flying) > 0 && (next == 0 || r.flying[0].at < next) {
						next = r.flying[0].at
					}
					r.now = max(r.now, next)
					if r.c.state != Established {
						b.Fatalf("%v after %d segments", r.c.state, r.count)
					}
					for n := 0; len(r.flying) > 0 && !r.now.Before(r.flying[0].at); n++ {
						r.arrived(r.flying[0])
						r.flying = r.flying[1:]
						if n%2 == 1 || len(r.held) > 0 || len(r.flying) == 0 || r.now.Before(r.flying[0].at) {
							took += r.ack()
						}
					}
				}
				b.ReportMetric(float64(took.Nanoseconds())/float64(r.count), "ns/segment")
				b.ReportMetric(float64(r.sh.Stats.Timeouts), "timeouts")
				b.ReportMetric(100*float64(r.sh.Stats.Retransmits)/float64(r.count), "%again")
			})
		}
	}
}
