package stack

import (
	"math/rand/v2"
	"slices"
	"testing"

	"github.com/zctap/zctap/internal/mono"
	"github.com/zctap/zctap/internal/stack/tcp"
)

// TestTimerHeap checks the order of the heap, and that every connection knows its
// place, over random operations.
func TestTimerHeap(t *testing.T) {
	r := rand.New(rand.NewPCG(1, 1))
	var h timers
	conns := make([]*tcp.Conn, 200)
	for i := range conns {
		conns[i] = &tcp.Conn{TimerIndex: -1}
	}
	when := map[*tcp.Conn]mono.Time{}
	for step := range 20_000 {
		c := conns[r.IntN(len(conns))]
		if r.IntN(3) == 0 {
			h.remove(c)
			delete(when, c)
		} else {
			at := mono.Time(1 + r.IntN(1000))
			h.set(c, at)
			if old, ok := when[c]; !ok || at < old {
				when[c] = at
			}
		}
		if len(h.heap) != len(when) {
			t.Fatalf("step %d: %d in the heap, want %d", step, len(h.heap), len(when))
		}
		for i, e := range h.heap {
			if int(e.conn.TimerIndex) != i || e.when != when[e.conn] || i > 0 && h.heap[(i-1)/2].when > e.when {
				t.Fatalf("step %d: entry %d is %d, its connection says %d at %d", step, i, e.when, e.conn.TimerIndex, when[e.conn])
			}
		}
		var first mono.Time
		for _, at := range when {
			if first == 0 || at < first {
				first = at
			}
		}
		if h.next() != first {
			t.Fatalf("step %d: next is %d, want %d", step, h.next(), first)
		}
	}
	h.set(conns[0], 0)
	if slices.ContainsFunc(h.heap, func(e timer) bool { return e.when == 0 }) {
		t.Error("0, which is never, was entered")
	}
}

// TestStaleTimers: a connection without a deadline by now leaves the heap.
func TestStaleTimers(t *testing.T) {
	var h timers
	c := &tcp.Conn{TimerIndex: -1}
	h.set(c, 5)
	if got := h.due(4); got != nil {
		t.Errorf("due before its time: %v", got)
	}
	if got := h.due(5); got != nil || h.next() != 0 || c.TimerIndex != -1 {
		t.Errorf("due %v, next %d, index %d; want it gone", got, h.next(), c.TimerIndex)
	}
}
