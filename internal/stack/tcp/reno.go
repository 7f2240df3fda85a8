package tcp

// reno is the standard (RFC 5681 section 3.1), counting bytes (RFC 3465).
type reno struct {
	credit, prior uint32 // bytes acknowledged towards the next growth, and before the last loss
}

func (r *reno) acked(w *congestion, a *ackInfo) {
	if a.limited {
		return
	}
	n := a.bytes
	if w.slowStart() {
		// RFC 5681 has min(n, SMSS) for each ACK and assumes an ACK for every
		// other segment. Peers that receive super-segments, as we do, send one
		// for dozens; so all of n counts, as in Linux.
		if n = w.climb(n, a.mss); n == 0 {
			return
		}
	}
	// Congestion avoidance: one segment for each window acknowledged (3).
	if r.credit += n; r.credit >= w.cwnd {
		r.credit -= w.cwnd
		w.grow(a.mss)
	}
}

func (r *reno) reduced(_ *congestion, flight, _ uint32, _ bool) uint32 {
	r.credit, r.prior = 0, r.credit
	return flight / 2 // RFC 5681 (4)
}

func (r *reno) undone() { r.credit = r.prior }
func (r *reno) idled()  { r.credit = 0 }
