//go:build interleave

package buf

import (
	"math"
	"testing"

	"github.com/zctap/zctap/internal/interleave"
)

// An engine that waits for a buffer is woken by whoever returns one.
func TestInterleaveWantReturn(t *testing.T) {
	for name, back := range map[string]func(x *interleave.Execution, p *Pool, v Iov, b uint16){
		"by return": func(x *interleave.Execution, p *Pool, v Iov, _ uint16) { giveBack(x, p, v) },
		"by put":    func(_ *interleave.Execution, p *Pool, _ Iov, b uint16) { p.Put(b) },
	} {
		t.Run(name, func(t *testing.T) {
			interleave.Explore(t, 3, func(x *interleave.Execution) {
				p := explored(x, 2)
				ids := alloc(x, p, 2)
				v := handOver(x, p, ids[0], 0, 1)
				x.Go("engine", func() { p.Put(next(p)) })
				x.Go("another", func() { back(x, p, v, ids[1]) })
				x.Cleanup(func() {
					if name == "by put" {
						giveBack(x, p, v)
					} else {
						p.Put(ids[1])
					}
				})
			})
		})
	}
}

// Likewise an engine whose device waits for a lent one.
func TestInterleaveWantReturnLent(t *testing.T) {
	interleave.Explore(t, 3, func(x *interleave.Execution) {
		p, d := lent(x, 1), device{}
		woken := false
		p.OnReturn(func() { woken = true })
		v := landed(x, p, 0)
		x.Cleanup(func() { d.end(x, p, 1, 1) })
		x.Go("engine", func() {
			for d.takeBack(p); d[0] == 0; d.takeBack(p) {
				woken = false
				p.WantReturn()
				if d.takeBack(p); d[0] == 0 {
					interleave.Await(func() bool { return woken })
				}
			}
		})
		x.Go("user", func() { giveBack(x, p, v) })
	})
}

// remove closes p, and removes it when it can be, for which it waits to be called.
func remove(x *interleave.Execution, p *Pool) {
	woken := false
	p.OnReturn(func() { woken = true })
	p.Close()
	for {
		woken = false
		p.WantReturn()
		if p.Remove() {
			break
		}
		interleave.Await(func() bool { return woken })
	}
	if n := p.kernelHeld(); n != 0 {
		x.Errorf("removed, with %d buffers in the driver or the stack", n)
	}
}

// The queue is removed while the last kernel references are dropped: as a consumer takes what
// waits for it, and holds it, as the stack drops what it has, and what the application has, too. It
// is that, and no return, for which Remove is called again.
func TestInterleaveRemove(t *testing.T) {
	all := func(x *interleave.Execution, p *Pool, frags []Frag) []Iov {
		dst := make([]Iov, len(frags))
		if n, _, err := p.HandOverAll(frags, dst, math.MaxInt); n != len(frags) || err != nil {
			x.Errorf("HandOverAll: %d, %v", n, err)
		}
		return dst
	}
	single := func(x *interleave.Execution, p *Pool, frags []Frag) []Iov {
		dst := make([]Iov, len(frags))
		for i := range frags {
			if err := p.HandOver(frags[i], &dst[i]); err != nil {
				x.Error(err)
			}
		}
		return dst
	}
	put := func(_ *interleave.Execution, p *Pool, frags []Frag) []Iov {
		p.PutFrags(frags)
		return nil
	}
	for _, c := range []struct {
		name  string
		lent  int // of two buffers
		given bool
		drop  func(x *interleave.Execution, p *Pool, frags []Frag) []Iov
	}{
		{"all", 0, false, all},
		{"all, lent", 2, false, all},
		{"all, mixed", 1, false, all},
		{"all, given", 0, true, all},
		{"single", 0, false, single},
		{"single, lent", 2, false, single},
		{"put", 0, false, put},
		{"put, lent", 2, false, put},
		{"put, given", 0, true, put},
		{"put, given and lent", 2, true, put},
	} {
		t.Run(c.name, func(t *testing.T) {
			interleave.Explore(t, 3, func(x *interleave.Execution) {
				p := explored(x, 2)
				var frags []Frag
				for b := range uint16(2) {
					frags = append(frags, Landed(b, 0, 1))
				}
				if c.lent > 0 {
					p.Lend(c.lent)
				}
				if n, err := p.Land(frags[:c.lent]); n != c.lent || err != nil {
					x.Fatalf("Land: %d, %v", n, err)
				}
				for i, b := range alloc(x, p, 2-c.lent) {
					frags[c.lent+i] = p.Frag(b, 0, 1)
				}
				var held []Iov
				for _, f := range frags {
					if c.given {
						held = append(held, giveUser(x, p, f.buffer, 0, 1))
					}
				}
				x.Go("engine", func() { remove(x, p) })
				x.Go("consumer", func() { held = append(held, c.drop(x, p, frags)...) })
				x.Cleanup(func() {
					if giveBack(x, p, held...); p.state.Load() != poolFreed {
						x.Error("the region is there in the end")
					}
				})
			})
		})
	}
}

// The last iov is returned while the queue is removed: either frees the region, and only one.
func TestInterleaveLastReturn(t *testing.T) {
	interleave.Explore(t, 2, func(x *interleave.Execution) {
		p := explored(x, 2)
		ids := alloc(x, p, 2)
		v, w := handOver(x, p, ids[0], 0, 1), handOver(x, p, ids[1], 0, 1)
		x.Go("engine", func() { remove(x, p) })
		x.Go("user", func() { giveBack(x, p, v) })
		x.Go("another", func() { giveBack(x, p, w) })
		x.Cleanup(func() {
			if p.state.Load() != poolFreed {
				x.Error("the region is there in the end")
			}
		})
	})
}

// What is drained while the application takes a notice is in this one or in the next, of which it is
// told.
func TestInterleaveNotice(t *testing.T) {
	interleave.Explore(t, 3, func(x *interleave.Execution) {
		p := explored(x, 2)
		told, drained, empty := 0, 0, 0
		p.OnNotice(func() { told++ })
		ids := alloc(x, p, 2)
		v, w := handOver(x, p, ids[0], 0, 1), handOver(x, p, ids[1], 0, 1)
		x.Go("engine", func() {
			giveBack(x, p, v)
			p.Reclaim()
			giveBack(x, p, w)
			p.Reclaim()
			p.Put(alloc(x, p, 1)[0])
		})
		x.Go("application", func() {
			for taken := 0; drained < 2; taken++ {
				interleave.Await(func() bool { return told > taken })
				n, _ := p.TakeNotice()
				drained += int(n.Drained)
				if n.Empty {
					empty++
				}
			}
		})
		x.Cleanup(func() {
			if drained != 2 || empty != 0 {
				x.Errorf("told of %d drained, and %d times of exhaustion", drained, empty)
			}
		})
	})
}

// Free is never more than there is, nor less than what nobody touches, whatever comes and goes.
func TestInterleaveFree(t *testing.T) {
	interleave.Explore(t, 2, func(x *interleave.Execution) {
		p := explored(x, 2)
		v := handOver(x, p, alloc(x, p, 1)[0], 0, 1)
		x.Go("user", func() { giveBack(x, p, v) })
		x.Go("engine", func() { p.Put(next(p)) })
		x.Go("looker", func() {
			if n := p.Free(); n < 0 || n > 2 {
				x.Errorf("%d free of 2", n)
			}
		})
	})
}
