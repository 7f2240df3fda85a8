package buf

import (
	"fmt"
	"math/rand/v2"
	"os"
	"slices"
	"testing"
)

// The bar: handing a 4 KiB buffer over and taking it back costs at most
// a tenth of what copying 4 KiB from memory that is not in the CPU's caches
// costs. Compare the HandOverReturn4K benchmarks with BenchmarkCopy4KCold, run
// by turns.

// BenchmarkHandOverReturn4K is one buffer's whole way, alone: allocated,
// charged to a connection, handed to the application and returned.
func BenchmarkHandOverReturn4K(b *testing.B) {
	p := newPool(b, 4096)
	var (
		acct Account
		id   [1]uint16
		iov  [1]Iov
	)
	b.ReportAllocs()
	for b.Loop() {
		p.Alloc(id[:])
		p.Charge(id[0], &acct)
		_ = p.HandOver(p.Frag(id[0], 0, 4096), &iov[0])
		_, _ = p.Return(iov[:])
	}
}

// BenchmarkHandOverReturn4KBatch is the same in batches, as engines and
// applications do; an op is one buffer.
func BenchmarkHandOverReturn4KBatch(b *testing.B) {
	for _, batch := range []int{16, 64} {
		b.Run(fmt.Sprint(batch), func(b *testing.B) {
			p := newPool(b, 4096)
			var acct Account
			seg, iovs := newSegment(batch), make([]Iov, batch)
			b.ReportAllocs()
			for i := 0; i < b.N; i += batch {
				seg.handOver(p, iovs, &acct)
				_, _ = p.Return(iovs)
			}
		})
	}
}

// BenchmarkHandOverReturn4KThreads has the application on another goroutine:
// the words, the fill ring and the account go from one CPU's cache to the
// other's and back. An op is one buffer.
func BenchmarkHandOverReturn4KThreads(b *testing.B) {
	for _, batch := range []int{16, 64} {
		b.Run(fmt.Sprint(batch), func(b *testing.B) {
			p := newPool(b, 4096)
			var acct Account
			const inFlight = 8
			full, empty := make(chan []Iov, inFlight), make(chan []Iov, inFlight)
			for range inFlight {
				empty <- make([]Iov, batch)
			}
			done := make(chan struct{})
			go func() {
				defer close(done)
				for iovs := range full {
					_, _ = p.Return(iovs)
					empty <- iovs
				}
			}()
			seg := newSegment(batch)
			b.ReportAllocs()
			b.ResetTimer()
			for i := 0; i < b.N; i += batch {
				iovs := <-empty
				seg.handOver(p, iovs, &acct)
				full <- iovs
			}
			close(full)
			<-done
		})
	}
}

// A segment is what an engine handles at a time: buffers of one connection.
type segment struct {
	ids   []uint16
	frags []Frag
}

func newSegment(n int) *segment { return &segment{make([]uint16, n), make([]Frag, n)} }

func (s *segment) handOver(p *Pool, iovs []Iov, a *Account) {
	if p.Alloc(s.ids) < len(s.ids) {
		panic("no buffer free")
	}
	for i, id := range s.ids {
		s.frags[i] = p.Frag(id, 0, 4096)
	}
	p.ChargeFrags(s.frags, a)
	for i := range s.frags {
		_ = p.HandOver(s.frags[i], &iovs[i])
	}
}

// BenchmarkCopy4KCold copies 4 KiB at a time out of 256 MiB, which no cache
// holds, to one place: what a copying receive costs the reader, at the least.
// Scattered is the order that payload has in a region in use. InOrder is for
// comparison: the CPU's prefetcher sees it coming.
func BenchmarkCopy4KCold(b *testing.B) {
	const size, unit = 256 << 20, 4096
	src, dst := make([]byte, size), make([]byte, unit)
	for i := 0; i < size; i += os.Getpagesize() {
		src[i] = 1 // or all pages would be the one zero page
	}
	order := rand.New(rand.NewPCG(1, 1)).Perm(size / unit)
	for _, c := range []struct {
		name  string
		order []int
	}{{"Scattered", order}, {"InOrder", slices.Sorted(slices.Values(order))}} {
		b.Run(c.name, func(b *testing.B) {
			b.SetBytes(unit)
			i := 0
			for b.Loop() {
				copy(dst, src[c.order[i]*unit:][:unit])
				i = (i + 1) % len(c.order)
			}
		})
	}
}
