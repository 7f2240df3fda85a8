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
	var (
		ids    [refillBatch]uint16
		free   int
		run    *Account // owner of the last buffers freed
		runLen int
	)
	for i := range iovs {
		v := &iovs[i]
		o, e := p.dropUser(v)
		if e != nil {
			p.rejects.Add(1)
			if err == nil {
				err = fmt.Errorf("iov %d: %w", i, e)
			}
			continue
		}
		n++
		b := v.frag.buffer
		*v = Iov{}
		if (o-userOne)&refMask != 0 {
			continue // others still hold it
		}
		if p.isLent(b) && !p.comesBack(b) {
			continue
		}
		if o&charged != 0 {
			if a := p.owners[b]; a != run {
				run.uncharge(runLen)
				run, runLen = a, 0
			}
			runLen++
		}
		if ids[free] = b; free == len(ids)-1 {
			p.fill.push(ids[:])
			free = 0
			continue
		}
		free++
	}
	run.uncharge(runLen)
	p.fill.push(ids[:free])
	if n > 0 {
		p.returned()
	}
	return n, err
}

// dropUser drops one user reference of v's buffer if v is its holder, and
// returns the word as it was before. If that was the only reference the buffer
// is free now, and in the caller's hands.
func (p *Pool) dropUser(v *Iov) (before word, err error) {
	f := v.frag
	if f.region == 0 {
		return 0, fmt.Errorf("%w: empty iov", ErrStale)
	}
	if err := p.check(f); err != nil {
		return 0, err
	}
	p.debug.dropping(v)
	w := &p.words[f.buffer]
	for {
		o := w.Load()
		// Generation first: it tells a stale return even when the buffer is
		// out again and has user references of others.
		if generation(o) != f.gen || userRefs(o) == 0 {
			return 0, fmt.Errorf("%w: buffer %d", ErrStale, f.buffer)
		}
		n := o - userOne
		if n&refMask == 0 {
			n = freed(o)
		}
		if w.CompareAndSwap(o, n) {
			if n&refMask == 0 {
				p.debug.freed(f.buffer)
			}
			return o, nil
		}
	}
}
