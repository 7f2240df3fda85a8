package reuse

import (
	"sync"
	"testing"
)

// TestPool: what is put in comes out, once, and with the memory that it had.
func TestPool(t *testing.T) {
	var p Pool[[64]byte]
	if v := p.Get(); v != nil {
		t.Fatal("a new pool is not empty")
	}
	// AllocsPerRun keeps to one processor, as sync.Pool's shards need.
	if n := testing.AllocsPerRun(100, func() {
		v := p.Get()
		if v == nil {
			v = new([64]byte)
		}
		p.Put(v)
	}); n != 0 {
		t.Errorf("%v allocations for one that goes in and out", n)
	}
}

// TestPoolShared: an object has one owner at a time.
func TestPoolShared(t *testing.T) {
	type object struct{ owner int }
	var p Pool[object]
	var wg sync.WaitGroup
	for g := range 4 {
		wg.Go(func() {
			for range 10_000 {
				v := p.Get()
				if v == nil {
					v = new(object)
				}
				v.owner = g + 1
				if v.owner != g+1 {
					t.Error("two have the same object")
				}
				p.Put(v)
			}
		})
	}
	wg.Wait()
}
