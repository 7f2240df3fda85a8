package buf

// The application's references to lent buffers, many in a row. Most are to a buffer
// of which nobody has another, and which is not queued: then the word is known without a
// look at it, and one compare-and-swap is the check and the change.

// handOverLent is HandOverAll for the first of frags, as many as lie in lent buffers
// that nobody else has a reference to. It returns how many they were, and of how many
// bytes.
func (p *Pool) handOverLent(frags []Frag, dst []Iov, limit int) (n, bytes int) {
	words, mem, shift := p.words[:p.lending.n], p.region.mem, p.region.shift
	dst = dst[:len(frags)]
	left := limit
	for i := range frags {
		f, v := &frags[i], &dst[i]
		if int(f.buffer) >= len(words) || int(f.len) > left {
			break
		}
		sole := word(f.gen)<<32 | kernelOne
		if !words[f.buffer].CompareAndSwap(sole, sole+userOne-kernelOne) {
			break
		}
		v.frag = *f
		v.view = f.in(mem, shift)
		p.debug.given(v)
		left -= int(f.len)
		n++
	}
	if n > 0 {
		p.kernelDone()
	}
	return n, limit - left
}

// returnLent is Return for the first of iovs, not more than refillBatch, as many as are of
// lent buffers. It returns how many they were.
func (p *Pool) returnLent(iovs []Iov) int {
	var ids [refillBatch]uint16
	n, free := p.dropLent(iovs, ids[:], queued)
	if free > 0 {
		p.queue(ids[:free])
	}
	return n
}

// ReturnHere is Return on the engine's own thread, by a handler. If that is the only one
// (OneThread), lent buffers that are free then do not go by the fill ring: the engine is
// called with them. Who is to be told what comes out of the ring (Notice) is told of them
// all the same. Engine only.
func (p *Pool) ReturnHere(iovs []Iov) (n int, err error) {
	l := &p.lending
	if l.here == nil {
		return p.Return(iovs)
	}
	done := 0
	for done < len(iovs) {
		k, free := p.dropLent(iovs[done:], l.ids[:], 0)
		if done += k; k == 0 {
			break
		}
		if free > 0 {
			p.notices.drained(free)
			p.notices.relieved()
			l.here(l.ids[:free])
		}
	}
	if done < len(iovs) {
		n, err = p.returnFrom(iovs, done)
	}
	if done > 0 {
		p.returned()
	}
	return done + n, err
}

// dropLent drops the references of the first of iovs, as many as are to lent buffers, and
// zeroes these. It returns how many they were, and puts those of the buffers into ids that
// are free now, and were not queued: as many as there is room for at least. They are what
// mark says then: queued, and the caller has to do that, or not, 0.
func (p *Pool) dropLent(iovs []Iov, ids []uint16, mark word) (n, free int) {
	last := 0 // references that were
	for {
		k := p.dropSole(iovs[n:], ids[free:], mark)
		n, free, last = n+k, free+k, last+k
		if n == len(iovs) || free == len(ids) {
			break
		}
		v := &iovs[n]
		before := p.dropShared(&v.frag, mark)
		if before == 0 {
			break
		}
		p.debug.dropping(v)
		n++
		if before&refMask != userOne {
			continue
		}
		last++
		p.debug.freed(v.frag.buffer)
		if before&queued == 0 {
			ids[free] = v.frag.buffer
			free++
		}
	}
	if n > 0 {
		clear(iovs[:n])
	}
	if last > 0 {
		p.lending.freed.Add(uint64(last))
	}
	return n, free
}

// dropSole is dropLent for those that hold the only reference to a buffer that is not
// queued. It zeroes nothing.
func (p *Pool) dropSole(iovs []Iov, ids []uint16, mark word) (n int) {
	words, region := p.words[:p.lending.n], p.region.id
	most := min(len(iovs), len(ids))
	iovs, ids = iovs[:most], ids[:most]
	for i := range iovs {
		f := &iovs[i].frag
		if int(f.buffer) >= len(words) || f.region != region {
			break
		}
		sole := word(f.gen)<<32 | userOne
		after := (sole+genOne-userOne)&^queued | mark // freed
		if !words[f.buffer].CompareAndSwap(sole, after) {
			break
		}
		p.debug.dropping(&iovs[i])
		p.debug.freed(f.buffer)
		ids[i] = f.buffer
		n++
	}
	return n
}

// dropShared drops the user reference that f stands for, if it is one to a lent buffer, which
// somebody else may have, too, or which may be queued. It returns what the buffer's word was
// before; 0 if there is no such reference.
func (p *Pool) dropShared(f *Frag, mark word) (before word) {
	if !p.isLent(f.buffer) || f.region != p.region.id {
		return 0
	}
	w := &p.words[f.buffer]
	for {
		v := w.Load()
		if generation(v) != f.gen || userRefs(v) == 0 {
			return 0
		}
		to := v - userOne
		if to&refMask == 0 {
			to = freed(v) | mark | v&queued
		}
		if w.CompareAndSwap(v, to) {
			return v
		}
	}
}
