//go:build interleave

package buf

import "github.com/zctap/zctap/internal/interleave"

// The tests of these files run two or three goroutines through a few operations, in all their
// interleavings. What newPool checks, each schedule's end does: every buffer is in one place, none
// is lost or there twice, and the region is freed. A goroutine that waits for a call that nobody
// makes fails its schedule, too.

// explored is newPool for an execution: of heap memory, since thousands are made.
func explored(x *interleave.Execution, buffers int) *Pool {
	r, err := NewRegion(RegionConfig{Buffers: buffers, Heap: true})
	if err != nil {
		x.Fatal(err)
	}
	return newPoolOf(x, r)
}

// accepted returns copies of iovs, and says how many were accepted.
func accepted(x *interleave.Execution, p *Pool, iovs ...Iov) int {
	n, _ := p.Return(iovs)
	zero := 0
	for i := range iovs {
		if iovs[i].frag == (Frag{}) {
			zero++
		}
	}
	if n != zero {
		x.Errorf("%d accepted, and %d zeroed", n, zero)
	}
	return n
}

// next allocates a buffer, for which it waits as an engine does: it asks for a call, looks once
// more, and sleeps. p.OnReturn is not used otherwise.
func next(p *Pool) uint16 {
	woken := false
	p.OnReturn(func() { woken = true })
	var id [1]uint16
	for p.Alloc(id[:]) == 0 {
		woken = false
		p.WantReturn()
		if p.Alloc(id[:]) > 0 {
			break
		}
		interleave.Await(func() bool { return woken })
	}
	return id[0]
}
