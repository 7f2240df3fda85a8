//go:build interleave

package buf

import (
	"slices"
	"testing"

	"github.com/zctap/zctap/internal/interleave"
	"github.com/zctap/zctap/internal/interleave/atomic"
)

// lent is explored with a pool of one buffer more than the first n, which are lent to the device.
func lent(x *interleave.Execution, n int) *Pool {
	p := explored(x, n+1)
	p.Lend(n)
	return p
}

// landed is an iov of lent buffer b, which gets a reference.
func landed(x *interleave.Execution, p *Pool, b uint16) Iov {
	land(x, p, b)
	return handOver(x, p, b, 0, 1)
}

// A device counts how often each lent buffer came back.
type device map[uint16]int

func (d device) takeBack(p *Pool) { d.take(takeBack(p)) }

func (d device) take(buffers []uint16) {
	for _, b := range buffers {
		d[b]++
	}
}

// end fails the schedule if not all of the pool's n lent buffers have come back, none more often than
// it landed, which is landings times at most, or if one is queued twice.
func (d device) end(x *interleave.Execution, p *Pool, n, landings int) {
	var queued []uint16
	p.fill.each(func(b uint16) { queued = append(queued, b) })
	queued = append(queued, p.lending.back...)
	slices.Sort(queued)
	if k := len(queued); len(slices.Compact(queued)) != k {
		x.Errorf("%d are queued, of them some twice", k)
	}
	d.takeBack(p)
	for b := range uint16(n) {
		if d[b] == 0 || d[b] > landings {
			x.Errorf("buffer %d came back %d times, and landed %d times", b, d[b], landings)
		}
		if w := p.words[b].Load(); w&^genMask != 0 {
			x.Errorf("the word of buffer %d is %#x in the end", b, w)
		}
	}
	if f := p.FreeLent(); f != n {
		x.Errorf("%d lent buffers of %d are free", f, n)
	}
	if k := p.fill.len(); k != 0 {
		x.Errorf("%d are in the fill ring in the end", k)
	}
}

// A lent buffer that is queued and held is taken out of the ring while its last reference is
// dropped: it comes back at once, or is queued anew, but is not forgotten.
func TestInterleaveTakeBack(t *testing.T) {
	interleave.Explore(t, 5, func(x *interleave.Execution) {
		p := lent(x, 1)
		giveBack(x, p, landed(x, p, 0)) // it is queued now
		v, d := landed(x, p, 0), device{}
		x.Cleanup(func() { d.end(x, p, 1, 2) })
		x.Go("engine", func() { d.takeBack(p) })
		x.Go("user", func() { giveBack(x, p, v) })
	})
}

// Two views of one lent buffer are released, while it is taken back.
func TestInterleaveLentViews(t *testing.T) {
	for name, queued := range map[string]bool{"queued": true, "not queued": false} {
		t.Run(name, func(t *testing.T) {
			interleave.Explore(t, 3, func(x *interleave.Execution) {
				p := lent(x, 1)
				if queued {
					giveBack(x, p, landed(x, p, 0))
				}
				v, w, d := landed(x, p, 0), landed(x, p, 0), device{}
				x.Cleanup(func() { d.end(x, p, 1, 3) })
				x.Go("engine", func() { d.takeBack(p) })
				x.Go("user", func() { giveBack(x, p, v) })
				x.Go("another", func() { giveBack(x, p, w) })
			})
		})
	}
}

// The device goes on with a buffer while the application releases what landed there before, and the
// engine drops its own reference. An engine of one thread stores what lands where nobody holds it.
func TestInterleaveLandAgain(t *testing.T) {
	for name, c := range map[string]struct{ queued, alone bool }{
		"queued": {true, false}, "not queued": {false, false}, "queued, one thread": {true, true}, "not queued, one thread": {false, true},
	} {
		t.Run(name, func(t *testing.T) {
			interleave.Explore(t, 4, func(x *interleave.Execution) {
				p, d := lent(x, 1), device{}
				if c.alone {
					p.OneThread(d.take)
				}
				if c.queued {
					giveBack(x, p, landed(x, p, 0))
				}
				v := landed(x, p, 0)
				x.Cleanup(func() { d.end(x, p, 1, 3) })
				x.Go("engine", func() {
					land(x, p, 0)
					d.takeBack(p)
					p.Put(0)
				})
				x.Go("user", func() { giveBack(x, p, v) })
			})
		})
	}
}

