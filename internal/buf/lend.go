package buf

import "github.com/zctap/zctap/internal/interleave/atomic"

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

	// A lent buffer is queued (word) while it is in the fill ring or in back. Whoever frees
	// one that is queued already does not queue it again: the ring has one slot a buffer.
	// One that ReturnHere frees is not queued.
	pushed atomic.Uint64 // lent buffers ever put into the fill ring, counted before they are
	freed  atomic.Uint64 // last references dropped
	landed atomic.Uint64 // first references taken

	back []uint16               // came out of the fill ring while Alloc looked there; engine only
	here func(buffers []uint16) // what OneThread was told; nil: ReturnHere is Return
	ids  [refillBatch]uint16    // room for ReturnHere; engine only
}

// Lend gives buffers 0 to n-1 to a device that refills itself, and leaves the
// others to Alloc. It is called once, before anything was allocated. Engine
// only.
func (p *Pool) Lend(n int) {
	if n < 0 || n > p.region.Count() || p.lending.n != 0 || p.allocs.Load() != 0 {
		panic("buf: Lend of more than there is, or too late")
	}
	p.lending.n = uint32(n)
	p.lending.back = make([]uint16, 0, n)
	p.free.ids = p.free.ids[:len(p.free.ids)-n] // buffer 0 is on top
}

// OneThread says that the engine has one thread, on which ReturnHere will be called. That
// calls here with lent buffers that nobody holds any more, as TakeBack returns them; not
// more than it is given iovs at a time, and before it returns. Engine only, behind Lend.
func (p *Pool) OneThread(here func(buffers []uint16)) { p.lending.here = here }

// Lent is the number of buffers that are lent to the device.
func (p *Pool) Lent() int { return int(p.lending.n) }

// FreeLent is the number of lent buffers that no one holds: with the device, or
// on the way back to it. A moment's reading, never too high by more than what lands just now. It may
// be too low: one that lands again while it is being given back counts as out twice for a moment.
func (p *Pool) FreeLent() int {
	l := &p.lending
	// What came back is read first, as in Free.
	freed := l.freed.Load()
	return max(0, int(l.n)-int(l.landed.Load()-freed))
}

func (p *Pool) isLent(b uint16) bool { return uint32(b) < p.lending.n }

// Landed names n bytes of payload that the device has put at off in lent buffer b,
// for Land.
func Landed(b uint16, off, n int) (f Frag) {
	f.Landed(b, uint32(off), uint32(n))
	return f
}

// Landed makes f what the function of that name returns, in place, as far as Land and Name need
// it. off may have the Mark.
func (f *Frag) Landed(b uint16, off, n uint32) { f.off, f.len, f.buffer = off, n, b }

// Land takes one kernel reference, the caller's, for each of frags, which Landed
// has made; they can be used then. The buffers may be in any state. It returns how
// many it was; ErrOverflow is of the next one, whose count is as it was. Several
// threads of an engine may do so at the same time.
func (p *Pool) Land(frags []Frag) (n int, err error) {
	first := 0
	for n < len(frags) {
		k := p.landFirst(frags[n:])
		n, first = n+k, first+k
		if n == len(frags) {
			break
		}
		f := &frags[n] // seldom: somebody has a reference
		before := addKernel(&p.words[f.buffer])
		if before&kernelMask == kernelMask {
			err = ErrOverflow
			break
		}
		if before&refMask == 0 {
			first++
		}
		f.region, f.gen = p.region.id, generation(before)
		n++
	}
	if first > 0 {
		p.lending.landed.Add(uint64(first))
	}
	return n, err
}

// landFirst is Land for the first of frags, as many as are in buffers that nobody holds.
func (p *Pool) landFirst(frags []Frag) (n int) {
	words, size, region := p.words[:p.lending.n], uint64(p.region.bufSize), p.region.id
	alone := p.lending.here != nil // nobody else lands, and who has no reference does not store
	for i := range frags {
		f := &frags[i]
		if int(f.buffer) >= len(words) || uint64(f.off&^copiedBit)+uint64(f.len) > size {
			panic("buf: payload landed beyond the buffer, or in one that was not lent")
		}
		w := &words[f.buffer]
		v := w.Load()
		if refs(v) != 0 {
			break
		}
		if alone {
			storeOwned(w, v, v+kernelOne)
		} else if !w.CompareAndSwap(v, v+kernelOne) {
			break
		}
		f.region, f.gen = region, generation(v) // with the reference it stays
		n++
	}
	return n
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
	n := 0
	for n < len(dst) {
		in := dst[n:]
		k := p.takeSorted(in)
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

// takeSorted moves the last of back into dst.
func (p *Pool) takeSorted(dst []uint16) int {
	l := &p.lending
	rest := max(len(l.back)-len(dst), 0)
	n := copy(dst, l.back[rest:])
	l.back = l.back[:rest]
	return n
}

// unqueue takes in what was queued. It removes from ids what is not lent or somebody
// holds, and returns how many are left.
func (p *Pool) unqueue(ids []uint16) (n int) {
	words := p.words[:p.lending.n]
	for i, b := range ids {
		if int(b) >= len(words) {
			// Seldom, and so out of the loop, which has all it needs in registers.
			p.free.putBack(b)
			rest := ids[i+1:]
			return n + copy(ids[n:], rest[:p.unqueue(rest)])
		}
		w := &words[b]
		// In this order: who drops the last reference after our look at the
		// word finds that b is not queued, and queues it.
		w.And(^queued)
		if refs(w.Load()) == 0 {
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
			n = freedLent(v)
		}
		if !w.CompareAndSwap(v, n) {
			continue
		}
		switch {
		case n&refMask == 0:
			p.lending.freed.Add(1)
			if v&queued == 0 {
				p.queue([]uint16{b})
			}
			p.returned()
		case kernelRefs(v) == 1:
			p.kernelDone()
		}
		return
	}
}

// queue pushes lent buffers into the fill ring, whose words say that they are there
// since they were freed.
func (p *Pool) queue(ids []uint16) {
	p.lending.pushed.Add(uint64(len(ids)))
	p.fill.push(ids)
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
