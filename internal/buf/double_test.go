//go:build !invariants

package buf

import (
	"fmt"
	"math"
	"runtime"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
)

// TestRacingDoubleReturns has goroutines return copies of the same iovs, all of them in
// batches of their own, while the buffers that come back go out again: the bug in a
// program that the pool has to survive (-tags invariants panics). Of each use of a
// buffer exactly one return is accepted, the others are refused and counted,
// nobody is charged in the end, and each buffer is in one place. Some buffers are lent:
// payload lands in those as soon as nobody holds them, also on their way back. One of those
// who return is a handler, on the engine's own goroutine.
func TestRacingDoubleReturns(t *testing.T) {
	for _, lent := range []int{0, turnGroup / 2, doubleBuffers} {
		t.Run(fmt.Sprintf("%d lent", lent), func(t *testing.T) { raceDoubleReturns(t, lent) })
	}
}

const doubleBuffers = turnGroup + 8 // one group, and part of another

func raceDoubleReturns(t *testing.T, lent int) {
	const buffers, racers = doubleBuffers, 3
	p := newPool(t, buffers)
	var (
		acct     Account
		accepted [buffers]atomic.Uint64 // returns
		which    [buffers]atomic.Uint64 // the sum of their generations
		refused  atomic.Uint64
		users    sync.WaitGroup
		queues   [racers]chan []Iov
	)
	if lent > 0 {
		p.Lend(lent)
		p.OneThread(func([]uint16) {})
	}
	giveBack := func(batch []Iov, how func([]Iov) (int, error)) {
		var frags [buffers]Frag
		for k := range batch {
			frags[k] = batch[k].frag
		}
		n, _ := how(batch)
		for k := range batch {
			if batch[k].frag == (Frag{}) {
				accepted[frags[k].buffer].Add(1)
				which[frags[k].buffer].Add(uint64(frags[k].gen))
				n--
			} else {
				refused.Add(1)
			}
		}
		if n != 0 {
			t.Errorf("%d more accepted than zeroed", n)
		}
	}
	for i := range queues {
		queues[i] = make(chan []Iov, 64)
		users.Go(func() {
			for batch := range queues[i] {
				giveBack(batch, p.Return)
			}
		})
	}
	var uses [buffers]uint64
	total := uint64(0)
	ids := make([]uint16, buffers)
	todo := uint64(scale(1_000_000))
	if lent > 0 {
		todo /= 8 // they come in smaller batches
	}
	for total < todo && !t.Failed() {
		var frags []Frag
		for _, b := range ids[:p.Alloc(ids[:1+total%buffers])] {
			frags = append(frags, p.Frag(b, 0, 8))
			p.Charge(b, &acct)
		}
		for b := range uint16(lent) {
			if !p.Held(b) {
				f := []Frag{Landed(b, 0, 8)}
				if n, err := p.Land(f); n != 1 || err != nil {
					t.Fatal(n, err)
				}
				frags = slices.Insert(frags, (int(b)*5+1)%(len(frags)+1), f[0])
			}
		}
		p.TakeBack(ids)
		n := len(frags)
		if n == 0 {
			runtime.Gosched()
			continue
		}
		for _, f := range frags {
			b := f.Buffer()
			if g := f.Generation(); uint64(g) != uses[b] {
				t.Errorf("buffer %d is free in generation %d after %d uses", b, g, uses[b])
			}
			wantRefs(t, p, b, 1, 0)
			uses[b]++
			total++
		}
		iovs := make([]Iov, n)
		if n, _, err := p.HandOverAll(frags, iovs, math.MaxInt); n != len(frags) || err != nil {
			t.Fatal(n, err)
		}
		for i := range queues {
			// In another order for each.
			batch := append(append([]Iov(nil), iovs[n*i/racers:]...), iovs[:n*i/racers]...)
			queues[i] <- batch
		}
		giveBack(iovs, p.ReturnHere)
	}
	for i := range queues {
		close(queues[i])
	}
	users.Wait()
	for b := range uses {
		if n, sum := accepted[b].Load(), which[b].Load(); n != uses[b] || sum != n*(n-1)/2 {
			t.Errorf("buffer %d: %d returns accepted of %d uses, or of some two and of others none", b, n, uses[b])
		}
	}
	if n := refused.Load(); n != racers*total || p.Rejected() != n {
		t.Errorf("%d refused, %d counted, want %d", n, p.Rejected(), racers*total)
	}
	if c := census(t, p); c.Out() != 0 || p.Free()+p.FreeLent() != buffers || acct.Held() != 0 {
		t.Errorf("%+v, %d free, %d charged", c, p.Free(), acct.Held())
	}
}