// Two threads of an engine land payload in one buffer, and drop it. At no time less than none is
// free, or more than there are.
func TestInterleaveLand(t *testing.T) {
	interleave.Explore(t, 3, func(x *interleave.Execution) {
		p, d := lent(x, 1), device{}
		x.Cleanup(func() { d.end(x, p, 1, 2) })
		for _, name := range []string{"a", "b"} {
			x.Go(name, func() {
				land(x, p, 0)
				if !p.Held(0) {
					x.Error("nobody holds it")
				}
				p.Put(0)
			})
		}
		x.Go("looker", func() {
			if n := p.FreeLent(); n < 0 || n > 1 {
				x.Errorf("%d are free", n)
			}
		})
	})
}

// A handler releases on the engine's thread what others release on theirs: each buffer goes through
// the ring or not, and comes back.
func TestInterleaveReturnHere(t *testing.T) {
	for name, buffers := range map[string][2]uint16{"one buffer": {0, 0}, "two": {0, 1}} {
		t.Run(name, func(t *testing.T) {
			interleave.Explore(t, 4, func(x *interleave.Execution) {
				n := int(buffers[1]) + 1
				p, d := lent(x, n), device{}
				p.OneThread(d.take)
				for b := range uint16(n) {
					giveBack(x, p, landed(x, p, b)) // they are queued
				}
				v, w := landed(x, p, buffers[0]), landed(x, p, buffers[1])
				x.Cleanup(func() { d.end(x, p, n, 3) })
				x.Go("engine", func() {
					if k, err := p.ReturnHere([]Iov{v}); k != 1 || err != nil {
						x.Errorf("ReturnHere: %d, %v", k, err)
					}
					d.takeBack(p)
				})
				x.Go("user", func() { giveBack(x, p, w) })
			})
		})
	}
}

// What an engine of one thread has stored for payload that landed is seen by a consumer that it reaches
// by a queue, who gives it back while it lands again.
func TestInterleaveLandStored(t *testing.T) {
	interleave.Explore(t, 4, func(x *interleave.Execution) {
		p, d := lent(x, 1), device{}
		p.OneThread(d.take)
		var published atomic.Uint32
		x.Cleanup(func() { d.end(x, p, 1, 2) })
		x.Go("engine", func() {
			land(x, p, 0)
			published.Store(1)
			d.takeBack(p)
			land(x, p, 0)
			p.Put(0)
		})
		x.Go("user", func() {
			interleave.Await(func() bool { return published.Load() == 1 })
			giveBack(x, p, handOver(x, p, 0, 0, 1))
		})
	})
}

// Alloc finds lent buffers in the ring, and keeps them for TakeBack. They do not count as free.
func TestInterleaveLentBesideAllocated(t *testing.T) {
	interleave.Explore(t, 2, func(x *interleave.Execution) {
		p, d := lent(x, 1), device{}
		a := alloc(x, p, 1)[0]
		v, w := landed(x, p, 0), handOver(x, p, a, 0, 1)
		x.Cleanup(func() {
			p.Reclaim()
			d.end(x, p, 1, 1)
			if p.Free() != 1 {
				x.Errorf("%d free", p.Free())
			}
		})
		x.Go("engine", func() {
			p.Reclaim()
			d.takeBack(p)
		})
		x.Go("user", func() { giveBack(x, p, w, v) })
		x.Go("looker", func() {
			if n := p.Free(); n > 1 {
				x.Errorf("%d free of one", n)
			}
		})
	})
}
