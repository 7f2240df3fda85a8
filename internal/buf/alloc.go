package buf

// Alloc takes free buffers into dst and returns how many; each has one kernel
// reference, the caller's, and is charged to nobody. Fewer than len(dst) means
// that no more are free, which begins an episode of exhaustion (see Notice), or
// that the pool is closed. Engine only.
//
// The order is the RFC's (v3, patch 14): the cache; when that is empty, 64 from
// the recycle ring, else 64 from the fill ring, else 128 from the freelist. So
// buffers that were in use come before those that never were; Reclaim makes it
// the ones used last.
func (p *Pool) Alloc(dst []uint16) int {
	if p.state.Load() != poolOpen {
		return 0 // invariant 16: new allocation stops first, the cache included
	}
	n, words := 0, p.words
	for n < len(dst) && (len(p.cache) > 0 || p.refill()) {
		left := max(len(p.cache)-(len(dst)-n), 0)
		ids := dst[n : n+copy(dst[n:], p.cache[left:])]
		for _, b := range ids {
			w := &words[b]
			v := w.Load()
			storeOwned(w, v, v|kernelOne)
			p.debug.allocated(b)
		}
		p.cache = p.cache[:left]
		n += len(ids)
	}
	if n > 0 {
		p.allocs.Store(p.allocs.Load() + uint64(n))
		p.notices.relieved()
	}
	// After relieved: the buffers that were left end the episode before, and
	// the one that was missing begins another.
	if n < len(dst) {
		p.notices.exhausted()
	}
	return n
}

// Reclaim moves what the application has returned from the fill ring onto the
// cache, as far as there is room, so that it is allocated before anything else:
// the engine does so before it allocates a batch. The RFC's order alone would go
// round all buffers that were ever in use, oldest first, and find each one cold.
// Engine only.
func (p *Pool) Reclaim() {
	n := len(p.cache)
	if k := p.fill.pop(p.cache[n:cacheSize]); k > 0 {
		p.notices.drained(k)
		p.cache = p.cache[:n+p.sortLent(p.cache[n:n+k])]
	}
}

// refill brings buffers into the empty cache; false if none is free.
func (p *Pool) refill() bool {
	in := p.cache[:refillBatch]
	n := p.recycle.pop(in)
	if n == 0 {
		n = p.refillFromRing(in)
	}
	if n == 0 {
		n = len(p.free.pop(p.cache[:0], cacheSize))
	}
	p.cache = p.cache[:n]
	return n > 0
}

// refillFromRing takes buffers from the fill ring, but for lent ones.
func (p *Pool) refillFromRing(in []uint16) int {
	for {
		k := p.fill.pop(in)
		if k == 0 {
			return 0
		}
		p.notices.drained(k)
		if n := p.sortLent(in[:k]); n > 0 {
			return n
		}
	}
}
