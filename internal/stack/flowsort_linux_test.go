//go:build linux

package stack

import (
	"testing"

	"github.com/zctap/zctap/internal/buf"
)

// TestFlowsInTurnAreMerged: of flows whose segments come in turn as many are merged as if each came
// in a burst, and as few ACKs are sent; and nothing is allocated for it.
func TestFlowsInTurnAreMerged(t *testing.T) {
	for _, flows := range []int{2, 8, 32} {
		f := newFlows(t, flows, 1)
		f.warm(t)
		f.round(t)
		before, acks := f.r.stack.Stats().Merged, f.r.stack.Stats().IP.Frames
		f.round(t)
		st := f.r.stack.Stats()
		if merged := st.Merged - before; merged != uint64(flowBatch-flows) {
			t.Errorf("%d flows: %d of %d merged", flows, merged, flowBatch)
		}
		if n := st.IP.Frames - acks; n > uint64(flows) {
			t.Errorf("%d flows: %d ACKs", flows, n)
		}
		if n := testing.AllocsPerRun(20, func() { f.round(t) }); n > 0 && !buf.Invariants {
			t.Errorf("%d flows: %.1f allocations a batch", flows, n)
		}
		f.end()
	}
}

// TestFlowSortLeavesAlone: what there is nothing to gain from is looked at now and then only.
func TestFlowSortLeavesAlone(t *testing.T) {
	for _, c := range []struct {
		flows, burst int
		looks        uint32 // at most, of 64 batches
	}{{1, 1, 1}, {100, 16, 1}, {flowBatch, 1, 8}, {8, 1, 64}} {
		f := newFlows(t, c.flows, c.burst)
		f.warm(t)
		f.round(t)
		before := f.r.stack.order.batch
		for range 64 {
			f.round(t)
		}
		n := f.r.stack.order.batch - before
		if n > c.looks || n < c.looks/2 {
			t.Errorf("%d flows, bursts of %d: looked at %d times, want %d", c.flows, c.burst, n, c.looks)
		}
		f.end()
	}
}
