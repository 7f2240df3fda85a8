package buf

import "github.com/zctap/zctap/internal/interleave/atomic"

// Get takes one more kernel reference to f's buffer, for a caller that can
// rely on one already (a packet tap, a frag cut in two). ErrOverflow leaves
// the count as it was.
func (p *Pool) Get(f Frag) error { return p.GetN(f, 1) }

// GetN is Get for n references at once, n >= 0.
func (p *Pool) GetN(f Frag, n int) error {
	w := &p.words[f.buffer]
	for {
		v := w.Load()
		if v&refMask == 0 {
			panic("buf: Get of a free buffer")
		}
		if uint64(n) > uint64(kernelMask-v&kernelMask) {
			return ErrOverflow
		}
		if w.CompareAndSwap(v, v+word(n)*kernelOne) {
			return nil
		}
	}
}

// Put drops one kernel reference; the buffer is free when it was the last and
// the application holds none. The caller must own the reference: a Put without
// one is a bug in zctap, and panics.
func (p *Pool) Put(b uint16) {
	if p.isLent(b) {
		p.putLent(b)
		return
	}
	w := &p.words[b]
	for {
		v := w.Load()
		if kernelRefs(v) == 0 {
			panic("buf: Put of a buffer without a kernel reference")
		}
		if kernelRefs(v) > 1 || userRefs(v) > 0 {
			if w.CompareAndSwap(v, v-kernelOne) {
				if kernelRefs(v) == 1 {
					p.kernelDone()
				}
				return
			}
			continue
		}
		// The last reference: what follows is ours alone.
		if v&charged != 0 {
			p.owners[b].uncharge(1)
		}
		p.debug.freed(b)
		storeOwned(w, v, freedPut(v))
		if !p.recycle.tryPush(b) {
			p.free.push(b)
		}
		p.returned()
		return
	}
}

// PutFrags drops the kernel reference that each frag stands for.
func (p *Pool) PutFrags(frags []Frag) {
	for _, f := range frags {
		p.Put(f.buffer)
	}
}

// InUse reports whether the application has a reference to buffer b. Any goroutine.
func (p *Pool) InUse(b uint16) bool { return userRefs(p.words[b].Load()) > 0 }

// HandOver turns the kernel reference that f stands for into a user reference,
// and fills v with f and its view. On ErrOverflow nothing changed.
func (p *Pool) HandOver(f Frag, v *Iov) error {
	over, err := addUser(&p.words[f.buffer], userOne-kernelOne)
	if err != nil {
		return err
	}
	p.give(f, v)
	if over {
		p.kernelDone()
	}
	return nil
}

// HandOverAll is HandOver for each of frags, to dst, which is as long at least, as many
// as are together not more than limit bytes. It returns how many they were until one
// failed, and of how many bytes.
func (p *Pool) HandOverAll(frags []Frag, dst []Iov, limit int) (n, bytes int, err error) {
	if p.lending.n > 0 {
		n, bytes = p.handOverLent(frags, dst, limit)
	}
	for n < len(frags) {
		k, left := p.handOverSole(frags[n:], dst[n:], limit-bytes)
		if n, bytes = n+k, limit-left; k > 0 {
			// Sequentially consistent with Close and Remove, which storeOwned is not:
			// either kernelDone sees that the pool is closed, or Remove sees all words
			// that were stored.
			p.words[frags[n-1].buffer].Add(0)
			p.kernelDone()
		}
		if n == len(frags) || frags[n].Len() > left {
			break
		}
		if err = p.HandOver(frags[n], &dst[n]); err != nil {
			break
		}
		n, bytes = n+1, bytes+frags[n].Len()
	}
	return n, bytes, err
}

// handOverSole is HandOverAll for the first of frags, as many as lie in buffers that are not
// lent and that nobody else has a reference to. It returns how many they were, and what is
// left of limit.
func (p *Pool) handOverSole(frags []Frag, dst []Iov, limit int) (n, left int) {
	lent, mem, shift := p.lending.n, p.region.mem, p.region.shift
	words, dst := p.words[lent:], dst[:len(frags)]
	for i := range frags {
		f, v := &frags[i], &dst[i]
		size := int(f.len)
		b := uint(uint32(f.buffer) - lent) // more than there are if it is lent
		if b >= uint(len(words)) || size > limit {
			return i, limit
		}
		w := &words[b]
		o := w.Load()
		if refs(o) != uint32(kernelOne) {
			return i, limit
		}
		storeOwned(w, o, o+userOne-kernelOne)
		limit -= size
		v.view = f.in(mem, shift)
		v.frag = *f
		p.debug.given(v)
	}
	return len(frags), limit
}

// GiveUser adds a user reference and fills v; the kernel reference stays with
// its holder, who has more to give of the same buffer. On ErrOverflow nothing
// changed.
func (p *Pool) GiveUser(f Frag, v *Iov) error {
	_, err := addUser(&p.words[f.buffer], userOne)
	if err == nil {
		p.give(f, v)
	}
	return err
}

// give fills v.
func (p *Pool) give(f Frag, v *Iov) {
	v.frag, v.view = f, p.region.view(&f)
	p.debug.given(v)
}

// addUser adds delta, which has a user reference in it, to w. over says that no kernel
// reference is left.
func addUser(w *atomic.Uint64, delta word) (over bool, err error) {
	for {
		o := w.Load()
		if kernelRefs(o) == 0 {
			panic("buf: a buffer without a kernel reference is given to the application")
		}
		if o&userMask == userMask {
			return false, ErrOverflow
		}
		if w.CompareAndSwap(o, o+delta) {
			return kernelRefs(o+delta) == 0, nil
		}
	}
}
