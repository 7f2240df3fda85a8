//go:build invariants

package buf

import (
	"bytes"
	"testing"
)

// Releases from functions of their own, to be found in the stacks.

//go:noinline
func releaseFirst(p *Pool, v Iov) { _, _ = p.Return([]Iov{v}) }

//go:noinline
func releaseAgain(p *Pool, v Iov) { _, _ = p.Return([]Iov{v}) }

func TestInvariantsShowBothStacks(t *testing.T) {
	p := newPool(t, 4)
	stacks := "stale or double release|released before|releaseFirst|and now|releaseAgain"
	t.Run("double release", func(t *testing.T) {
		v := handOver(t, p, alloc(t, p, 1)[0], 0, 10)
		releaseFirst(p, v)
		unchanged(t, p, func() { wantPanic(t, stacks, func() { releaseAgain(p, v) }) })
	})
	t.Run("release of an earlier life", func(t *testing.T) {
		b := alloc(t, p, 1)[0]
		v := handOver(t, p, b, 0, 10)
		releaseFirst(p, v)
		for { // until the buffer is out again
			got := alloc(t, p, 1)[0]
			if got == b {
				break
			}
			defer p.Put(got)
		}
		unchanged(t, p, func() { wantPanic(t, stacks, func() { releaseAgain(p, v) }) })
		p.Put(b)
	})
	// Counts alone can't tell this: the buffer has two iovs, of which one is
	// returned twice, and the other one would pay for it.
	t.Run("double release beside a sibling", func(t *testing.T) {
		b := alloc(t, p, 1)[0]
		v, sibling := giveUser(t, p, b, 0, 10), handOver(t, p, b, 10, 10)
		releaseFirst(p, v)
		unchanged(t, p, func() { wantPanic(t, stacks, func() { releaseAgain(p, v) }) })
		wantRefs(t, p, b, 0, 1)
		giveBack(t, p, sibling)
	})
	t.Run("forged part of an iov that is out", func(t *testing.T) {
		b := alloc(t, p, 1)[0]
		v := handOver(t, p, b, 0, 10)
		forged := v
		forged.frag.off++
		unchanged(t, p, func() { wantPanic(t, "stale or double release", func() { releaseAgain(p, forged) }) })
		giveBack(t, p, v)
	})
}

// TestInvariantsPoison: a view that is read after its return shows it, and a
// write after the return is found when the buffer is next allocated.
func TestInvariantsPoison(t *testing.T) {
	for name, release := range map[string]func(p *Pool, v Iov){
		"by the application": releaseFirst,
		"by the stack":       func(p *Pool, v Iov) { p.Put(v.Frag().Buffer()) },
	} {
		t.Run(name, func(t *testing.T) {
			// Not newPool: this pool is left with a buffer half allocated.
			r := newRegion(t, 1)
			t.Cleanup(func() { freeRegion(t, r) })
			p := NewPool(r)
			b := alloc(t, p, 1)[0]
			var v Iov
			if name == "by the stack" {
				v = Iov{frag: p.Frag(b, 0, 10), view: r.View(p.Frag(b, 0, 10))}
			} else {
				v = handOver(t, p, b, 0, 10)
			}
			view := v.Bytes()
			copy(view, "payload...")
			release(p, v)
			if !bytes.Equal(view, bytes.Repeat([]byte{poison}, 10)) {
				t.Fatalf("a returned view reads %q", view)
			}
			view[3] = 'x'
			want := "buffer 0 was written to while it was free"
			if name == "by the application" {
				want += "|releaseFirst"
			}
			wantPanic(t, want, func() { p.Alloc(make([]uint16, 1)) })
		})
	}
}

// TestInvariantsLetGoodUseAlone: the checks find nothing where nothing is, and
// a write before the return is none after it.
func TestInvariantsLetGoodUseAlone(t *testing.T) {
	p := newPool(t, 3)
	for i := range 100 {
		b := alloc(t, p, 1)[0]
		m := p.Region().Buffer(b)
		for k := range m {
			m[k] = byte(i)
		}
		v, w := giveUser(t, p, b, 0, 10), giveUser(t, p, b, 0, 10) // the same bytes twice
		p.Put(b)
		giveBack(t, p, v, w)
	}
	if len(p.debug.out) != 0 || len(p.debug.returned) != 0 {
		t.Fatalf("remembered for nothing: %d out, %d returned", len(p.debug.out), len(p.debug.returned))
	}
}
