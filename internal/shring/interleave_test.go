//go:build interleave

package shring

import (
	"testing"

	"github.com/zctap/zctap/internal/interleave"
	"github.com/zctap/zctap/internal/interleave/atomic"
)

// An explored is both ends of a ring of two entries whose indices are about to wrap. The other end
// is the kernel's, played by ours.
type explored struct {
	*interleave.Execution
	p     *Producer
	c     *Consumer
	flags *uint32
	slots [2]uint32
	sent  uint32
	got   uint32
}

func newExplored(x *interleave.Execution) *explored {
	w := newWords(2, 1<<32-1)
	e := &explored{Execution: x, flags: w.Flags}
	var err error
	if e.p, err = NewProducer(w); err != nil {
		x.Fatal(err)
	}
	if e.c, err = NewConsumer(w); err != nil {
		x.Fatal(err)
	}
	return e
}

// send publishes as many entries as there is room for, n at most, and returns how many.
func (e *explored) send(n uint32) uint32 {
	at, got := e.p.Reserve(n)
	for i := range got {
		e.sent++
		e.slots[(at+i)&e.p.Mask()] = e.sent
	}
	e.p.Submit(got)
	return got
}

// receive takes and checks what was published, n entries at most, and returns how many.
func (e *explored) receive(n uint32) uint32 {
	at, got := e.c.Peek(n)
	for i := range got {
		e.c.Ready() // here the producer may go on
		e.got++
		if v := e.slots[(at+i)&e.c.Mask()]; v != e.got {
			e.Errorf("entry %d is %d", e.got, v)
		}
	}
	e.c.Release(got)
	return got
}

// Each entry arrives once, in order and as it was written, through a ring that is full and empty
// by turns; neither end takes the other's index for impossible.
func TestInterleaveRing(t *testing.T) {
	for _, batch := range []uint32{1, 2} {
		interleave.Explore(t, 3, func(x *interleave.Execution) {
			const n = 4
			e := newExplored(x)
			x.Go("producer", func() {
				for left := uint32(n); left > 0; {
					sent := e.send(min(batch, left))
					if left -= sent; sent == 0 {
						interleave.Yield()
					}
				}
			})
			x.Go("consumer", func() {
				for e.got < n {
					if e.receive(2) == 0 {
						interleave.Yield()
					}
				}
			})
			x.Cleanup(func() {
				if e.got != n || e.p.InFlight() != 0 || e.p.Corruptions() != 0 || e.c.Corruptions() != 0 {
					x.Errorf("%d of %d received, %d in flight; %v, %v", e.got, n, e.p.InFlight(), e.p.Err(), e.c.Err())
				}
			})
		})
	}
}

// A kernel that sets the flag, finds nothing and sleeps is woken for what is published then.
func TestInterleaveNeedsWakeup(t *testing.T) {
	interleave.Explore(t, 4, func(x *interleave.Execution) {
		const n = 2
		e := newExplored(x)
		woken := false
		x.Go("producer", func() {
			for range n {
				e.send(1)
				if e.p.NeedsWakeup() {
					woken = true
				}
			}
		})
		x.Go("kernel", func() {
			for e.got < n {
				if e.receive(2) > 0 {
					continue
				}
				atomic.StoreUint32(e.flags, NeedWakeup)
				if e.c.Ready() == 0 {
					interleave.Await(func() bool { return woken })
					woken = false
				}
				atomic.StoreUint32(e.flags, 0)
			}
		})
	})
}
