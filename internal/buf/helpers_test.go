package buf

import (
	"errors"
	"fmt"
	"reflect"
	"runtime"
	"slices"
	"strings"
	"testing"

	"github.com/zctap/zctap/internal/testenv"
)

// newRegion makes a region of ordinary pages, or of Go heap where the race
// detector should see it. The caller frees it, or gives it to a Pool.
func newRegion(t testing.TB, buffers int) *Region {
	t.Helper()
	r, err := NewRegion(RegionConfig{
		Buffers:     buffers,
		Heap:        testenv.Race || runtime.GOOS != "linux",
		NoHugePages: true,
	})
	if err != nil {
		t.Fatal(err)
	}
	return r
}

func freeRegion(t testing.TB, r *Region) {
	t.Helper()
	if err := r.Free(); err != nil {
		t.Error(err)
	}
}

// newPool makes a pool, and checks when the test ends that every reference came
// back and the region was freed.
func newPool(t testing.TB, buffers int) *Pool {
	t.Helper()
	return newPoolOf(t, newRegion(t, buffers))
}

// newPoolOf is newPool with memory of the caller's.
func newPoolOf(t testing.TB, r *Region) *Pool {
	t.Helper()
	before := LiveRegions() - 1
	p := NewPool(r)
	t.Cleanup(func() {
		if t.Failed() {
			return
		}
		c := census(t, p)
		p.Close()
		if !p.Remove() || p.state.Load() != poolFreed {
			t.Errorf("the test leaked buffers: %+v", c)
		} else if n := LiveRegions(); n != before {
			t.Errorf("%d regions live, %d when the test began", n, before)
		}
	})
	return p
}

// alloc takes n buffers.
func alloc(t testing.TB, p *Pool, n int) []uint16 {
	t.Helper()
	ids := make([]uint16, n)
	if got := p.Alloc(ids); got != n {
		t.Fatalf("Alloc gave %d buffers, want %d", got, n)
	}
	return ids
}

// handOver turns the kernel reference to b into an iov of bytes [off, off+n).
func handOver(t testing.TB, p *Pool, b uint16, off, n int) Iov {
	t.Helper()
	var v Iov
	if err := p.HandOver(p.Frag(b, off, n), &v); err != nil {
		t.Fatal(err)
	}
	return v
}

// giveUser makes an iov beside the kernel reference to b.
func giveUser(t testing.TB, p *Pool, b uint16, off, n int) Iov {
	t.Helper()
	var v Iov
	if err := p.GiveUser(p.Frag(b, off, n), &v); err != nil {
		t.Fatal(err)
	}
	return v
}

// giveBack returns iovs that must all be accepted.
func giveBack(t testing.TB, p *Pool, iovs ...Iov) {
	t.Helper()
	if n, err := p.Return(iovs); n != len(iovs) || err != nil {
		t.Fatalf("Return accepted %d of %d, %v", n, len(iovs), err)
	}
	for i := range iovs {
		if iovs[i].Frag() != (Frag{}) || iovs[i].Bytes() != nil {
			t.Fatalf("iov %d is not zero after its return", i)
		}
	}
}

// census is Pool.Census, of which an error ends the test.
func census(t testing.TB, p *Pool) Census {
	t.Helper()
	c, err := p.Census()
	if err != nil {
		t.Fatal(err)
	}
	return c
}

// wantCensus checks where all buffers of p are.
func wantCensus(t testing.TB, p *Pool, want Census) {
	t.Helper()
	if c := census(t, p); c != want {
		t.Fatalf("census\n got %+v\nwant %+v", c, want)
	}
	if free := want.Total() - want.Out(); p.Free() != free {
		t.Fatalf("Free is %d, want %d", p.Free(), free)
	}
}

// wantRefs checks the counts of one buffer.
func wantRefs(t testing.TB, p *Pool, b uint16, kernel, user int) {
	t.Helper()
	if w := p.words[b].Load(); kernelRefs(w) != uint32(kernel) || userRefs(w) != uint32(user) {
		t.Fatalf("buffer %d has %d kernel and %d user references, want %d and %d", b, kernelRefs(w), userRefs(w), kernel, user)
	}
}

// A poolSnapshot is everything about a pool that a refused call must leave alone.
type poolSnapshot struct {
	words                      []uint64
	owners                     []*Account
	held                       []int
	cache, recycle, fill, free []uint16
	count                      int // Free
}

func snapshot(p *Pool) (s poolSnapshot) {
	for i := range p.words {
		s.words = append(s.words, p.words[i].Load())
		s.owners = append(s.owners, p.owners[i])
		if p.owners[i] != nil {
			s.held = append(s.held, p.owners[i].Held())
		}
	}
	s.cache = slices.Clone(p.cache)
	s.free = slices.Clone(p.free.ids)
	p.fill.each(func(b uint16) { s.fill = append(s.fill, b) })
	p.recycle.each(func(b uint16) { s.recycle = append(s.recycle, b) })
	s.count = p.Free()
	return s
}

// unchanged checks that f leaves the pool as it was.
func unchanged(t testing.TB, p *Pool, f func()) {
	t.Helper()
	before := snapshot(p)
	f()
	if after := snapshot(p); !reflect.DeepEqual(before, after) {
		t.Fatalf("the pool changed:\nfrom %+v\n  to %+v", before, after)
	}
}

// refused checks that the return of v is refused with the error want and
// changes nothing. With -tags invariants a stale return panics instead.
func refused(t testing.TB, p *Pool, v Iov, want error) {
	t.Helper()
	unchanged(t, p, func() {
		t.Helper()
		iovs, rejected := []Iov{v}, p.Rejected()
		if Invariants && want == ErrStale && v.frag.region != 0 {
			wantPanic(t, "stale or double release", func() { _, _ = p.Return(iovs) })
			return
		}
		n, err := p.Return(iovs)
		if n != 0 || !errors.Is(err, want) {
			t.Fatalf("Return of %+v: %d, %v; want it refused with %v", v.frag, n, err, want)
		}
		if p.Rejected() != rejected+1 {
			t.Fatalf("Rejected went from %d to %d", rejected, p.Rejected())
		}
		if iovs[0].frag != v.frag {
			t.Fatal("a refused iov was changed")
		}
	})
}

// wantPanic checks that f panics with a message that contains all of what is
// wanted, separated by "|".
func wantPanic(t testing.TB, want string, f func()) {
	t.Helper()
	defer func() {
		t.Helper()
		got := fmt.Sprint(recover())
		for part := range strings.SplitSeq(want, "|") {
			if !strings.Contains(got, part) {
				t.Errorf("panic %q does not contain %q", got, part)
			}
		}
	}()
	f()
	t.Error("no panic")
}

// scale is n, or less where that would take too long.
func scale(n int) int {
	switch {
	case testing.Short():
		return n / 50
	case testenv.Race, Invariants:
		return n / 20
	}
	return n
}
