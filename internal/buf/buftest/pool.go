// Package buftest makes pools of buffers for tests.
package buftest

import (
	"testing"

	"github.com/zctap/zctap/internal/buf"
)

// Pool makes a pool, and checks at the test's end that every buffer is back.
func Pool(t testing.TB, c buf.RegionConfig) *buf.Pool {
	t.Helper()
	r, err := buf.NewRegion(c)
	if err != nil {
		t.Fatal(err)
	}
	p := buf.NewPool(r)
	t.Cleanup(func() {
		t.Helper()
		c, err := p.Census()
		if err != nil || c.Out() != 0 {
			t.Errorf("census at the end: %+v, %v; want all buffers free", c, err)
		}
		p.Close()
		if !p.Remove() {
			t.Error("the pool can't be removed")
		}
	})
	return p
}

// Heap is Pool with memory of the heap, which the race detector sees.
func Heap(t testing.TB, buffers int) *buf.Pool {
	t.Helper()
	return Pool(t, buf.RegionConfig{Buffers: buffers, Heap: true})
}
