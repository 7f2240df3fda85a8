//go:build interleave

package buf

import (
	"slices"
	"testing"

	"github.com/zctap/zctap/internal/interleave"
)

// popAll takes what is in r until nothing is, each time as many as there is room for.
func popAll(r *slotRing, room int) (ids []uint16) {
	dst := make([]uint16, room)
	for {
		n := r.pop(dst)
		if n == 0 {
			return ids
		}
		ids = append(ids, dst[:n]...)
	}
}

// inOrder reports whether all of part are in ids, in their order.
func inOrder(ids []uint16, part ...uint16) bool {
	for _, id := range ids {
		if len(part) > 0 && id == part[0] {
			part = part[1:]
		}
	}
	return len(part) == 0
}

// Two producers push batches, over the ring's end, while the consumer pops: each id comes out once, in
// the order of who pushed it, wherever the ring began.
func TestInterleaveRingPush(t *testing.T) {
	for at := range 8 { // on an even and an odd lap
		interleave.Explore(t, 4, func(x *interleave.Execution) {
			r := newSlotRing(4)
			for i := range at {
				r.push([]uint16{uint16(100 + i)})
				popAll(&r, 1)
			}
			var got []uint16
			x.Go("a", func() { r.push([]uint16{0, 1, 2}) })
			x.Go("b", func() { r.push([]uint16{3}) })
			x.Go("consumer", func() {
				got = append(got, popAll(&r, 3)...)
				got = append(got, popAll(&r, 3)...)
			})
			x.Cleanup(func() {
				got = append(got, popAll(&r, 3)...)
				if len(got) != 4 || !inOrder(got, 0, 1, 2) || !slices.Contains(got, 3) || r.len() != 0 {
					x.Errorf("popped %v, %d are left", got, r.len())
				}
			})
		})
	}
}

// What comes out of the ring goes in again, as a buffer does, one lap after the other.
func TestInterleaveRingRounds(t *testing.T) {
	interleave.Explore(t, 4, func(x *interleave.Execution) {
		r := newSlotRing(2)
		r.push([]uint16{0, 1})
		out, back := 0, 0 // ids popped, and pushed again
		var free []uint16 // popped, for the producer
		x.Go("consumer", func() {
			for out < 6 {
				ids := popAll(&r, 2)
				if len(ids) == 0 {
					interleave.Await(func() bool {
						_, filled := r.load(r.head.Load()) // reserved would not do
						return filled
					})
				}
				out += len(ids)
				free = append(free, ids...)
			}
		})
		x.Go("producer", func() {
			for back < 4 {
				interleave.Await(func() bool { return len(free) > 0 })
				ids := free
				free = nil
				back += len(ids)
				r.push(ids)
			}
		})
		x.Cleanup(func() {
			ids := append(popAll(&r, 2), free...)
			if slices.Sort(ids); !slices.Equal(ids, []uint16{0, 1}) {
				x.Errorf("%v in the end", ids)
			}
		})
	})
}

// A full ring refuses, and one that is not may not lose what it accepts, while it is emptied.
func TestInterleaveRingTryPush(t *testing.T) {
	for at := range 4 {
		interleave.Explore(t, 3, func(x *interleave.Execution) {
			r := newSlotRing(2)
			for range at {
				r.tryPush(9)
				popAll(&r, 1)
			}
			r.tryPush(0)
			var in, got []uint16
			push := func(id uint16) {
				if r.tryPush(id) {
					in = append(in, id)
				}
			}
			x.Go("a", func() { push(1); push(2) })
			x.Go("b", func() { push(3) })
			x.Go("consumer", func() { got = append(got, popAll(&r, 2)...) })
			x.Cleanup(func() {
				got = append(got, popAll(&r, 2)...)
				in = append(in, 0)
				slices.Sort(in)
				if len(in) < 2 || !inOrder(slices.Clone(got), 0) {
					x.Errorf("accepted %v, popped %v", in, got)
				}
				if slices.Sort(got); !slices.Equal(in, got) {
					x.Errorf("accepted %v, popped %v", in, got)
				}
			})
		})
	}
}

// A recycle ring that is full overflows into the freelist, while the engine refills its cache from both.
func TestInterleaveRecycle(t *testing.T) {
	interleave.Explore(t, 2, func(x *interleave.Execution) {
		p := explored(x, 4)
		p.recycle = newSlotRing(1)
		ids := alloc(x, p, 4)
		x.Go("a", func() { p.Put(ids[0]); p.Put(ids[1]) })
		x.Go("b", func() { p.Put(ids[2]) })
		x.Go("engine", func() { p.Put(next(p)) })
		x.Cleanup(func() {
			p.Put(ids[3])
			if p.Free() != 4 {
				x.Errorf("%d free", p.Free())
			}
		})
	})
}
