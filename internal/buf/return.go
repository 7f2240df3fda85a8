package buf

import "fmt"

// Return gives back the user reference of each iov, and zeroes it: the
// application's side of the fill ring (RFC patches 8 and 14). Any goroutine may
// call it; iovs of different connections of the queue may be mixed.
//
// An iov that was given back before, is of another queue or was never given out
// is refused: it changes no count and keeps none of the others from being
// returned. n is how many were accepted; err describes the first refused one
// (ErrStale or ErrForeign). Refused iovs are left as they are, for the caller
// to look at.
func (p *Pool) Return(iovs []Iov) (n int, err error) { return p.returnFrom(iovs, 0) }

// returnFrom is Return but for the first of iovs, which were returned already.
func (p *Pool) returnFrom(iovs []Iov, first int) (n int, err error) {
	for i := first; i < len(iovs); {
		batch := iovs[i:min(i+refillBatch, len(iovs))]
		if p.lending.n > 0 {
			if k := p.returnLent(batch); k > 0 {
				i, n = i+k, n+k
				continue
			}
			batch = batch[:p.beforeLent(batch)]
		}
		k, e := p.returnSome(batch, i)
		if i, n = i+len(batch), n+k; err == nil {
			err = e
		}
	}
	if n > 0 {
		p.returned()
	}
	return n, err
}

// beforeLent is the number of the first of iovs, but for the very first, that may be of a
// lent buffer.
func (p *Pool) beforeLent(iovs []Iov) int {
	n := 1
	for n < len(iovs) && !p.isLent(iovs[n].frag.buffer) {
		n++
	}
	return n
}

// returnSome is Return of at most refillBatch iovs, the first of which is number
// first, without the look for who waits. None holds a reference to a lent buffer.
func (p *Pool) returnSome(iovs []Iov, first int) (n int, err error) {
	var (
		ids  [refillBatch]uint16 // of buffers that are free now
		free int
		s    settling
		bad  int
	)
	if Invariants {
		for i := range iovs {
			if v := &iovs[i]; p.ours(&v.frag) {
				p.debug.dropping(v)
			}
		}
	}
	zero := 0 // from where to i iovs were accepted, and are not zeroed yet
	for i := 0; i < len(iovs); {
		if n := p.dropLast(iovs[i:], ids[free:], &s); n > 0 {
			i, free = i+n, free+n
			continue
		}
		n, ok := p.dropOne(iovs[i:i+1], ids[free:], &s)
		if !ok {
			if bad++; err == nil {
				err = fmt.Errorf("iov %d: %w", first+i, p.refusal(&iovs[i]))
			}
			clear(iovs[zero:i])
			zero = i + 1
		}
		i, free = i+1, free+n
	}
	clear(iovs[zero:]) // at once: each pointer that is zeroed by itself asks the garbage collector
	if bad > 0 {
		p.rejects.Add(uint64(bad))
	}
	s.owner.uncharge(s.n)
	p.fill.push(ids[:free])
	return len(iovs) - bad, err
}

// settling has buffers that are free now count against nobody any more: those in a row that
// one is charged for at once. These are the last ones.
type settling struct {
	owner *Account
	n     int
}

// dropOne drops the user reference of one iov if that holds one: one of
// several references to its buffer, or the last one, if it has just become that. n is 1 if
// that makes the buffer free, ids and s are then as of dropLast. Of a lent buffer it
// holds none: returnLent has looked.
func (p *Pool) dropOne(one []Iov, ids []uint16, s *settling) (n int, ok bool) {
	f := one[0].frag
	if !p.ours(&f) || p.isLent(f.buffer) {
		return 0, false
	}
	w := &p.words[f.buffer]
	for {
		o := w.Load()
		// Generation first: it tells a stale return even when the buffer is
		// out again and has user references of others.
		if generation(o) != f.gen || userRefs(o) == 0 {
			return 0, false
		}
		if o&refMask == userOne {
			// Since dropLast looked; or it is stale, and on the way back just now.
			n = p.dropLast(one, ids, s)
			return n, n == 1
		}
		if w.CompareAndSwap(o, o-userOne) {
			return 0, true
		}
	}
}

// refusal is why v is refused.
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
