package stack

import (
	"cmp"
	"reflect"
	"slices"
	"testing"
	"time"

	"github.com/zctap/zctap/internal/driver"
)

// inTwoWays gives two stacks the same n packets, to one of them all in a batch and to the other
// one frame after the other, in the order in which the first has sorted them (flowSort), and requires
// that both send and count the same, but for what was merged. frame makes packet k a frame of a rig,
// and lay a batch of all.
func inTwoWays(t *testing.T, rigs [2]*rig, pass time.Duration, n int, frame func(r *rig, k int) driver.Frame, lay func([]driver.Frame) *driver.Batch) {
	t.Helper()
	order := make([]int, n)
	for k := range order {
		order[k] = k
	}
	for i, r := range rigs {
		frames := make([]driver.Frame, n)
		for k := range frames {
			frames[k] = frame(r, k)
		}
		r.wire.sent = nil
		r.now = r.now.Add(pass)
		if i == 0 {
			r.stack.Deliver(r.now, lay(frames))
			if o := &r.stack.order; o.mixed {
				slices.SortStableFunc(order, func(x, y int) int { return cmp.Compare(o.group[x], o.group[y]) })
			}
		} else {
			for _, k := range order {
				r.stack.Deliver(r.now, &driver.Batch{Frames: frames[k : k+1]})
			}
		}
		r.stack.WindowCheck()
		r.stack.Advance(r.now)
		if err := r.stack.Flush(r.now); err != nil {
			t.Fatal(err)
		}
	}
	a, b := rigs[0], rigs[1]
	if !reflect.DeepEqual(a.wire.sent, b.wire.sent) {
		t.Fatalf("sent after a batch of %d:\n%x\none by one:\n%x", n, a.wire.sent, b.wire.sent)
	}
	s, one := a.stack.Stats(), b.stack.Stats()
	if one.Merged != 0 {
		t.Fatalf("%d merged of single frames", one.Merged)
	}
	s.Merged = 0
	if s != one {
		t.Fatalf("after a batch of %d:\n%+v\none by one:\n%+v", n, s, one)
	}
	if !reflect.DeepEqual(a.drops(), b.drops()) {
		t.Fatalf("dropped in a batch: %v, one by one: %v", a.drops(), b.drops())
	}
}

// oneWay is frames in a batch, whose frags lie as a driver leaves them, or elsewhere, or one frame's
// elsewhere, or two frames' in places of each other.
func oneWay(frames []driver.Frame) *driver.Batch {
	b, n := batch(frames), len(frames)
	if n == 0 {
		return b
	}
	f, g := &frames[n/2], &frames[n-1]
	switch n % 5 {
	case 0:
		b.Frags = nil
	case 1:
		f.Frags = slices.Clone(f.Frags)
	case 2:
		if len(f.Frags) == 1 && len(g.Frags) == 1 {
			f.Frags[0], g.Frags[0] = g.Frags[0], f.Frags[0]
			f.Frags, g.Frags = g.Frags, f.Frags
		}
	}
	return b
}
