package buf

import (
	"slices"
	"testing"
)

// TestInvariant07_AllocationOrder follows the order of the RFC's patch 14: the
// cache; 64 from the recycle ring; 64 from the fill ring; 128 from the
// freelist; none.
func TestInvariant07_AllocationOrder(t *testing.T) {
	const n = 1000
	p := newPool(t, n)
	count := func(name string, got, want int) {
		t.Helper()
		if got != want {
			t.Fatalf("%s: %d, want %d", name, got, want)
		}
	}
	// At the start all is in the freelist: 128 at a time, buffer 0 first.
	first := alloc(t, p, 1)
	count("cache after the first", len(p.cache), cacheSize-1)
	rest := alloc(t, p, cacheSize-1)
	count("cache after 128", len(p.cache), 0)
	if want := seq(0, cacheSize); !slices.Equal(sorted(append(first, rest...)), want) {
		t.Fatalf("the first 128 are %v", append(first, rest...))
	}

	// 100 in the recycle ring, 150 in the fill ring.
	var iovs []Iov
	back := alloc(t, p, 250)
	for _, b := range back[100:] {
		iovs = append(iovs, handOver(t, p, b, 0, 1))
	}
	for _, b := range back[:100] {
		p.Put(b)
	}
	giveBack(t, p, iovs...)
	spent := alloc(t, p, len(p.cache)) // what the freelist's batch left in the cache
	wantPlaces := func(recycle, fill int) {
		t.Helper()
		c := census(t, p)
		count("recycle ring", c.Recycle, recycle)
		count("fill ring", c.FillRing, fill)
	}
	wantPlaces(100, 150)
	got := alloc(t, p, 1)
	wantPlaces(36, 150)
	got = append(got, alloc(t, p, 63)...)
	wantPlaces(36, 150)
	if !slices.Equal(sorted(got), sorted(slices.Clone(back[:64]))) {
		t.Fatal("the oldest 64 of the recycle ring did not come first")
	}
	got = append(got, alloc(t, p, 1)...) // what is left of the recycle ring, all 36
	wantPlaces(0, 150)
	got = append(got, alloc(t, p, 35)...)
	wantPlaces(0, 150)
	got = append(got, alloc(t, p, 1)...)
	wantPlaces(0, 86)
	got = append(got, alloc(t, p, 63+64+22)...)
	wantPlaces(0, 0)
	if !slices.Equal(sorted(got), sorted(back)) {
		t.Fatal("not every buffer that came back went out before the freelist")
	}
	free := len(p.free.ids)
	got = append(got, alloc(t, p, 1)...)
	count("freelist", len(p.free.ids), free-cacheSize)

	// One call over all places.
	got = append(got, alloc(t, p, p.Free())...)
	var one [1]uint16
	count("Alloc of an empty pool", p.Alloc(one[:]), 0)
	got = append(got, first...)
	got = append(got, rest...)
	got = append(got, spent...)
	if !slices.Equal(sorted(got), seq(0, n)) {
		t.Fatal("not every buffer was given exactly once")
	}
	for _, b := range got {
		p.Put(b)
	}
}

func TestInvariant07_RecycleRingOverflow(t *testing.T) {
	const n = recycleSize + 300
	p := newPool(t, n)
	ids := alloc(t, p, n)
	for i, b := range ids {
		p.Put(b)
		c := census(t, p)
		if want := min(i+1, recycleSize); c.Recycle != want || c.Freelist != i+1-want {
			t.Fatalf("after %d puts: %+v", i+1, c)
		}
	}
	// The freelist is LIFO: what overflowed last is the warmest. The recycle
	// ring comes before it, oldest batch first.
	if got := alloc(t, p, recycleSize); !slices.Equal(got[:refillBatch], ids[:refillBatch]) {
		t.Fatalf("the ring's first batch is %v, want %v", got[:refillBatch], ids[:refillBatch])
	}
	if got := alloc(t, p, 1); got[0] != ids[n-1] {
		t.Fatalf("after the ring comes buffer %d, want %d, the last put", got[0], ids[n-1])
	}
	alloc(t, p, n-recycleSize-1)
	for _, b := range ids {
		p.Put(b)
	}
}

// TestInvariant07_LIFO allocates one by one: buffer 0 is on top of a new
// freelist, and of each batch the one on top comes first.
func TestInvariant07_LIFO(t *testing.T) {
	p := newPool(t, 300)
	var ids []uint16
	for i := range 300 {
		ids = append(ids, alloc(t, p, 1)...)
		if int(ids[i]) != i {
			t.Fatalf("allocation %d is buffer %d", i, ids[i])
		}
	}
	for _, b := range ids {
		p.Put(b)
	}
}

// seq is from, from+1, ... n of them.
func seq(from, n int) []uint16 {
	s := make([]uint16, n)
	for i := range s {
		s[i] = uint16(from + i)
	}
	return s
}

func sorted(s []uint16) []uint16 {
	slices.Sort(s)
	return s
}
