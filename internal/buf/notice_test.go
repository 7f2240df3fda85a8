package buf

import (
	"sync"
	"testing"
)

func TestInvariant13_ExhaustionEpisodes(t *testing.T) {
	const n = 200
	p := newPool(t, n)
	told := 0
	p.OnNotice(func() { told++ })
	episodes := func(want uint64) {
		t.Helper()
		if got := p.Exhaustions(); got != want {
			t.Fatalf("%d episodes, want %d", got, want)
		}
	}
	notice := func(empty bool) {
		t.Helper()
		if v, ok := p.TakeNotice(); v.Empty != empty || ok != (empty || v.Drained > 0) {
			t.Fatalf("notice %+v %v, want empty %v", v, ok, empty)
		}
	}
	var one [1]uint16
	notice(false)
	ids := alloc(t, p, n)
	episodes(0)
	for range 5 { // one episode, however often the driver asks
		if p.Alloc(one[:]) != 0 {
			t.Fatal("Alloc gave what is not there")
		}
		episodes(1)
	}
	if told != 1 {
		t.Fatalf("told %d times in one episode", told)
	}
	notice(true)
	notice(false)

	p.Alloc(one[:])
	episodes(1) // still the same one, and told of
	notice(false)

	// It ends with a success, and the next one is told of again.
	p.Put(ids[0])
	ids[0] = alloc(t, p, 1)[0]
	p.Alloc(one[:])
	episodes(2)
	notice(true)

	// A call that gets a part ends the one episode and begins the next: the
	// call after it begins none.
	p.Put(ids[0])
	p.Put(ids[1])
	if k := p.Alloc(ids[:5]); k != 2 {
		t.Fatalf("Alloc gave %d, want 2", k)
	}
	episodes(3)
	p.Alloc(one[:])
	p.Alloc(one[:])
	episodes(3)
	notice(true)
	notice(false)

	// Full recovery once buffers return.
	for b := range uint16(n) {
		p.Put(b)
	}
	ids = alloc(t, p, n)
	episodes(3)
	for _, b := range ids {
		p.Put(b)
	}
	wantCensus(t, p, Census{Recycle: n})
}

func TestInvariant13_UnarmedNoticesAreNotKept(t *testing.T) {
	p := newPool(t, 1)
	var one [1]uint16
	b := alloc(t, p, 1)[0]
	p.Alloc(one[:])
	p.OnNotice(func() { t.Error("told of what was before") })
	if v, ok := p.TakeNotice(); ok {
		t.Fatalf("notice %+v of what was before OnNotice", v)
	}
	if p.Exhaustions() != 1 {
		t.Fatalf("%d episodes counted, want 1", p.Exhaustions())
	}
	p.Put(b)
}

// TestInvariant13_Kick: an engine that sleeps for want of buffers is told once
// when one comes back, whichever way.
func TestInvariant13_Kick(t *testing.T) {
	p := newPool(t, 2)
	kicks := 0
	wantKicks := func(n int) {
		t.Helper()
		if kicks != n {
			t.Fatalf("%d kicks, want %d", kicks, n)
		}
	}
	p.WantReturn() // without a function: nobody to tell
	p.Put(alloc(t, p, 1)[0])
	p.OnReturn(func() { kicks++ })
	ids := alloc(t, p, 2)
	p.Put(ids[0])
	wantKicks(0) // nobody asked
	p.WantReturn()
	wantKicks(0) // and what came back before is for the asker to look at
	p.Put(ids[1])
	wantKicks(1)
	ids = alloc(t, p, 2)
	p.Put(ids[0])
	wantKicks(1) // one kick a wish
	p.WantReturn()
	v := handOver(t, p, ids[1], 0, 1)
	wantKicks(1)
	giveBack(t, p, v)
	wantKicks(2)
	// A refused return brings nothing back.
	p.WantReturn()
	refused(t, p, Iov{}, ErrStale)
	wantKicks(2)
}

// TestInvariant13_NoLostKick lets the engine sleep each time that it finds
// nothing: were a kick lost it would sleep for good.
func TestInvariant13_NoLostKick(t *testing.T) {
	const n = 4
	p := newPool(t, n)
	wake := make(chan struct{}, 1)
	p.OnReturn(func() {
		select {
		case wake <- struct{}{}:
		default:
		}
	})
	out := make(chan Iov, n)
	var back sync.WaitGroup
	for range 2 {
		back.Go(func() {
			for v := range out {
				if _, err := p.Return([]Iov{v}); err != nil {
					t.Error(err)
				}
			}
		})
	}
	var one [1]uint16
	for range scale(300_000) {
		for p.Alloc(one[:]) == 0 {
			p.WantReturn()
			if p.Alloc(one[:]) == 1 {
				break
			}
			<-wake
		}
		out <- handOver(t, p, one[0], 0, 1)
	}
	close(out)
	back.Wait()
}

func TestInvariant14_DrainNotices(t *testing.T) {
	const n = 300
	p := newPool(t, n)
	told := 0
	p.OnNotice(func() { told++ })
	// cycle sends k buffers through the application and the fill ring.
	cycle := func(k int) {
		t.Helper()
		var iovs []Iov
		for _, b := range alloc(t, p, k) {
			iovs = append(iovs, handOver(t, p, b, 0, 1))
		}
		giveBack(t, p, iovs...)
	}
	cycle(n) // all from the freelist
	if v, ok := p.TakeNotice(); ok {
		t.Fatalf("notice %+v, and nothing was drained", v)
	}
	cycle(1) // takes a batch of 64 from the fill ring
	if told != 1 {
		t.Fatalf("told %d times", told)
	}
	if v, ok := p.TakeNotice(); !ok || v != (Notice{Drained: refillBatch}) {
		t.Fatalf("notice %+v %v, want %d drained", v, ok, refillBatch)
	}
	// Two more batches, one notice outstanding, the counts add up.
	cycle(200)
	if told != 2 {
		t.Fatalf("told %d times with one notice outstanding, want 2", told)
	}
	before := p.fill.head.Load()
	v, ok := p.TakeNotice()
	if want := before - refillBatch; !ok || v.Drained != want {
		t.Fatalf("notice %+v %v, want %d drained", v, ok, want)
	}
	if v, ok := p.TakeNotice(); ok {
		t.Fatalf("notice %+v a second time", v)
	}
}

// TestInvariant14_CountsSumUp takes notices on another goroutine, only when it
// is told: together they count every entry that left the fill ring, and none is
// left untold.
func TestInvariant14_CountsSumUp(t *testing.T) {
	p := newPool(t, 256)
	telling := make(chan struct{}, 1) // one outstanding: never full
	p.OnNotice(func() {
		select {
		case telling <- struct{}{}:
		default:
			t.Error("a second notice while one is outstanding")
		}
	})
	sum := make(chan uint64)
	go func() {
		var n uint64
		for range telling {
			v, _ := p.TakeNotice()
			n += v.Drained
		}
		sum <- n
	}()
	var iovs []Iov
	for range scale(100_000) {
		for _, b := range alloc(t, p, 8) {
			iovs = append(iovs, handOver(t, p, b, 0, 1))
		}
		giveBack(t, p, iovs...)
		iovs = iovs[:0]
	}
	close(telling)
	if got, want := <-sum, p.fill.head.Load(); got != want {
		t.Fatalf("notices count %d entries, %d were drained", got, want)
	}
}
