package buf

import (
	"fmt"
	"math/bits"
)

// Return gives back the user reference of each iov, and zeroes it: the
// application's side of the fill ring (RFC patches 8 and 14). Any goroutine may
// call it; iovs of different connections of the queue may be mixed.
//
// An iov that was given back before, is of another queue or was never given out
// is refused: it changes no count and keeps none of the others from being
// returned. n is how many were accepted; err describes the first refused one
// (ErrStale or ErrForeign). Refused iovs are left as they are, for the caller
// to look at.
func (p *Pool) Return(iovs []Iov) (n int, err error) {
	for i := 0; i < len(iovs); i += refillBatch {
		k, e := p.returnSome(iovs[i:min(i+refillBatch, len(iovs))], i)
		if n += k; err == nil {
			err = e
		}
	}
	if n > 0 {
		p.returned()
	}
	return n, err
}

// returnSome is Return of at most refillBatch iovs, the first of which is number
// first, without the look for who waits.
func (p *Pool) returnSome(iovs []Iov, first int) (n int, err error) {
	var (
		ids   [refillBatch]uint16 // of buffers that are free now
		free  uint
		owned uint64 // a bit for each of ids: somebody is charged for it
		bad   int
	)
	for i := range iovs {
		v := &iovs[i]
		o, ok := p.dropUser(v)
		if !ok {
			if bad++; err == nil {
				err = fmt.Errorf("iov %d: %w", first+i, p.refusal(v))
			}
			continue
		}
		b := v.frag.buffer
		*v = Iov{}
		if (o-userOne)&refMask != 0 {
			continue // others still hold it
		}
		ids[free%refillBatch] = b
		owned |= o >> 63 << (free % refillBatch)
		free++
	}
	if bad > 0 {
		p.rejects.Add(uint64(bad))
	}
	freed := ids[:free]
	p.settle(freed, owned)
	if p.lending.n > 0 {
		freed = freed[:p.cameBack(freed)]
	}
	p.fill.push(freed)
	return len(iovs) - bad, err
}

// settle has buffers that are free now count against nobody any more. Bit i of
// owned says that somebody is charged for ids[i].
func (p *Pool) settle(ids []uint16, owned uint64) {
	var run *Account // owner of the last buffers
	n := 0
	for ; owned != 0; owned &= owned - 1 {
		if a := p.owners[ids[bits.TrailingZeros64(owned)]]; a != run {
			run.uncharge(n)
			run, n = a, 0
		}
		n++
	}
	run.uncharge(n)
}

// dropUser drops one user reference of v's buffer if v is its holder, and
// returns the word as it was before. If that was the only reference the buffer
// is free now, and in the caller's hands.
func (p *Pool) dropUser(v *Iov) (before word, ok bool) {
	f := &v.frag
	if !p.ours(f) {
		return 0, false
	}
	p.debug.dropping(v)
	w := &p.words[f.buffer]
	for {
		o := w.Load()
		// Generation first: it tells a stale return even when the buffer is
		// out again and has user references of others.
		if generation(o) != f.gen || userRefs(o) == 0 {
			return 0, false
		}
		n := o - userOne
		if n&refMask == 0 {
			n = freed(o)
		}
		if w.CompareAndSwap(o, n) {
			if n&refMask == 0 {
				p.debug.freed(f.buffer)
			}
			return o, true
		}
	}
}

// refusal is why dropUser refused v.
func (p *Pool) refusal(v *Iov) error {
	f := v.frag
	switch {
	case f.region == 0:
		return fmt.Errorf("%w: empty iov", ErrStale)
	case !p.ours(&f):
		return fmt.Errorf("%w: buffer %d of region %d; this queue has region %d, with %d", ErrForeign, f.buffer, f.region, p.region.id, p.region.count)
	}
	return fmt.Errorf("%w: buffer %d", ErrStale, f.buffer)
}
