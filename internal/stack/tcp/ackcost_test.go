package tcp

import (
	"fmt"
	"math"
	"net/netip"
	"testing"
	"time"

	"github.com/zctap/zctap/internal/wire"
)

// ackOrders are what a peer may acknowledge one ACK after the other while n segments are under
// way: how many there are, and what ACK i acknowledges up to, in segments, and its SACK blocks in bytes
// from the first segment on.
var ackOrders = []struct {
	name  string
	count func(n int) int
	ack   func(n, i int) (una int, blocks []int)
}{
	{"one after the other", func(n int) int { return n }, func(n, i int) (int, []int) { return i + 1, nil }},
	{"behind a hole", func(n int) int { return n - 1 }, func(n, i int) (int, []int) { return 0, []int{testMSS, (i + 2) * testMSS} }},
	{"from the last to the first", func(n int) int { return n - 1 }, func(n, i int) (int, []int) {
		return 0, []int{(n - 1 - i) * testMSS, n * testMSS}
	}},
	{"every second", func(n int) int { return n/2 - 1 }, func(n, i int) (int, []int) {
		return 0, []int{(2*i + 1) * testMSS, (2*i + 2) * testMSS}
	}},
	{"every second from the last on", func(n int) int { return n/2 - 1 }, func(n, i int) (int, []int) {
		return 0, []int{(n - 1 - 2*i) * testMSS, (n - 2*i) * testMSS}
	}},
	{"every second, here and there", func(n int) int { return n/2 - 1 }, func(n, i int) (int, []int) {
		k := i * 7919 % (n/2 - 1)
		return 0, []int{(2*k + 1) * testMSS, (2*k + 2) * testMSS}
	}},
	{"every second, and the first between", func(n int) int { return n/2 - 1 }, func(n, i int) (int, []int) {
		k := n/4 + i/2
		if i%2 == 0 {
			return i / 2, []int{(2*k + 1) * testMSS, (2*k + 2) * testMSS}
		}
		return (i + 1) / 2, nil
	}},
	{"a byte of four segments", func(n int) int { return max(n/4-2, 1) }, func(n, i int) (int, []int) {
		var b []int
		for k := range 4 {
			at := (4*i+k+1)*testMSS + 700
			b = append(b, at, at+1)
		}
		return 0, b
	}},
}

// An ackCost is a connection with many segments under way, each of which was sent at a time
// of its own.
type ackCost struct {
	*script
	first   wire.Seq
	h       wire.TCP
	seg     Segment
	patient bool // the path is known to reorder
}

func newAckCost(t testing.TB, patient bool, change ...func(s *script)) *ackCost {
	k := &ackCost{script: newScript(t, 64, func(c *Config) { c.SendSpace = 20 << 20 }), patient: patient}
	k.opts.SACKPermitted, k.opts.HasWindowScale, k.opts.WindowScale = true, true, 14
	for _, f := range change {
		f(k.script)
	}
	k.establish()
	k.sh.Transmit = func(src, dst netip.Addr, h *wire.TCP, p [2][]byte, mss int) {}
	k.h = wire.TCP{SrcPort: 40000, DstPort: 80, Flags: wire.ACK, Window: 60000, Seq: k.irs.Add(1)}
	k.seg.TCP = &k.h
	return k
}

// fill has n segments under way.
func (k *ackCost) fill(n int) {
	k.c.rtt.rto, k.c.rack.reordering = time.Minute, k.patient
	k.c.cc.cwnd, k.c.snd.wnd = 30<<20, 30<<20
	k.now = k.now.Add(time.Second)
	k.first = k.c.snd.nxt
	p := stream(0, testMSS)
	for range n {
		k.now++
		if _, err := k.c.Send.TryWrite(p); err != nil {
			k.t.Fatal(err)
		}
		k.c.Kick()
		k.output()
	}
	k.now = k.now.Add(100 * time.Millisecond)
	// The reordering window is a quarter of it.
	k.c.rtt.srtt, k.c.rack.minRTT, k.c.rack.minRTTAt = 100*time.Millisecond, 100*time.Millisecond, k.now
}

func (k *ackCost) output() {
	for c := k.sh.NextDirty(); c != nil; c = k.sh.NextDirty() {
		c.Output(k.now)
	}
}

// input takes in an ACK, and sends what it asks for.
func (k *ackCost) input(una int, blocks []int) {
	k.now++
	o := &k.h.Options
	o.SACKCount = uint8(len(blocks) / 2)
	for i := range int(o.SACKCount) {
		o.SACK[i] = wire.SACKBlock{Start: k.first.Add(uint32(blocks[2*i])), End: k.first.Add(uint32(blocks[2*i+1]))}
	}
	k.h.Ack = k.first.Add(uint32(una * testMSS))
	k.c.Input(k.now, &k.seg)
	k.output()
}

// BenchmarkAck is the time that an ACK takes, what it has sent again included, with a number
// of segments under way: the least of some rounds, since a machine's pauses are no cost.
func BenchmarkAck(b *testing.B) {
	for _, patient := range []bool{false, true} {
		for _, o := range ackOrders {
			for _, n := range []int{10, 100, 1000, 4000, 10_000} {
				b.Run(fmt.Sprintf("%s/%d/patient=%v", o.name, n, patient), func(b *testing.B) {
					k := newAckCost(b, patient)
					least := math.Inf(1)
					for b.Loop() {
						k.fill(n)
						start := time.Now()
						for i := range o.count(n) {
							k.input(o.ack(n, i))
						}
						least = min(least, float64(time.Since(start).Nanoseconds())/float64(o.count(n)))
						k.now = k.now.Add(time.Second)
						k.input(n, nil)
					}
					b.ReportMetric(least, "ns/ack")
				})
			}
		}
	}
}
