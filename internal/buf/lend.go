package buf

import "sync/atomic"

// lending is the part of a region that is lent to a device which refills
// itself: the kernel's page pool, for io_uring zcrx (the area). Which buffer
// comes next the device decides, and the engine learns of it when payload has
// landed; so these buffers are never allocated, and one that nobody holds is
// with the device, or in the fill ring on the way there.
//
// The device may put payload into one buffer several times, and go on while the
// application holds or gives back what landed first. Therefore a lent buffer
// can get a reference while it is in the fill ring, which no other buffer can.
type lending struct {
	n uint32 // buffers 0 to n-1 are lent; constant once something was lent

	// queued[b]: b is in the fill ring or in back. Whoever frees a buffer that
	// is queued already does not queue it again: the ring has one slot a buffer.
	queued []atomic.Bool
	pushed atomic.Uint64 // lent buffers ever put into the fill ring, counted before they are
	freed  atomic.Uint64 // last references dropped
	landed atomic.Uint64 // first references taken

	back []uint16 // came out of the fill ring while Alloc looked there; engine only
}

// Lend gives buffers 0 to n-1 to a device that refills itself, and leaves the
// others to Alloc. It is called once, before anything was allocated. Engine
// only.
func (p *Pool) Lend(n int) {
	if n < 0 || n > p.region.Count() || p.lending.n != 0 || p.allocs.Load() != 0 {
		panic("buf: Lend of more than there is, or too late")
	}
	p.lending.n = uint32(n)
	p.lending.queued = make([]atomic.Bool, n)
	p.lending.back = make([]uint16, 0, n)
	p.free.ids = p.free.ids[:len(p.free.ids)-n] // buffer 0 is on top
}

// Lent is the number of buffers that are lent to the device.
func (p *Pool) Lent() int { return int(p.lending.n) }

// FreeLent is the number of lent buffers that no one holds: with the device, or
// on the way back to it. A moment's reading, never too high.
func (p *Pool) FreeLent() int {
	l := &p.lending
	// What came back is read first, as in Free.
	freed := l.freed.Load()
	return int(l.n) - int(l.landed.Load()-freed)
}

func (p *Pool) isLent(b uint16) bool { return uint32(b) < p.lending.n }

// Landed names n bytes of payload that the device has put at off in lent buffer b,
// for Land.
func Landed(b uint16, off, n int) Frag {
	return Frag{off: uint32(off), len: uint32(n), bufferID: bufferID{buffer: b}}
}

// Land takes one kernel reference, the caller's, for each of frags, which Landed
// has made; they can be used then. The buffers may be in any state. It returns how
// many it was; ErrOverflow is of the next one, whose count is as it was. Several
// threads of an engine may do so at the same time.
func (p *Pool) Land(frags []Frag) (n int, err error) {
	words, size, region := p.words[:p.lending.n], uint64(p.region.bufSize), p.region.id
	first := uint64(0)
	for i := range frags {
		f := &frags[i]
		if int(f.buffer) >= len(words) || uint64(f.off)+uint64(f.len) > size {
			panic("buf: payload landed beyond the buffer, or in one that was not lent")
		}
		w := &words[f.buffer]
		v := w.Load()
		if v&refMask != 0 || !w.CompareAndSwap(v, v+kernelOne) { // seldom
			if v = addKernel(w); v&kernelMask == kernelMask {
				err = ErrOverflow
				break
			}
		}
		if v&refMask == 0 {
			first++
		}
		f.region, f.gen = region, generation(v) // with the reference it stays
		n++
	}
	if first > 0 {
		p.lending.landed.Add(first)
	}
	return n, err
}

// addKernel adds a kernel reference to w, and returns what it was before. If there were
// as many as can be counted, it does not.
func addKernel(w *atomic.Uint64) (before word) {
	for {
		v := w.Load()
		if v&kernelMask == kernelMask || w.CompareAndSwap(v, v+kernelOne) {
			return v
		}
	}
}

// TakeBack moves lent buffers that came back, and that nobody holds, into dst
// and returns how many. One that went out once may be given twice: what the
// device is due for it, the engine's own records say. It ends an episode of
// exhaustion (see Starved). Engine only.
func (p *Pool) TakeBack(dst []uint16) int {
	l := &p.lending
	n := 0
	for n < len(dst) {
		in := dst[n:]
		k := copy(in, l.back)
		l.back = l.back[:copy(l.back, l.back[k:])]
		if k == 0 {
			if k = p.fill.pop(in); k == 0 {
				break
			}
			p.notices.drained(k)
		}
		n += p.unqueue(in[:k])
	}
	if n > 0 {
		p.notices.relieved()
	}
	return n
}

// unqueue takes in what came out of the fill ring. It removes from ids what is not
// lent or somebody holds, and returns how many are left.
func (p *Pool) unqueue(ids []uint16) (n int) {
	queued := p.lending.queued
	words := p.words[:len(queued)]
	for _, b := range ids {
		if int(b) >= len(queued) {
			p.free.putBack(b)
			continue
		}
		// In this order: who drops the last reference after our look at
		// the word finds that b is not queued, and queues it.
		queued[b].Store(false)
		if words[b].Load()&refMask == 0 {
			ids[n] = b
			n++
		}
	}
	return n
}

// Held reports whether anybody has a reference to buffer b. Any goroutine.
func (p *Pool) Held(b uint16) bool { return p.words[b].Load()&refMask != 0 }

// Starved says that the device has no free buffer: it begins an episode of
// exhaustion (see Notice) if none is on. Engine only.
func (p *Pool) Starved() { p.notices.exhausted() }

// Emptied says that a consumer has taken all that waited for it. Where buffers are
// lent the engine may have waited for just that: what the consumer is charged for
// others may hold, too, so that no buffer comes back (see Nudge). Any goroutine.
func (p *Pool) Emptied() {
	if p.lending.n > 0 {
		p.Nudge()
	}
}

// putLent is Put of a lent buffer.
func (p *Pool) putLent(b uint16) {
	w := &p.words[b]
	for {
		v := w.Load()
		if kernelRefs(v) == 0 {
			panic("buf: Put of a buffer without a kernel reference")
		}
		n := v - kernelOne
		if n&refMask == 0 {
			n = freed(v)
		}
		if !w.CompareAndSwap(v, n) {
			continue
		}
		switch {
		case n&refMask == 0:
			ids := [1]uint16{b}
			p.fill.push(ids[:p.cameBack(ids[:])])
			p.returned()
		case kernelRefs(v) == 1:
			p.kernelDone()
		}
		return
	}
}

// cameBack is called with buffers whose last references were dropped, and are to
// be pushed into the fill ring next. It removes those from ids that are there, and
// returns how many are left.
func (p *Pool) cameBack(ids []uint16) int {
	l := &p.lending
	n, lent, queued := 0, 0, 0
	for _, b := range ids {
		if p.isLent(b) {
			lent++
			if l.queued[b].Swap(true) {
				continue
			}
			queued++
		}
		ids[n] = b
		n++
	}
	if lent > 0 {
		l.freed.Add(uint64(lent))
		l.pushed.Add(uint64(queued))
	}
	return n
}

// sortLent removes from ids, which came out of the fill ring, those that are
// lent, and keeps them for TakeBack. It returns how many are left.
func (p *Pool) sortLent(ids []uint16) int {
	if p.lending.n == 0 {
		return len(ids)
	}
	n := 0
	for _, b := range ids {
		if p.isLent(b) {
			p.lending.back = append(p.lending.back, b)
			continue
		}
		ids[n] = b
		n++
	}
	return n
}
