//go:build !invariants

package buf

import (
	"runtime"
	"sync/atomic"
	"testing"
)

// TestRacingSoleReturns returns lent buffers one after the other, while another
// goroutine returns the same ones, each as nearly at once as can be: of the two returns
// of a use one is accepted. It follows, and nobody waits for it: on a busy machine there
// are fewer encounters, and it takes no longer. Batches would not do: who loses one buffer of
// it takes the way of shared buffers for the rest.
func TestRacingSoleReturns(t *testing.T) {
	const buffers = 1024
	p := newPool(t, buffers)
	p.Lend(buffers)
	var (
		at      atomic.Int64 // what is returned next
		theirs  = make([]Iov, buffers)
		begin   = make(chan int64) // how far behind to follow
		counted = make(chan int)
	)
	go func() {
		for lag := range begin {
			n := 0
			give := func(i int64) {
				k, _ := p.Return(theirs[i : i+1])
				n += k
			}
			first := min(at.Load(), buffers)
			for i := first; i < buffers; i++ {
				for spins := 1; at.Load()+1 < i+lag; spins++ {
					if spins%256 == 0 {
						runtime.Gosched()
					}
				}
				give(i)
			}
			for i := range first {
				give(i)
			}
			counted <- n
		}
	}()
	defer close(begin)
	rounds := max(scale(400), 150)
	frags, ours, ids := make([]Frag, buffers), make([]Iov, buffers), make([]uint16, buffers)
	total := 0
	for r := range rounds {
		for b := range frags {
			frags[b] = Landed(uint16(b), 0, 8)
		}
		if n, err := p.Land(frags); n != buffers || err != nil {
			t.Fatal(n, err)
		}
		if n, _, err := p.HandOverAll(frags, ours, 8*buffers); n != buffers || err != nil {
			t.Fatal(n, err)
		}
		copy(theirs, ours)
		at.Store(0)
		begin <- int64(r % 3)
		for i := range ours {
			at.Store(int64(i))
			n, _ := p.Return(ours[i : i+1])
			total += n
		}
		at.Store(2 * buffers)
		total += <-counted
		p.TakeBack(ids)
	}
	if want := rounds * buffers; total != want || p.Rejected() != uint64(want) {
		t.Errorf("of %d uses %d returns were accepted, and %d refused", want, total, p.Rejected())
	}
	if c := census(t, p); c.Out() != 0 || p.Free()+p.FreeLent() != buffers {
		t.Errorf("%+v, %d free", c, p.Free())
	}
}
