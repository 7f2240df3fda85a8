//go:build linux

package kernel

// Several loops serve one queue where several rings share it (zcrx_group.go), each
// on a thread of its own, with a table, limits and lists of its own. The first one
// has the listeners and the UDP sockets. A connection is one loop's for life; it is
// handed over once, by the command queue, when it was accepted. A loop that fails
// ends them all.

// unite makes loops siblings. None of them runs yet.
func unite(loops []*loop) {
	if len(loops) < 2 {
		return
	}
	for _, l := range loops {
		l.siblings = loops
	}
	// It is not known whose buffers came back.
	loops[0].pool.OnReturn(func() {
		for _, l := range loops {
			l.poke()
		}
	})
}

// poke has the loop look at what came back, and what its siblings want of it. Any
// goroutine.
func (l *loop) poke() {
	l.returned.Store(true)
	l.wake()
}

// place chooses the loop for a new connection: the one that has the fewest. Who
// does not attach the connection after all calls its unplace. Any goroutine.
func (l *loop) place() *loop {
	if l.siblings == nil {
		return l
	}
	best := l.siblings[0]
	for _, o := range l.siblings[1:] {
		if o.placed.Load() < best.placed.Load() {
			best = o
		}
	}
	best.placed.Add(1)
	return best
}

func (l *loop) unplace() {
	if l.siblings != nil {
		l.placed.Add(-1)
	}
}

// handTo has the loop to serve the connection s, which l has accepted. False: it
// has stopped.
func (l *loop) handTo(to *loop, s *socket) bool {
	if to != l {
		return to.post(command{op: opAdopt, s: s})
	}
	if l.watch(s) != nil {
		return false
	}
	l.back.receive(s)
	return true
}

// adopt serves s, which a sibling has accepted, and shown to the application.
func (l *loop) adopt(s *socket) {
	if l.watch(s) != nil {
		l.turnAway(s)
		return
	}
	l.back.receive(s)
}

// turnAway ends s, which came too late to be adopted.
func (l *loop) turnAway(s *socket) {
	l.table.add(s)
	l.stats.conns.Add(1)
	l.abort(s)
}

// tellSiblings ends them with err.
func (l *loop) tellSiblings(err error) {
	for _, o := range l.siblings {
		if o != l {
			o.post(command{op: opFail, err: err})
		}
	}
}

// allocate is Pool.Alloc, for loops that share a pool.
func (l *loop) allocate(dst []uint16) int {
	if l.alloc != nil {
		l.alloc.Lock()
		defer l.alloc.Unlock()
	}
	return l.pool.Alloc(dst)
}
