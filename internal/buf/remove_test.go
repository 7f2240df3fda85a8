package buf

import (
	"errors"
	"sync"
	"syscall"
	"testing"
)

func TestInvariant16_CloseStopsAllocationFirst(t *testing.T) {
	p := newPool(t, 300)
	p.OnNotice(func() { t.Error("a closed pool is not an exhausted one") })
	b := alloc(t, p, 1)[0]
	for range 2 { // idempotent
		p.Close()
		if n := p.Alloc(make([]uint16, 10)); n != 0 {
			t.Fatalf("a closed pool gave %d buffers, with %d in its cache", n, len(p.cache))
		}
	}
	if p.Exhaustions() != 0 {
		t.Fatal("a closed pool counts exhaustions")
	}
	p.Put(b)
}

func TestInvariant16_WaitsForKernelNotForUserReferences(t *testing.T) {
	live := LiveRegions()
	p := NewPool(newRegion(t, 4))
	ids := alloc(t, p, 3)
	copy(p.Region().Buffer(ids[1]), "still here")
	user := handOver(t, p, ids[1], 0, 10)

	p.Close()
	for _, b := range []uint16{ids[0], ids[2]} {
		if p.Remove() {
			t.Fatalf("removed with kernel references: %+v", census(t, p))
		}
		p.Put(b)
	}
	for range 2 { // idempotent
		if !p.Remove() {
			t.Fatal("not removed without kernel references")
		}
	}
	if LiveRegions() != live+1 {
		t.Fatal("the region is gone while an iov is out")
	}
	if string(user.Bytes()) != "still here" {
		t.Fatalf("view %q", user.Bytes())
	}
	stale := user
	giveBack(t, p, user)
	if LiveRegions() != live {
		t.Fatal("the region is still there after the last return")
	}
	if !p.Remove() || p.Abandon() != nil {
		t.Fatal("not idempotent")
	}
	refused(t, p, stale, ErrStale) // harmless, though the memory is gone
}

func TestInvariant16_NotRemovedBeforeClose(t *testing.T) {
	p := newPool(t, 2)
	if p.Remove() {
		t.Fatal("an open pool without references was removed")
	}
	b := alloc(t, p, 1)[0]
	if p.Remove() {
		t.Fatal("an open pool was removed")
	}
	p.Put(b)
}

// TestInvariant16_LastReference lets each kind of reference be the last.
func TestInvariant16_LastReference(t *testing.T) {
	for name, last := range map[string]func(t *testing.T, p *Pool, b uint16){
		"none out": func(_ *testing.T, p *Pool, b uint16) { p.Put(b); p.Remove() },
		"put": func(t *testing.T, p *Pool, b uint16) {
			if err := p.Abandon(); err == nil {
				t.Fatal("abandoned without an error")
			}
			p.Put(b)
		},
		"return": func(t *testing.T, p *Pool, b uint16) {
			v := handOver(t, p, b, 0, 1)
			p.Remove()
			giveBack(t, p, v)
		},
		"put, then return": func(t *testing.T, p *Pool, b uint16) {
			v := giveUser(t, p, b, 0, 1)
			p.Put(b)
			p.Remove()
			giveBack(t, p, v)
		},
	} {
		t.Run(name, func(t *testing.T) {
			live := LiveRegions()
			p := NewPool(newRegion(t, 2))
			b := alloc(t, p, 1)[0]
			p.Close()
			last(t, p, b)
			if LiveRegions() != live || p.state.Load() != poolFreed {
				t.Fatalf("the region was not freed, state %d", p.state.Load())
			}
		})
	}
}

