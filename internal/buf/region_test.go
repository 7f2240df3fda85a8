package buf

import (
	"errors"
	"math"
	"os"
	"slices"
	"syscall"
	"testing"

	"github.com/zctap/zctap/internal/testenv"
)

func TestInvariant15_RegionSizes(t *testing.T) {
	page, gib := os.Getpagesize(), 1<<30 // no constants: where int has 32 bits the products wrap
	for _, c := range []struct {
		name string
		c    RegionConfig
		want error
	}{
		{"one buffer", RegionConfig{Buffers: 1, Heap: true}, nil},
		{"large buffers", RegionConfig{Buffers: 3, BufferSize: 4 * page, Heap: true}, nil},
		{"no buffers", RegionConfig{}, syscall.EINVAL},
		{"negative", RegionConfig{Buffers: -1, Heap: true}, syscall.EINVAL},
		{"one too many for 16 bits", RegionConfig{Buffers: MaxBuffers + 1, Heap: true}, syscall.EINVAL},
		{"smaller than a page", RegionConfig{Buffers: 1, BufferSize: page / 2}, syscall.EINVAL},
		{"not a power of two", RegionConfig{Buffers: 1, BufferSize: 3 * page}, syscall.EINVAL},
		{"negative size", RegionConfig{Buffers: 1, BufferSize: -page}, syscall.EINVAL},
		{"over 1 GiB", RegionConfig{Buffers: 1, BufferSize: gib << 1}, syscall.EINVAL},
		{"memory of no length", RegionConfig{Memory: []byte{}}, syscall.EINVAL},
		{"memory of a part of a buffer", RegionConfig{Memory: make([]byte, page+1)}, syscall.EINVAL},
		{"memory smaller than one buffer", RegionConfig{Memory: make([]byte, page), BufferSize: 2 * page}, syscall.EINVAL},
		{"memory of other count", RegionConfig{Memory: make([]byte, 2*page), Buffers: 3}, syscall.EINVAL},
		{"memory of too many", RegionConfig{Memory: make([]byte, (MaxBuffers+1)*page)}, syscall.EINVAL},
	} {
		t.Run(c.name, func(t *testing.T) {
			live := LiveRegions()
			r, err := NewRegion(c.c)
			if !errors.Is(err, c.want) || (r == nil) != (c.want != nil) {
				t.Fatalf("NewRegion: %v, %v; want %v", r, err, c.want)
			}
			if r == nil {
				if LiveRegions() != live {
					t.Fatal("a failure left a region behind")
				}
				return
			}
			size := max(c.c.BufferSize, page)
			if r.Count() != c.c.Buffers || r.BufferSize() != size || len(r.Memory()) != size*c.c.Buffers {
				t.Fatalf("%d buffers of %d in %d bytes", r.Count(), r.BufferSize(), len(r.Memory()))
			}
			if addressOf(r.Memory())%uintptr(page) != 0 || r.Kind() != Heap {
				t.Fatalf("%v memory at %#x", r.Kind(), addressOf(r.Memory()))
			}
			freeRegion(t, r)
		})
	}
}

// TestInvariant15_AddressSpace: where int has 32 bits the size of a region in bytes may wrap,
// to one that can be had.
func TestInvariant15_AddressSpace(t *testing.T) {
	if math.MaxInt > math.MaxInt32 {
		return // none is that large
	}
	for _, buffers := range []int{2, 5, MaxBuffers} { // 2 GiB, 1 GiB and 0 bytes
		for _, heap := range []bool{true, false} {
			if r, err := NewRegion(RegionConfig{Buffers: buffers, BufferSize: 1 << 30, Heap: heap}); r != nil || !errors.Is(err, syscall.ENOMEM) {
				t.Errorf("%d buffers of 1 GiB: %v, %v", buffers, r, err)
			}
		}
	}
}

// TestInvariant15_LargestRegion uses every buffer id there is.
func TestInvariant15_LargestRegion(t *testing.T) {
	r, err := NewRegion(RegionConfig{Buffers: MaxBuffers, NoHugePages: true, Heap: testenv.Race})
	if err != nil {
		t.Fatal(err)
	}
	p := NewPool(r)
	ids := alloc(t, p, MaxBuffers)
	if !slices.Equal(sorted(slices.Clone(ids)), seq(0, MaxBuffers)) {
		t.Fatal("not every id was given once")
	}
	v := handOver(t, p, 0xffff, r.BufferSize()-1, 1)
	refused(t, p, Iov{frag: Frag{bufferID: bufferID{r.ID() + 1, 0xffff}}}, ErrForeign)
	giveBack(t, p, v)
	for _, b := range ids {
		if b != 0xffff {
			p.Put(b)
		}
	}
	p.Close()
	if !p.Remove() || p.state.Load() != poolFreed {
		t.Fatalf("%+v", census(t, p))
	}
}

func TestKindStrings(t *testing.T) {
	seen := map[string]bool{}
	for k := Mapped; k <= Heap+1; k++ {
		s := k.String()
		if s == "" || seen[s] {
			t.Errorf("kind %d is %q", k, s)
		}
		seen[s] = true
	}
}
