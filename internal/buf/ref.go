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
		storeOwned(w, v, freed(v))
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
	return p.toUserOne(f, v, userOne-kernelOne)
}

// HandOverAll is HandOver for each of frags, to dst, which is as long at least, as many
// as are together not more than limit bytes. It returns how many they were until one
// failed, and of how many bytes.
func (p *Pool) HandOverAll(frags []Frag, dst []Iov, limit int) (n, bytes int, err error) {
	n, bytes = p.handOverLent(frags, dst, limit)
	if rest, size := within(frags[n:], limit-bytes); len(rest) > 0 {
		var k int
		k, err = p.toUser(rest, dst[n:], userOne-kernelOne)
		for _, f := range rest[k:] {
			size -= f.Len()
		}
		n, bytes = n+k, bytes+size
	}
	return n, bytes, err
}

// within is the first of frags, as many as are together not more than limit bytes, and
// how many bytes they are.
func within(frags []Frag, limit int) (some []Frag, bytes int) {
	for i := range frags {
		n := frags[i].Len()
		if n > limit-bytes {
			return frags[:i], bytes
		}
		bytes += n
	}
	return frags, bytes
}

// GiveUser adds a user reference and fills v; the kernel reference stays with
// its holder, who has more to give of the same buffer. On ErrOverflow nothing
// changed.
func (p *Pool) GiveUser(f Frag, v *Iov) error {
	return p.toUserOne(f, v, userOne)
}

func (p *Pool) toUserOne(f Frag, v *Iov, delta word) error {
	var to [1]Iov
	n, err := p.toUser([]Frag{f}, to[:], delta)
	if n == 1 {
		*v = to[0]
	}
	return err
}

func (p *Pool) toUser(frags []Frag, dst []Iov, delta word) (n int, err error) {
	words, lent, last := p.words, p.lending.n, -1
	dst = dst[:len(frags)]
	for i := range frags {
		f, v := &frags[i], &dst[i]
		w := &words[f.buffer]
		if o := w.Load(); o&refMask == kernelOne && delta == userOne-kernelOne && uint32(f.buffer) >= lent {
			storeOwned(w, o, o+delta)
			last = i
		} else if over, e := addUser(w, delta); e != nil {
			err = e
			break
		} else if over {
			last = i
		}
		v.frag = *f
		v.turn = p.turn(f.buffer)
		v.view = p.region.view(f)
		p.debug.given(v)
		n++
	}
	if last >= 0 {
		// Sequentially consistent with Close and Remove, which storeOwned is not:
		// either kernelDone sees that the pool is closed, or Remove sees all of the
		// words above.
		words[frags[last].buffer].Add(0)
		p.kernelDone()
	}
	return n, err
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
