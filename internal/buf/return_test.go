package buf

import (
	"errors"
	"syscall"
	"testing"
)

func TestInvariant04_AsManyReturnsAsIovs(t *testing.T) {
	for _, n := range []int{1, 2, 3, 64, 65, 1000} {
		p := newPool(t, 2)
		b := alloc(t, p, 1)[0]
		var iovs, copies []Iov
		for i := range n - 1 {
			iovs = append(iovs, giveUser(t, p, b, i, 1))
		}
		iovs = append(iovs, handOver(t, p, b, n-1, 1))
		copies = append(copies, iovs...)
		wantRefs(t, p, b, 0, n)
		for i := range iovs {
			if p.Free() != 1 {
				t.Fatalf("%d iovs: the buffer is free after %d returns", n, i)
			}
			giveBack(t, p, iovs[i])
			wantRefs(t, p, b, 0, n-i-1)
		}
		if p.Free() != 2 {
			t.Fatalf("%d iovs: the buffer is not free after all returns", n)
		}
		refused(t, p, copies[0], ErrStale) // the (N+1)th
	}
}

// TestInvariant04_OneBatch returns all iovs of a buffer in one call, and then
// the same batch again.
func TestInvariant04_OneBatch(t *testing.T) {
	p := newPool(t, 200)
	var iovs []Iov
	for _, b := range alloc(t, p, 150) {
		iovs = append(iovs, giveUser(t, p, b, 0, 1), handOver(t, p, b, 1, 1))
	}
	again := append([]Iov(nil), iovs...)
	giveBack(t, p, iovs...)
	if c := census(t, p); c.FillRing != 150 || c.Out() != 0 {
		t.Fatalf("%+v", c)
	}
	// A returned slice is zero, and returning that is harmless too.
	if n, err := p.Return(iovs); n != 0 || !errors.Is(err, ErrStale) {
		t.Fatalf("return of zero iovs: %d, %v", n, err)
	}
	if Invariants {
		return // the copies would panic: see debug_on_test.go
	}
	unchanged(t, p, func() {
		if n, err := p.Return(again); n != 0 || !errors.Is(err, ErrStale) {
			t.Fatalf("second return: %d, %v", n, err)
		}
	})
	if p.Rejected() != 600 {
		t.Fatalf("%d refused, want 600", p.Rejected())
	}
}

func TestInvariant05_HostileReturns(t *testing.T) {
	const n = 8
	p, other := newPool(t, n), newPool(t, n)
	b := alloc(t, p, 2)
	stack := p.Frag(b[0], 0, 100) // held by the stack, never given out
	user := handOver(t, p, b[1], 0, 100)
	foreign := handOver(t, other, alloc(t, other, 1)[0], 0, 100)
	used := handOver(t, p, alloc(t, p, 1)[0], 0, 100)
	stale := used
	giveBack(t, p, used)

	forge := func(change func(f *Frag)) Iov {
		v := user
		change(&v.frag)
		return v
	}
	for _, c := range []struct {
		name string
		v    Iov
		want error
	}{
		{"zero", Iov{}, ErrStale},
		{"stale", stale, ErrStale},
		{"kernel reference only", Iov{frag: stack}, ErrStale},
		{"other queue's", foreign, ErrForeign},
		{"id == count", forge(func(f *Frag) { f.buffer = n }), ErrForeign},
		{"largest id", forge(func(f *Frag) { f.buffer = 0xffff }), ErrForeign},
		{"region 0", forge(func(f *Frag) { f.region = 0 }), ErrStale},
		{"region that does not exist", forge(func(f *Frag) { f.region ^= 0x8000 }), ErrForeign},
		{"generation before", forge(func(f *Frag) { f.gen-- }), ErrStale},
		{"generation after", forge(func(f *Frag) { f.gen++ }), ErrStale},
		{"free buffer", forge(func(f *Frag) { f.buffer = 7 }), ErrStale},
	} {
		t.Run(c.name, func(t *testing.T) {
			refused(t, p, c.v, c.want)
			if !errors.Is(c.want, syscall.EINVAL) {
				t.Fatal("not EINVAL")
			}
			wantRefs(t, p, b[0], 1, 0)
			wantRefs(t, p, b[1], 0, 1)
		})
	}

	// Among good ones they are passed over, left as they are, and the first
	// one is named.
	batch := []Iov{{}, giveUser(t, p, b[0], 0, 1), foreign, user}
	n1, err := p.Return(batch)
	if n1 != 2 || !errors.Is(err, ErrStale) || err.Error()[:5] != "iov 0" {
		t.Fatalf("mixed batch: %d, %v", n1, err)
	}
	if batch[1].frag != (Frag{}) || batch[2].frag != foreign.frag || batch[3].frag != (Frag{}) {
		t.Fatalf("mixed batch left %+v", batch)
	}
	wantRefs(t, p, b[0], 1, 0)
	p.Put(b[0])
	giveBack(t, other, foreign)
}

