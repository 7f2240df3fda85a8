//go:build linux

package kernel

// Before Linux 7.3 a request that ran out of room in the middle of a packet, in
// the completion queue or for a copy, waited for the next packet, and the rest
// of this one with it: for ever, if the sender waits for an answer. Nothing
// tells such a request from one that has taken everything, so whichever may be
// in that state is made anew, which tries at once. It is the one whose payload
// came last before the queue was full, or the last buffer went: those after it
// got nothing at all, and have ended.

// doubt has the request for payload of s be made anew in the next round.
func (z *zcrx) doubt(s *socket) {
	if s != nil && !s.zc.doubted {
		s.zc.doubted = true
		z.doubts = append(z.doubts, s)
	}
}

// filled implements receiver: the completion queue was full.
func (z *zcrx) filled() { z.doubt(z.last) }

// doubtAll is called at a round's end. Without a device it is known when the
// last buffer went, if no other ring may have taken it. Else it is not, but with a
// device only what comes in by another queue is copied.
func (z *zcrx) doubtAll() {
	if z.o.NoDevice && z.group == nil {
		if z.last != nil && z.kernelFree() <= 0 {
			z.doubt(z.last)
		}
		return
	}
	if !z.stalls {
		return
	}
	for _, s := range z.l.dirty {
		if s.conn != nil && (s.zc.elsewhere || z.o.NoDevice) {
			z.doubt(s)
		}
	}
}

func (z *zcrx) kickDoubted() {
	for i, s := range z.doubts {
		z.doubts[i] = nil
		s.zc.doubted = false
		if s.ops&reqRecv != 0 && !s.cancelling && !s.detaching {
			z.stats.kicked.Add(1)
			z.halt(s)
		}
	}
	z.doubts = z.doubts[:0]
	z.last = nil
}
