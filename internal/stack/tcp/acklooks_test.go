//go:build invariants

package tcp

import (
	"fmt"
	"testing"
	"time"
)

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
					k.c.board.tx.looks.n = 0
					acks := o.count(n) - 1 // with the last there may be nothing left
					for i := range acks {
						k.input(o.ack(n, i))
						k.checkSome(i)
					}
					looks[i] = float64(k.c.board.tx.looks.n) / float64(acks)
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
		k.c.board.tx.looks.n = 0
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
		looks[i] = float64(k.c.board.tx.looks.n) / cycles
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
		k.c.board.tx.looks.n = 0
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
		looks[i] = float64(k.c.board.tx.looks.n) / float64(n)
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
		k.c.board.tx.looks.n = 0
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
		looks[i] = float64(k.c.board.tx.looks.n) / float64(n)
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
	looks := k.c.board.tx.looks
	if err := checkConn(k.c); err != nil {
		k.t.Fatal(err)
	}
	k.c.board.tx.looks = looks
}
