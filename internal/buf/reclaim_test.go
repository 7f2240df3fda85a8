package buf

import (
	"slices"
	"testing"
)

// What the application returned last is allocated first, however many buffers
// were never used; its drain is told, and the cache's bound is kept.
func TestReclaim(t *testing.T) {
	p := newPool(t, 1000)
	told := 0
	p.OnNotice(func() { told++ })
	ids := alloc(t, p, 4)
	var iovs []Iov
	for _, b := range ids {
		iovs = append(iovs, handOver(t, p, b, 0, 1))
	}
	if n, err := p.Return(iovs); n != 4 || err != nil {
		t.Fatalf("%d, %v", n, err)
	}
	p.Reclaim()
	if n, ok := p.TakeNotice(); told != 1 || !ok || n.Drained != 4 {
		t.Errorf("told %d times, notice %+v", told, n)
	}
	again := alloc(t, p, 4)
	slices.Sort(ids)
	if slices.Sort(again); !slices.Equal(ids, again) {
		t.Errorf("allocated %v after %v were returned", again, ids)
	}
	for _, b := range again {
		p.Put(b)
	}

	// More than there is room for stays in the fill ring, in order.
	ids = alloc(t, p, 300)
	iovs = iovs[:0]
	for _, b := range ids {
		iovs = append(iovs, handOver(t, p, b, 0, 1))
	}
	if _, err := p.Return(iovs); err != nil {
		t.Fatal(err)
	}
	p.Reclaim()
	if c, err := p.Census(); err != nil || c.Cache != cacheSize || c.FillRing == 0 || c.Out() != 0 {
		t.Errorf("%+v, %v", c, err)
	}
}
