package buf

// The application's references to lent buffers, many in a row. Most are to a buffer
// of which nobody has another: then the word is known without a look at it, and one
// compare-and-swap is the check and the change.

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

// returnLent is Return for the first of iovs, not more than refillBatch, as many as hold
// the only reference to a lent buffer. It returns how many they were.
func (p *Pool) returnLent(iovs []Iov) int {
	var ids [refillBatch]uint16
	n := p.dropSole(iovs, ids[:])
	if n > 0 {
		clear(iovs[:n])
		p.fill.push(p.queue(ids[:n]))
	}
	return n
}

// dropSole drops the references that returnLent is to drop, and puts the buffers, which
// are free then, into ids, which has room for all.
func (p *Pool) dropSole(iovs []Iov, ids []uint16) (n int) {
	words, region := p.words[:p.lending.n], p.region.id
	for n < len(iovs) && n < len(ids) {
		f := &iovs[n].frag
		if int(f.buffer) >= len(words) || f.region != region {
			break
		}
		sole := word(f.gen)<<32 | userOne
		if !words[f.buffer].CompareAndSwap(sole, freed(sole)) {
			break
		}
		p.debug.dropping(&iovs[n])
		p.debug.freed(f.buffer)
		ids[n] = f.buffer
		n++
	}
	return n
}

// queue is cameBack for lent buffers.
func (p *Pool) queue(ids []uint16) []uint16 {
	l := &p.lending
	queued, k := l.queued, 0
	for _, b := range ids {
		if !queued[b].Swap(true) {
			ids[k] = b
			k++
		}
	}
	l.freed.Add(uint64(len(ids)))
	l.pushed.Add(uint64(k))
	return ids[:k]
}
