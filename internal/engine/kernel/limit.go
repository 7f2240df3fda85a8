//go:build linux

package kernel

// credit is how many more buffers s may take, so that it then holds no more than
// are free, nor more than MaxHeld. Who holds nothing may take one as long as
// there is any, and one for each socket, up to a quarter of the region, is out
// of the others' reach: the threshold falls while many join, and those who hold
// a lot from better times need not give it back.
//
// Buffers that are lent to the kernel (zcrx) have a limit of their own; this is
// about the others.
//
// What the kernel has been provided with does not count as free: several
// connections that are within their limits can take all of it in one round.
func (l *loop) credit(s *socket) int {
	held := s.account.Held()
	reserve := min(l.table.used, (l.pool.Region().Count()-l.pool.Lent())/4)
	// Each buffer taken is one more held and one less free.
	credit := (l.pool.Free() + len(l.stock) - reserve - held) / 2
	if held == 0 {
		credit = max(credit, 1)
	}
	if l.maxHeld > 0 {
		credit = min(credit, l.maxHeld-held-s.zc.held)
	}
	return credit
}

// pause stops receiving for s until it has credit: what follows stays in the
// kernel. The backend has stopped asking for it.
func (l *loop) pause(s *socket) {
	if s.paused || s.detaching {
		return
	}
	// The tail is charged to s, and may be all that is: nothing would come back
	// then.
	l.closeTail(s)
	s.paused = true
	l.paused = append(l.paused, s)
	l.stats.pauses.Add(1)
}

// resumePaused looks at the paused sockets if buffers came back since the last
// time, the one that waits longest first. Who was paused since then was found
// wanting after the pool was asked, so that it need not be looked at before.
//
// It lets no more of them go on than there are buffers: the others would only be
// paused again, all of them for each buffer that comes back. They go on in the next
// round if these leave some.
func (l *loop) resumePaused() {
	if !l.wanting || l.returned.Load() {
		l.returned.Store(false)
		l.wanting = len(l.paused) > 0 || l.back.hungry()
		if !l.wanting {
			return
		}
		l.pool.WantReturn() // before the look: what comes back from here on wakes us
		l.back.collect()
		l.looked, l.unlooked = 0, len(l.paused)
	}
	l.lookAgain = false
	if l.unlooked == 0 {
		return
	}
	ready := l.back.ready()
	kept, rest := l.paused[:l.looked], l.paused[l.looked:]
	for ; l.unlooked > 0 && ready > 0; l.unlooked-- {
		s := rest[0]
		rest = rest[1:]
		if s.detaching {
			s.paused = false
			continue
		}
		credit := l.back.credit(s)
		if credit <= 0 {
			kept = append(kept, s)
			continue
		}
		s.paused = false
		l.back.receive(s)
		ready -= min(credit, l.perCall)
		l.lookAgain = true
	}
	l.lookAgain = l.lookAgain && l.unlooked > 0
	l.looked = len(kept)
	kept = append(kept, rest...)
	clear(l.paused[len(kept):])
	l.paused = kept
}

// unasked reports whether buffers are wanted, and the pool has not been asked to
// tell of those that come back: not the time to sleep.
func (l *loop) unasked() bool {
	return !l.wanting && (len(l.paused) > 0 || l.back.hungry())
}

// stockUp allocates until want buffers are in stock, as far as there are any,
// and returns how many are.
func (l *loop) stockUp(want int) int {
	if short := min(want, cap(l.stock)) - len(l.stock); short > 0 {
		have := len(l.stock)
		n := l.allocate(l.stock[have : have+min(short, l.pool.Free())])
		l.stock = l.stock[:have+n]
	}
	if len(l.stock) == 0 {
		l.exhausted()
	}
	return min(want, len(l.stock))
}

// exhausted is called when nothing is free: it begins the pool's episode of
// exhaustion, and gives back what is not needed just now.
func (l *loop) exhausted() {
	var none [1]uint16
	if l.allocate(none[:]) == 1 {
		// One came back meanwhile.
		l.pool.Put(none[0])
		return
	}
	l.stats.exhausted.Add(1)
	l.closeTails()
	l.putStock()
}

// fromStock takes one buffer, with its reference.
func (l *loop) fromStock() uint16 {
	last := len(l.stock) - 1
	b := l.stock[last]
	l.stock = l.stock[:last]
	return b
}

func (l *loop) putStock() {
	for _, b := range l.stock {
		l.pool.Put(b)
	}
	l.stock = l.stock[:0]
}
