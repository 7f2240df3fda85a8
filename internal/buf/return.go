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
func (p *Pool) Return(iovs []Iov) (n int, err error) {
	if p.lending.n > 0 || len(iovs) > refillBatch {
		return p.returnFrom(iovs, 0)
	}
	n, err = p.returnSome(iovs, 0)
	if n > 0 {
		p.returned()
	}
	return n, err
}

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
		r   returning
		bad int
	)
	if Invariants {
		for i := range iovs {
			if v := &iovs[i]; p.ours(&v.frag) {
				p.debug.dropping(v)
			}
		}
	}
	for rest := iovs; ; {
		k := p.drop(rest, &r)
		if k == len(rest) {
			break
		}
		if bad++; err == nil {
			err = fmt.Errorf("iov %d: %w", first+len(iovs)-len(rest)+k, p.refusal(&rest[k]))
		}
		rest = rest[k+1:]
	}
	if bad > 0 {
		p.rejects.Add(uint64(bad))
	}
	r.owner.uncharge(r.charged)
	p.fill.push(r.ids[:r.free])
	return len(iovs) - bad, err
}

// returning is what a Return has made free and not told of yet. Those that one owner in a row is
// charged for are settled at once.
type returning struct {
	ids     [refillBatch]uint16 // buffers that are free now
	free    int                 // of ids
	owner   *Account            // of the last of ids for which somebody was charged
	charged int                 // how many of these count against owner still
}

// drop drops the user references of the first of iovs, as many as hold one, and zeroes them.
// It returns how many that was.
func (p *Pool) drop(iovs []Iov, r *returning) (n int) {
	for n < len(iovs) {
		k := p.dropLast(iovs[n:], r)
		if k == 0 {
			if !p.dropOne(iovs[n:n+1], r) {
				break
			}
			k = 1
		}
		n += k
	}
	clear(iovs[:n]) // at once: each pointer that is zeroed by itself asks the garbage collector
	return n
}

// dropOne drops the user reference of one iov if that holds one: one of
// several references to its buffer, or the last one, if it has just become that: r keeps
// the buffer then. Of a lent buffer it holds none: returnLent has looked.
func (p *Pool) dropOne(one []Iov, r *returning) (ok bool) {
	f := one[0].frag
	if !p.ours(&f) || p.isLent(f.buffer) {
		return false
	}
	w := &p.words[f.buffer]
	for {
		o := w.Load()
		// Generation first: it tells a stale return even when the buffer is
		// out again and has user references of others.
		if generation(o) != f.gen || userRefs(o) == 0 {
			return false
		}
		if o&refMask == userOne {
			// Since dropLast looked; or it is stale, and on the way back just now.
			return p.dropLast(one, r) == 1
		}
		if w.CompareAndSwap(o, o-userOne) {
			return true
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
