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

// TestAckLooks: how many records are looked at for an ACK, and what it has sent again, depends
// on what it changes and not on how many there are.
func TestAckLooks(t *testing.T) {
	const few, many = 100, 2000
	for _, patient := range []bool{false, true} {
		for _, o := range ackOrders {
			t.Run(fmt.Sprintf("%s, patient %v", o.name, patient), func(t *testing.T) {
				var looks [2]float64
				for i, n := range []int{few, many} {
					k := newAckCost(t, patient)
					k.fill(n)
					if got := k.c.board.tx.count; got != n {
						t.Fatalf("%d records of %d segments", got, n)
					}
					k.c.board.tx.looked = 0
					acks := o.count(n) - 1 // with the last there may be nothing left
					for i := range acks {
						k.input(o.ack(n, i))
						k.checkSome(i)
					}
					looks[i] = float64(k.c.board.tx.looked) / float64(acks)
				}
				t.Logf("%.1f records an ACK, %.1f with %d segments under way", looks[0], looks[1], many)
				// The tree is 4 to 8 steps deeper with 20 times as many, for each search, and for
				// what is noted on the way up: 15 to 35 in all. A walk takes hundreds.
				if looks[0] == 0 || looks[1] > looks[0]+100 {
					t.Errorf("%.1f records an ACK with %d segments under way, with %d %.1f", looks[1], many, few, looks[0])
				}
			})
		}
	}
}

// TestUndoLooks is TestAckLooks for what was taken for a loss and turns out to be late.
func TestUndoLooks(t *testing.T) {
	const cycles = 20
	var looks [2]float64
	sizes := [2]int{100, 2000}
	for i, n := range sizes {
		k := newAckCost(t, false, func(s *script) { s.opts.HasTimestamps, s.opts.TSVal = true, 1 })
		k.fill(n)
		echo := k.c.timestamp(k.now)
		k.now = k.now.Add(5 * time.Millisecond)
		k.h.Options.HasTimestamps, k.h.Options.TSVal, k.h.Options.TSEcr = true, 1, echo
		k.c.board.tx.looked = 0
		for i := range cycles {
			k.input(4*i, []int{(4*i + 1) * testMSS, (4*i + 4) * testMSS})
			k.now = k.now.Add(50 * time.Millisecond) // more than a reordering window
			k.c.Advance(k.now)
			k.output()
			k.input(4*i+4, nil)
			k.checkSome(i)
		}
		if r := k.sh.Recovery; r.Undone != cycles || k.c.loss.active {
			t.Fatalf("%+v", r)
		}
		looks[i] = float64(k.c.board.tx.looked) / cycles
	}
	t.Logf("%.1f records each, %.1f with %d segments under way", looks[0], looks[1], sizes[1])
	if looks[1] > looks[0]+150 { // three ACKs' worth, or so
		t.Errorf("%.1f records with %d segments under way, with %d %.1f", looks[1], sizes[1], sizes[0], looks[0])
	}
}

// renege sends n segments, of which the peer SACKs every second one. Then it acknowledges two, and
// so shows that it has dropped the third, which it had SACKed.
func (k *ackCost) renege(n int) {
	k.fill(n)
	for at := 2; at < n; at += 2 {
		k.input(0, []int{at * testMSS, (at + 1) * testMSS})
	}
	k.input(2, nil)
}

// TestRenegeLooks is TestAckLooks for a timeout when the peer has dropped half of what it had SACKed,
// every second segment: the cost of a record.
func TestRenegeLooks(t *testing.T) {
	var looks [2]float64
	sizes := [2]int{100, 2000}
	for i, n := range sizes {
		k := newAckCost(t, true)
		k.renege(n)
		k.c.board.tx.looked = 0
		for k.sh.Recovery.PeerReneged == 0 {
			if k.now = k.c.Deadline(); k.now == 0 {
				t.Fatal("no timer runs")
			}
			k.c.Advance(k.now)
		}
		k.checkSome(0)
		if b := &k.c.board; b.sacked != 0 || b.tx.count < n-2 {
			t.Fatalf("%d records, %d bytes SACKed of %d segments", b.tx.count, b.sacked, n)
		}
		looks[i] = float64(k.c.board.tx.looked) / float64(n)
	}
	t.Logf("%.1f records each, %.1f with %d segments under way", looks[0], looks[1], sizes[1])
	if looks[0] == 0 || looks[1] > looks[0]+50 {
		t.Errorf("%.1f records each with %d segments under way, with %d %.1f", looks[1], sizes[1], sizes[0], looks[0])
	}
}

// TestRenegeLooksAgain is TestRenegeLooks for two timeouts, when as many segments were sent just
// before the first one, so that only at the second one they have been under way for long.
func TestRenegeLooksAgain(t *testing.T) {
	var looks [2]float64
	sizes := [2]int{100, 1500}
	for i, n := range sizes {
		k := newAckCost(t, true)
		k.renege(n)
		timeout := k.c.timers[timerRetransmit]
		k.now = timeout.Add(-time.Duration(n))
		for range n {
			k.now++
			k.c.cc.cwnd = 30 << 20
			if _, err := k.c.Send.TryWrite(stream(0, testMSS)); err != nil {
				t.Fatal(err)
			}
			k.c.Kick()
			k.output()
		}
		if got := k.c.timers[timerRetransmit]; got != timeout || k.now != timeout || k.c.board.tx.count < 2*n-2 {
			t.Fatalf("%d records, the timeout at %d, not %d", k.c.board.tx.count, got, timeout)
		}
		k.c.board.tx.looked = 0
		k.c.Advance(k.now)
		if k.sh.Recovery.PeerReneged != 1 {
			t.Fatal("that was no timeout")
		}
		k.output()
		for before := k.sh.Stats.Timeouts; k.sh.Stats.Timeouts == before; {
			if k.now = k.c.Deadline(); k.now == 0 {
				t.Fatal("no timer runs")
			}
			k.c.Advance(k.now)
		}
		looks[i] = float64(k.c.board.tx.looked) / float64(n)
		k.checkSome(0)
	}
	t.Logf("%.1f records each, %.1f with %d segments under way", looks[0], looks[1], sizes[1])
	if looks[0] == 0 || looks[1] > looks[0]+50 {
		t.Errorf("%.1f records each with %d segments under way, with %d %.1f", looks[1], sizes[1], sizes[0], looks[0])
	}
}

// checkSome checks the connection now and then.
func (k *ackCost) checkSome(i int) {
	if i%97 != 0 {
		return
	}
	looked := k.c.board.tx.looked
	if err := checkConn(k.c); err != nil {
		k.t.Fatal(err)
	}
	k.c.board.tx.looked = looked
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
