package buf

import (
	"bytes"
	"testing"
)

// TestInvariant17_EachFragPutOnce completes packets of several frags, of one
// buffer and of many: one Put for each frag, and no more.
func TestInvariant17_EachFragPutOnce(t *testing.T) {
	p := newPool(t, 4)
	ids := alloc(t, p, 3)
	var frags []Frag
	for i, b := range ids {
		whole := p.Frag(b, 0, 100)
		frags = append(frags, whole)
		// A segment of a super-segment: cut off with a reference of its own.
		for k := range i {
			if err := p.Get(whole); err != nil {
				t.Fatal(err)
			}
			frags = append(frags, whole.Slice(k*10, k*10+10))
		}
	}
	for i, b := range ids {
		wantRefs(t, p, b, i+1, 0)
	}
	p.PutFrags(frags)
	if c := census(t, p); c.Out() != 0 || c.Recycle != len(ids) {
		t.Fatalf("%+v", c)
	}
	wantPanic(t, "without a kernel reference", func() { p.PutFrags(frags[:1]) })
}

// TestInvariant17_Tap looks at a packet through its own reference, after the
// stack dropped it, and after the application returned it.
func TestInvariant17_Tap(t *testing.T) {
	for name, release := range map[string]func(t *testing.T, p *Pool, b uint16){
		"stack drops it":         func(_ *testing.T, p *Pool, b uint16) { p.Put(b) },
		"application returns it": func(t *testing.T, p *Pool, b uint16) { giveBack(t, p, handOver(t, p, b, 0, 5)) },
	} {
		t.Run(name, func(t *testing.T) {
			p := newPool(t, 2)
			b := alloc(t, p, 1)[0]
			copy(p.Region().Buffer(b), "bytes")
			f := p.Frag(b, 0, 5)
			if err := p.Get(f); err != nil { // the tap's
				t.Fatal(err)
			}
			release(t, p, b)
			// Whoever fills the other buffers does not get the tap's.
			ids := make([]uint16, 2)
			if n := p.Alloc(ids); n != 1 || ids[0] == b {
				t.Fatalf("the tap's buffer was given out again: %v", ids[:n])
			}
			copy(p.Region().Buffer(ids[0]), "other")
			if got := p.Region().View(f); !bytes.Equal(got, []byte("bytes")) {
				t.Fatalf("the tap sees %q", got)
			}
			p.Put(ids[0])
			p.Put(b)
		})
	}
}
