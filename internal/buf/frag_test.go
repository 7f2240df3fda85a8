package buf

import (
	"slices"
	"testing"
)

func TestFragSlice(t *testing.T) {
	p := newPool(t, 4)
	bs := p.Region().BufferSize()
	f := p.Frag(3, 10, 100)
	for _, c := range []struct{ from, to, off, n int }{
		{0, 100, 10, 100}, {0, 0, 10, 0}, {100, 100, 110, 0}, {1, 99, 11, 98}, {99, 100, 109, 1},
	} {
		if s := f.Slice(c.from, c.to); s.Offset() != c.off || s.Len() != c.n || s.Buffer() != 3 || s.Copied() {
			t.Errorf("Slice(%d, %d): %+v", c.from, c.to, s)
		}
	}
	for _, c := range [][2]int{{-1, 1}, {2, 1}, {0, 101}, {101, 101}} {
		wantPanic(t, "Slice out of range", func() { f.Slice(c[0], c[1]) })
	}
	for _, c := range [][2]int{{-1, 1}, {0, -1}, {0, bs + 1}, {bs, 1}, {1, bs}} {
		wantPanic(t, "beyond the buffer", func() { p.Frag(0, c[0], c[1]) })
	}
	if e := p.Frag(3, bs, 0); e.Offset() != bs || len(p.Region().View(e)) != 0 {
		t.Errorf("empty frag at the end: %+v", e)
	}
}

// TestViews: a view is exactly the frag's bytes, and append can't reach what
// lies behind it.
func TestViews(t *testing.T) {
	p := newPool(t, 3)
	r := p.Region()
	for i := range r.Memory() {
		r.Memory()[i] = byte(i >> 4)
	}
	bs := r.BufferSize()
	for _, c := range []struct {
		b      uint16
		off, n int
	}{{0, 0, bs}, {1, 16, 16}, {2, bs - 1, 1}, {2, 0, bs}, {1, 5, 0}} {
		v := r.View(p.Frag(c.b, c.off, c.n))
		if len(v) != c.n || cap(v) != c.n {
			t.Fatalf("%+v: len %d, cap %d", c, len(v), cap(v))
		}
		at := int(c.b)*bs + c.off
		if c.n > 0 && addressOf(v) != addressOf(r.Memory()[at:]) {
			t.Fatalf("%+v: the view is elsewhere", c)
		}
	}
	if b := r.Buffer(1); len(b) != bs || cap(b) != bs || addressOf(b) != addressOf(r.Memory()[bs:]) {
		t.Fatalf("Buffer(1): len %d, cap %d", len(b), cap(b))
	}
	wantPanic(t, "out of range", func() { r.Buffer(3) })
	wantPanic(t, "out of range", func() { r.View(Frag{bufferID: bufferID{buffer: 3}, len: 1}) })
	if len(r.Memory()) != 3*bs || r.Count() != 3 {
		t.Fatalf("%d bytes of %d buffers", len(r.Memory()), r.Count())
	}
}

func TestWord(t *testing.T) {
	for _, c := range []struct {
		w                 word
		gen, user, kernel uint32
		freed             word
	}{
		{0x00000007_0003_0002, 7, 3, 2, 0x00000008_0000_0000},
		{0xffffffff_ffff_ffff, 0x7fffffff, 0xffff, 0xffff, 0},
		{charged | 0x00000007_0001_0000, 7, 1, 0, 0x00000008_0000_0000},
		{0x00000000_0000_0001, 0, 0, 1, 0x00000001_0000_0000},
	} {
		if generation(c.w) != c.gen || userRefs(c.w) != c.user || kernelRefs(c.w) != c.kernel || freed(c.w) != c.freed ||
			freedPut(c.w) != (c.freed+genOne)&genMask {
			t.Errorf("%#x: generation %d, user %d, kernel %d, freed %#x", c.w, generation(c.w), userRefs(c.w), kernelRefs(c.w), freed(c.w))
		}
	}
}

// TestFragInPlace: AppendFrag, Name, TrimFront, TrimFronts and SetTail make what Frag and Slice return, and
// Place is where View begins.
func TestFragInPlace(t *testing.T) {
	p := newPool(t, 4)
	id := alloc(t, p, 1)[0]
	want := p.Frag(id, 100, 900)
	frags := p.AppendFrag(p.AppendFrag(nil, id, 1, 2), id, 100, 900)
	if len(frags) != 2 || frags[0] != p.Frag(id, 1, 2) || frags[1] != want {
		t.Fatalf("%+v, want %+v", frags, want)
	}
	for _, n := range []int{0, 1, 900} {
		f := want.AsCopied()
		if f.TrimFront(n); f != want.AsCopied().Slice(n, 900) {
			t.Errorf("without its first %d bytes: %+v", n, f)
		}
		g := p.Frag(id, 7, 8)
		of := want.AsCopied()
		if g.SetTail(&of, n); g != f || of != want.AsCopied() {
			t.Errorf("set to what is behind the first %d bytes: %+v", n, g)
		}
		many := []Frag{want.AsCopied(), p.Frag(id, 5, 1000), want}
		if TrimFronts(many[:2], n); many[0] != f || many[1] != p.Frag(id, 5+n, 1000-n) || many[2] != want {
			t.Errorf("two without their first %d bytes: %+v", n, many)
		}
		if at := p.Region().Place(&f); at != int(id)*p.Region().BufferSize()+100+n {
			t.Errorf("%+v begins at %d", f, at)
		}
	}
	for _, n := range []int{-1, 901} {
		wantPanic(t, "TrimFront out of range", func() { f := want; f.TrimFront(n) })
		wantPanic(t, "TrimFront out of range", func() { TrimFronts([]Frag{want, want}, n) })
		wantPanic(t, "SetTail out of range", func() { var f Frag; f.SetTail(&want, n) })
	}
	named := []Frag{Landed(id, 1, 2), Landed(id, 100, 900)}
	if p.Name(named); !slices.Equal(named, frags) {
		t.Fatalf("%+v, want %+v", named, frags)
	}
	for _, c := range [][2]int{{-1, 1}, {0, -1}, {4000, 97}} {
		wantPanic(t, "beyond the buffer", func() { p.AppendFrag(nil, id, c[0], c[1]) })
		wantPanic(t, "beyond the buffer", func() { p.Name([]Frag{Landed(id, c[0], c[1])}) })
	}
	wantPanic(t, "out of range", func() { p.Name([]Frag{Landed(4, 0, 1)}) })
	p.Put(id)
}
