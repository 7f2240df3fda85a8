package shring

import (
	"sync/atomic"
	"testing"
)

// starts are first indices worth trying: zero, and so close below 2^32 that the run crosses the wrap.
var starts = map[string]uint32{"from zero": 0, "over the wrap": 1<<32 - 5}

func TestFullAndEmpty(t *testing.T) {
	for name, start := range starts {
		t.Run(name, func(t *testing.T) {
			p, c, w := ends(t, 4, start)
			if _, got := c.Peek(1); got != 0 {
				t.Fatalf("a new ring has %d entries", got)
			}
			for round := range uint32(20) {
				first, got := p.Reserve(100)
				if first != start+4*round || got != 4 {
					t.Fatalf("round %d: reserved %d from %d, want 4 from %d", round, got, first, start+4*round)
				}
				p.Submit(got)
				if at, got := p.Reserve(1); got != 0 || at != first+4 {
					t.Fatalf("round %d: reserved %d at %d of a full ring", round, got, at)
				}
				if n := p.InFlight(); n != 4 {
					t.Fatalf("round %d: InFlight %d, want 4", round, n)
				}
				at, got := c.Peek(100)
				if at != first || got != 4 {
					t.Fatalf("round %d: peeked %d from %d, want 4 from %d", round, got, at, first)
				}
				c.Release(got)
				if n := c.Ready(); n != 0 {
					t.Fatalf("round %d: Ready %d after all was released", round, n)
				}
			}
			if *w.Producer != start+80 || *w.Consumer != start+80 {
				t.Fatalf("words are %d and %d, want both %d", *w.Producer, *w.Consumer, start+80)
			}
			if p.Err() != nil || c.Err() != nil {
				t.Fatalf("a correct peer was refused: %v, %v", p.Err(), c.Err())
			}
		})
	}
}

// TestBatches moves uneven batches and sees that each entry arrives once, in order, with what was written in it.
func TestBatches(t *testing.T) {
	for name, start := range starts {
		t.Run(name, func(t *testing.T) {
			p, c, _ := ends(t, 16, start)
			slots := make([]uint32, p.Size())
			var sent, received uint32
			for step := uint32(0); received < 1000; step++ {
				at, got := p.Reserve(1 + step%7)
				for i := range got {
					slots[(at+i)&p.Mask()] = sent
					sent++
				}
				p.Submit(got)
				at, got = c.Peek(1 + step%5)
				for i := range got {
					if v := slots[(at+i)&c.Mask()]; v != received {
						t.Fatalf("step %d: entry holds %d, want %d", step, v, received)
					}
					received++
				}
				c.Release(got)
			}
		})
	}
}

func TestNothingMovesBeforeSubmitAndRelease(t *testing.T) {
	p, c, w := ends(t, 8, 100)
	p.Reserve(5)
	if at, got := p.Reserve(3); at != 100 || got != 3 {
		t.Fatalf("second reserve: %d from %d, want 3 from 100", got, at)
	}
	if *w.Producer != 100 {
		t.Fatalf("Reserve published index %d", *w.Producer)
	}
	p.Submit(2) // fewer than reserved: the others stay free
	if at, got := p.Reserve(8); at != 102 || got != 6 {
		t.Fatalf("after a partial submit: %d from %d, want 6 from 102", got, at)
	}
	c.Peek(2)
	if at, got := c.Peek(1); at != 100 || got != 1 {
		t.Fatalf("second peek: %d from %d, want 1 from 100", got, at)
	}
	if *w.Consumer != 100 {
		t.Fatalf("Peek released up to %d", *w.Consumer)
	}
	c.Release(1)
	if at, got := c.Peek(8); at != 101 || got != 1 {
		t.Fatalf("after a partial release: %d from %d, want 1 from 101", got, at)
	}
	p.Submit(0)
	c.Release(0)
	if *w.Producer != 102 || *w.Consumer != 101 {
		t.Fatalf("words are %d and %d, want 102 and 101", *w.Producer, *w.Consumer)
	}
}

func TestOverrunPanics(t *testing.T) {
	panics := func(f func()) (did bool) {
		defer func() { did = recover() != nil }()
		f()
		return false
	}
	p, c, w := ends(t, 8, 0)
	if !panics(func() { p.Submit(9) }) {
		t.Error("Submit of more than the ring holds went through")
	}
	p.Submit(3)
	c.Peek(3)
	if !panics(func() { c.Release(4) }) {
		t.Error("Release of more than was published went through")
	}
	if *w.Producer != 3 || *w.Consumer != 0 {
		t.Errorf("words are %d and %d, want 3 and 0", *w.Producer, *w.Consumer)
	}
}

func TestFlags(t *testing.T) {
	p, _, w := ends(t, 8, 0)
	if p.NeedsWakeup() {
		t.Error("NeedsWakeup on a clear flag word")
	}
	atomic.StoreUint32(w.Flags, 1<<1)
	if p.NeedsWakeup() || p.Flags() != 1<<1 {
		t.Errorf("flags %#x: NeedsWakeup %v", p.Flags(), p.NeedsWakeup())
	}
	atomic.StoreUint32(w.Flags, NeedWakeup|1<<1)
	if !p.NeedsWakeup() {
		t.Error("the kernel's wish was not seen")
	}
	w.Flags = nil
	p, err := NewProducer(w)
	if err != nil {
		t.Fatal(err)
	}
	if p.NeedsWakeup() || p.Flags() != 0 {
		t.Error("a ring without flag word has flags")
	}
}

func TestNoAllocation(t *testing.T) {
	p, c, _ := ends(t, 64, 0)
	if n := testing.AllocsPerRun(1000, func() {
		_, got := p.Reserve(64)
		p.Submit(got)
		_, got = c.Peek(64)
		c.Release(got)
		p.InFlight()
		c.Ready()
		p.NeedsWakeup()
	}); n != 0 {
		t.Errorf("%v allocations a round, want 0", n)
	}
}

func BenchmarkBatch(b *testing.B) {
	w := newWords(256, 0)
	p, _ := NewProducer(w)
	c, _ := NewConsumer(w)
	for b.Loop() {
		_, got := p.Reserve(32)
		p.Submit(got)
		_, got = c.Peek(32)
		c.Release(got)
	}
}