// TestInvariant16_KernelReferencesKick: whoever waits in Remove is told of
// every event that can end the wait, also of one that frees no buffer.
func TestInvariant16_KernelReferencesKick(t *testing.T) {
	for name, drop := range map[string]func(t *testing.T, p *Pool, b uint16, v *Iov){
		"put under an iov": func(t *testing.T, p *Pool, b uint16, v *Iov) {
			*v = giveUser(t, p, b, 0, 1)
			p.Put(b)
		},
		"hand over": func(t *testing.T, p *Pool, b uint16, v *Iov) { *v = handOver(t, p, b, 0, 1) },
		"put":       func(_ *testing.T, p *Pool, b uint16, _ *Iov) { p.Put(b) },
	} {
		t.Run(name, func(t *testing.T) {
			p := newPool(t, 1)
			kicks := 0
			p.OnReturn(func() { kicks++ })
			b := alloc(t, p, 1)[0]
			p.Close()
			p.WantReturn()
			if p.Remove() {
				t.Fatal("removed with a kernel reference")
			}
			var v Iov
			drop(t, p, b, &v)
			if kicks != 1 {
				t.Fatalf("%d kicks, want 1", kicks)
			}
			if !p.Remove() {
				t.Fatal("kicked, and not removed")
			}
			if v.Bytes() != nil {
				giveBack(t, p, v)
			}
		})
	}
}

func TestInvariant16_AbandonKeepsTheMemory(t *testing.T) {
	live := LiveRegions()
	p := NewPool(newRegion(t, 8))
	ids := alloc(t, p, 3)
	copy(p.Region().Buffer(ids[0]), "driver's")
	copy(p.Region().Buffer(ids[2]), "user's")
	v := handOver(t, p, ids[2], 0, 6)
	p.Close()
	for range 2 { // the report is the same until something comes back
		err := p.Abandon()
		var busy *BusyError
		if !errors.As(err, &busy) || busy.Region != p.Region().ID() || busy.Held != 2 || !errors.Is(err, syscall.EBUSY) {
			t.Fatalf("Abandon: %v", err)
		}
	}
	if p.Remove() {
		t.Fatal("Remove says that no kernel reference is out")
	}
	if LiveRegions() != live+1 {
		t.Fatal("the region is gone under live references")
	}
	if string(v.Bytes()) != "user's" || string(p.Region().Buffer(ids[0])[:8]) != "driver's" {
		t.Fatal("the memory changed")
	}
	giveBack(t, p, v)
	p.Put(ids[0])
	if LiveRegions() != live+1 {
		t.Fatal("the region is gone under the last reference")
	}
	p.Put(ids[1])
	if LiveRegions() != live || !p.Remove() || p.Abandon() != nil {
		t.Fatal("the region is not freed though everything came back")
	}
}

// TestInvariant16_ConcurrentRemoval closes pools while goroutines hold all of
// their buffers: the remover, woken by kicks alone, and those who return agree
// on one moment to free the region.
func TestInvariant16_ConcurrentRemoval(t *testing.T) {
	const n, workers = 32, 4
	live := LiveRegions()
	for range scale(3000) {
		p := NewPool(newRegion(t, n))
		ids := alloc(t, p, n)
		wake := make(chan struct{}, 1)
		p.OnReturn(func() {
			select {
			case wake <- struct{}{}:
			default:
			}
		})
		iovs := make([]Iov, n)
		for i, b := range ids {
			iovs[i] = giveUser(t, p, b, 0, 1)
		}
		var done sync.WaitGroup
		for w := range workers {
			done.Go(func() {
				for i := w; i < n; i += workers {
					if i%2 == 0 {
						p.Put(ids[i])
					}
					if _, err := p.Return(iovs[i : i+1]); err != nil {
						t.Error(err)
					}
					if i%2 != 0 {
						p.Put(ids[i])
					}
				}
			})
		}
		p.Close()
		for {
			p.WantReturn()
			if p.Remove() {
				break
			}
			<-wake
		}
		done.Wait()
		if LiveRegions() != live || p.state.Load() != poolFreed {
			t.Fatalf("state %d, %d regions live", p.state.Load(), LiveRegions()-live)
		}
	}
}

func TestRegionFreeIsIdempotent(t *testing.T) {
	live := LiveRegions()
	r := newRegion(t, 1)
	freeRegion(t, r)
	freeRegion(t, r)
	if LiveRegions() != live {
		t.Fatal("region still live")
	}
}