// TestInvariant05_UserReturnsLeaveKernelReferences returns more than was given
// out while the stack still holds the buffer.
func TestInvariant05_UserReturnsLeaveKernelReferences(t *testing.T) {
	p := newPool(t, 1)
	b := alloc(t, p, 1)[0]
	v := giveUser(t, p, b, 0, 1)
	stale := v
	giveBack(t, p, v)
	wantRefs(t, p, b, 1, 0)
	for range 10 {
		refused(t, p, stale, ErrStale)
	}
	wantRefs(t, p, b, 1, 0)
	p.Put(b)
}

// TestInvariant05_GenerationWraps keeps an iov over the wrap of its buffer's
// generation: stale stays stale, and the buffer goes on.
func TestInvariant05_GenerationWraps(t *testing.T) {
	p := newPool(t, 1)
	p.words[0].Store(0x7fff_ffff << 32)
	p.turns[0].Store(1) // as the generation's lowest bit is
	v := handOver(t, p, alloc(t, p, 1)[0], 0, 1)
	stale := v
	if v.Frag().Generation() != 0x7fff_ffff {
		t.Fatalf("generation %#x", v.Frag().Generation())
	}
	giveBack(t, p, v)
	if w := p.words[0].Load(); w != 0 {
		t.Fatalf("word %#x after the wrap, want 0", w)
	}
	v = handOver(t, p, alloc(t, p, 1)[0], 0, 1)
	if v.Frag().Generation() != 0 {
		t.Fatalf("generation %#x after the wrap, want 0", v.Frag().Generation())
	}
	refused(t, p, stale, ErrStale)
	giveBack(t, p, v)

	// The same by the last kernel reference.
	p.words[0].Store(0x7fff_ffff << 32)
	p.turns[0].Store(1)
	p.Put(alloc(t, p, 1)[0])
	if w := p.words[0].Load(); w != genOne {
		t.Fatalf("word %#x after the wrap, want %#x", w, genOne)
	}
	giveBack(t, p, handOver(t, p, alloc(t, p, 1)[0], 0, 1))
}

func TestInvariant06_OverflowIsRefused(t *testing.T) {
	const limit = 1<<16 - 1
	overflow := func(t *testing.T, p *Pool, err error) {
		t.Helper()
		if !errors.Is(err, ErrOverflow) || !errors.Is(err, syscall.EOVERFLOW) {
			t.Fatalf("got %v, want ErrOverflow", err)
		}
	}
	t.Run("kernel", func(t *testing.T) {
		p := newPool(t, 1)
		b := alloc(t, p, 1)[0]
		f := p.Frag(b, 0, 1)
		for range limit - 1 {
			if err := p.Get(f); err != nil {
				t.Fatal(err)
			}
		}
		wantRefs(t, p, b, limit, 0)
		unchanged(t, p, func() { overflow(t, p, p.Get(f)) })
		// The other field is not concerned.
		v := giveUser(t, p, b, 0, 1)
		wantRefs(t, p, b, limit, 1)
		giveBack(t, p, v)
		for range limit {
			p.Put(b)
		}
	})
	t.Run("user", func(t *testing.T) {
		p := newPool(t, 1)
		b := alloc(t, p, 1)[0]
		iovs := make([]Iov, limit)
		for i := range iovs {
			iovs[i] = giveUser(t, p, b, 0, 1)
		}
		wantRefs(t, p, b, 1, limit)
		var v Iov
		f := p.Frag(b, 0, 1)
		unchanged(t, p, func() { overflow(t, p, p.GiveUser(f, &v)) })
		unchanged(t, p, func() { overflow(t, p, p.HandOver(f, &v)) })
		if v.Frag() != (Frag{}) || v.Bytes() != nil {
			t.Fatal("a refused hand-over filled the iov")
		}
		if err := p.Get(f); err != nil {
			t.Fatal(err)
		}
		p.Put(b)
		// One returned, one can be given again.
		giveBack(t, p, iovs[0])
		iovs[0] = giveUser(t, p, b, 0, 1)
		giveBack(t, p, iovs...)
		wantRefs(t, p, b, 1, 0)
		p.Put(b)
	})
}

// TestMisuseByTheStackPanics: these are bugs in zctap, where going on would
// give memory to two owners.
func TestMisuseByTheStackPanics(t *testing.T) {
	p := newPool(t, 2)
	f := p.Frag(0, 0, 1)
	var v Iov
	for name, misuse := range map[string]func(){
		"Put":      func() { p.Put(0) },
		"Get":      func() { _ = p.Get(f) },
		"HandOver": func() { _ = p.HandOver(f, &v) },
		"GiveUser": func() { _ = p.GiveUser(f, &v) },
	} {
		t.Run(name, func(t *testing.T) {
			unchanged(t, p, func() { wantPanic(t, "buf: ", misuse) })
		})
	}
	t.Run("Put under a user reference", func(t *testing.T) {
		v := handOver(t, p, alloc(t, p, 1)[0], 0, 1)
		unchanged(t, p, func() { wantPanic(t, "without a kernel reference", func() { p.Put(v.Frag().Buffer()) }) })
		giveBack(t, p, v)
	})
}
