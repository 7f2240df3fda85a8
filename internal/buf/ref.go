package buf

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
		// The last reference: nobody else may change the word but to fail on
		// it, so what follows is ours alone.
		if v&charged != 0 {
			p.owners[b].uncharge(1)
		}
		p.debug.freed(b)
		if !w.CompareAndSwap(v, freed(v)) {
			panic("buf: a reference appeared while the last was put")
		}
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

// HandOver turns the kernel reference that f stands for into a user reference,
// and fills v with f and its view. On ErrOverflow nothing changed.
func (p *Pool) HandOver(f Frag, v *Iov) error {
	return p.toUser(&f, v, userOne-kernelOne)
}

// HandOverAll is HandOver of each of frags to the element of vs at its place, of which
// there are enough. n is how many were handed over before the error, if any.
func (p *Pool) HandOverAll(frags []Frag, vs []Iov) (n int, err error) {
	for i := range frags {
		if err = p.toUser(&frags[i], &vs[i], userOne-kernelOne); err != nil {
			return i, err
		}
	}
	return len(frags), nil
}

// GiveUser adds a user reference and fills v; the kernel reference stays with
// its holder, who has more to give of the same buffer. On ErrOverflow nothing
// changed.
func (p *Pool) GiveUser(f Frag, v *Iov) error {
	return p.toUser(&f, v, userOne)
}

func (p *Pool) toUser(f *Frag, v *Iov, delta word) error {
	w := &p.words[f.buffer]
	for {
		o := w.Load()
		if kernelRefs(o) == 0 {
			panic("buf: a buffer without a kernel reference is given to the application")
		}
		if o&userMask == userMask {
			return ErrOverflow
		}
		if w.CompareAndSwap(o, o+delta) {
			v.frag = *f
			v.view = p.region.View(*f)
			p.debug.given(v)
			if kernelRefs(o+delta) == 0 {
				p.kernelDone()
			}
			return nil
		}
	}
}
