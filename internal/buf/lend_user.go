package buf

// The application's references to lent buffers, many in a row. Most are to a buffer
// of which nobody has another, and which is not queued: then the word is known without a
// look at it, and one compare-and-swap is the check and the change.

// handOverLent is HandOverAll for the first of frags, as many as lie in lent buffers
// that nobody else has a reference to. It returns how many they were.
func (p *Pool) handOverLent(frags []Frag, dst []Iov) (n int) {
	words := p.words[:p.lending.n]
	for n < len(frags) {
		f := &frags[n]
		if int(f.buffer) >= len(words) {
			break
		}
		sole := word(f.gen)<<32 | kernelOne
		if !words[f.buffer].CompareAndSwap(sole, sole+userOne-kernelOne) {
			break
		}
		n++
	}
	if n > 0 {
		p.show(frags[:n], dst)
		p.kernelDone()
	}
	return n
}

// show makes iovs of frags, whose references are the application's.
func (p *Pool) show(frags []Frag, dst []Iov) {
	mem, shift := p.region.mem, p.region.shift
	dst = dst[:len(frags)]
	for i := range frags {
		f, v := &frags[i], &dst[i]
		v.frag = *f
		v.view = f.in(mem, shift)
		p.debug.given(v)
	}
}

// returnLent is Return for the first of iovs, not more than refillBatch, as many as are of
// lent buffers. It returns how many they were.
func (p *Pool) returnLent(iovs []Iov) int {
	var ids [refillBatch]uint16
	n, free := p.dropLent(iovs, ids[:])
	if free > 0 {
		p.queue(ids[:free])
	}
	return n
}

// ReturnHere is Return on the engine's own thread, by a handler. If that is the only one
// (OneThread), lent buffers that are free then do not go by the fill ring, but wait where
// TakeBack looks first; who is to be told what comes out of the ring (Notice) is told of
// them all the same. Engine only.
func (p *Pool) ReturnHere(iovs []Iov) (n int, err error) {
	l := &p.lending
	if !l.here {
		return p.Return(iovs)
	}
	at := len(l.back)
	done, free := p.dropLent(iovs, l.back[at:cap(l.back)])
	l.back = l.back[:at+free]
	if free > 0 {
		p.notices.drained(free)
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
// are free now, and which the caller has to queue: as many as there is room for at least.
func (p *Pool) dropLent(iovs []Iov, ids []uint16) (n, free int) {
	last := 0 // references that were
	for {
		k := p.dropSole(iovs[n:], ids[free:])
		n, free, last = n+k, free+k, last+k
		if n == len(iovs) || free == len(ids) {
			break
		}
		v := &iovs[n]
		before := p.dropShared(&v.frag)
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
func (p *Pool) dropSole(iovs []Iov, ids []uint16) (n int) {
	words, region := p.words[:p.lending.n], p.region.id
	most := min(len(iovs), len(ids))
	iovs, ids = iovs[:most], ids[:most]
	for i := range iovs {
		f := &iovs[i].frag
		if int(f.buffer) >= len(words) || f.region != region {
			break
		}
		// What freedLent returns of it: the generation is of 31 bits, and in the bit
		// beside it, to which the last one's successor carries, is queued.
		sole, after := word(f.gen)<<32|userOne, word(f.gen+1)<<32|queued
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
func (p *Pool) dropShared(f *Frag) (before word) {
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
			to = freedLent(v)
		}
		if w.CompareAndSwap(v, to) {
			return v
		}
	}
}
