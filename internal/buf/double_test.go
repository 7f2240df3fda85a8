//go:build !invariants

package buf

import (
	"runtime"
	"sync"
	"sync/atomic"
	"testing"
)

// TestRacingDoubleReturns has goroutines return copies of the same iovs, all of them in
// batches of their own, while the buffers that come back go out again: the bug in a
// program that the pool has to survive (-tags invariants panics). Of each use of a
// buffer exactly one return is accepted, the others are refused and counted,
// nobody is charged in the end, and each buffer is in one place.
func TestRacingDoubleReturns(t *testing.T) {
	const buffers, racers = turnGroup + 8, 3 // one group, and part of another
	p := newPool(t, buffers)
	var (
		acct     Account
		accepted [buffers]atomic.Uint64 // returns
		refused  atomic.Uint64
		users    sync.WaitGroup
		queues   [racers]chan []Iov
	)
	for i := range queues {
		queues[i] = make(chan []Iov, 64)
		users.Go(func() {
			for batch := range queues[i] {
				var ids [buffers]uint16
				for k := range batch {
					ids[k] = batch[k].frag.buffer
				}
				n, _ := p.Return(batch)
				for k := range batch {
					if batch[k].frag == (Frag{}) {
						accepted[ids[k]].Add(1)
						n--
					} else {
						refused.Add(1)
					}
				}
				if n != 0 {
					t.Errorf("%d more accepted than zeroed", n)
				}
			}
		})
	}
	var uses [buffers]uint64
	total := uint64(0)
	ids := make([]uint16, buffers)
	for total < uint64(scale(1_000_000)) && !t.Failed() {
		n := p.Alloc(ids[:1+total%buffers])
		if n == 0 {
			runtime.Gosched()
			continue
		}
		var iovs []Iov
		for _, b := range ids[:n] {
			if g := p.Frag(b, 0, 1).Generation(); uint64(g) != uses[b] {
				t.Errorf("buffer %d is free in generation %d after %d uses", b, g, uses[b])
			}
			wantRefs(t, p, b, 1, 0)
			p.Charge(b, &acct)
			iovs = append(iovs, handOver(t, p, b, 0, 8))
			uses[b]++
			total++
		}
		for i := range queues {
			// In another order for each.
			batch := append(append([]Iov(nil), iovs[n*i/racers:]...), iovs[:n*i/racers]...)
			queues[i] <- batch
		}
	}
	for i := range queues {
		close(queues[i])
	}
	users.Wait()
	for b := range uses {
		if n := accepted[b].Load(); n != uses[b] {
			t.Errorf("buffer %d: %d returns accepted of %d uses", b, n, uses[b])
		}
	}
	if n := refused.Load(); n != (racers-1)*total || p.Rejected() != n {
		t.Errorf("%d refused, %d counted, want %d", n, p.Rejected(), (racers-1)*total)
	}
	if c := census(t, p); c.Out() != 0 || p.Free() != buffers || acct.Held() != 0 {
		t.Errorf("%+v, %d free, %d charged", c, p.Free(), acct.Held())
	}
}
