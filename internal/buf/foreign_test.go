package buf

import (
	"errors"
	"strings"
	"testing"
)

// TestInvariant11_OtherQueuesBuffers returns iovs to a queue that they are not
// of: refused, and neither queue changes, also when both hold the same id.
func TestInvariant11_OtherQueuesBuffers(t *testing.T) {
	a, b := newPool(t, 4), newPool(t, 4)
	if a.Region().ID() == b.Region().ID() {
		t.Fatal("two live regions have the same id")
	}
	va := handOver(t, a, alloc(t, a, 1)[0], 0, 8)
	vb := handOver(t, b, alloc(t, b, 1)[0], 0, 8)
	if va.Frag().Buffer() != vb.Frag().Buffer() {
		t.Fatal("the test wants the same buffer id in both")
	}
	unchanged(t, a, func() { refused(t, b, va, ErrForeign) })
	unchanged(t, b, func() { refused(t, a, vb, ErrForeign) })

	iovs := []Iov{va, vb}
	n, err := a.Return(iovs)
	if n != 1 || !errors.Is(err, ErrForeign) || !strings.HasPrefix(err.Error(), "iov 1:") {
		t.Fatalf("Return: %d, %v", n, err)
	}
	giveBack(t, b, iovs[1])
}

// TestInvariant11_RegionIDs: ids are not used again soon, so that an iov kept
// from a closed queue misses its successor.
func TestInvariant11_RegionIDs(t *testing.T) {
	seen := map[uint16]bool{}
	for range 100 {
		r := newRegion(t, 1)
		if r.ID() == 0 || seen[r.ID()] {
			t.Fatalf("region id %d again", r.ID())
		}
		seen[r.ID()] = true
		freeRegion(t, r)
	}
}

// TestInvariant11_RegionIDWraps: an id that is in use is passed over, and 0 is
// never one.
func TestInvariant11_RegionIDWraps(t *testing.T) {
	table := regionTable{byID: map[uint16]*Region{}, last: 0xfffd}
	want := []uint16{0xfffe, 0xffff, 1, 2}
	for i, w := range want {
		r := &Region{mem: make([]byte, 1)}
		r.base = addressOf(r.mem)
		id, err := table.add(r)
		if err != nil || id != w {
			t.Fatalf("add %d: id %#x, %v; want %#x", i, id, err, w)
		}
		r.id = id
	}
	table.last = 0xfffe
	r := &Region{mem: make([]byte, 1)}
	r.base = addressOf(r.mem)
	if id, err := table.add(r); err != nil || id != 3 {
		t.Fatalf("id %#x, %v; want 3: 0xffff to 2 are in use", id, err)
	}
}

// TestInvariant12_CopiedPayload: bytes that were copied into the region are
// told apart by a mark, not by an id (the RFC has two groups of ids, which
// collide if they are equal), and come back like any others.
func TestInvariant12_CopiedPayload(t *testing.T) {
	p := newPool(t, 2)
	b := alloc(t, p, 1)[0]
	copy(p.Region().Buffer(b), "copied")
	f := p.Frag(b, 2, 4).AsCopied()
	if !f.Copied() || p.Frag(b, 2, 4).Copied() {
		t.Fatal("Copied does not tell")
	}
	if f.Offset() != 2 || f.Len() != 4 || f.Buffer() != b || f.Region() != p.Region().ID() {
		t.Fatalf("the mark changed the frag: %+v", f)
	}
	if s := f.Slice(1, 3); !s.Copied() || s.Offset() != 3 || s.Len() != 2 {
		t.Fatalf("slice %+v", s)
	}
	var v Iov
	if err := p.HandOver(f, &v); err != nil {
		t.Fatal(err)
	}
	if string(v.Bytes()) != "pied" || !v.Frag().Copied() {
		t.Fatalf("view %q", v.Bytes())
	}
	stale := v
	giveBack(t, p, v)
	refused(t, p, stale, ErrStale)
}
