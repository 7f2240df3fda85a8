package tcp

// A controller decides how the congestion window grows, and how far it falls.
type controller interface {
	// acked grows w for n bytes newly acknowledged while w was in use.
	acked(w *congestion, n, mss uint32)
	// reduced is the slow start threshold after a loss with flight bytes under
	// way.
	reduced(w *congestion, flight, mss uint32) uint32
}

// maxCwnd keeps sums of windows far from wrapping.
const maxCwnd = 1 << 30

// congestion is the congestion window (RFC 5681 section 3.1), in bytes.
type congestion struct {
	control  controller
	cwnd     uint32
	ssthresh uint32
	credit   uint32 // bytes acknowledged towards the next growth
}

// start is the state of a new connection.
func (w *congestion) start(mss uint32) {
	*w = congestion{control: reno{}, cwnd: initialWindow(mss), ssthresh: maxCwnd}
}

// initialWindow is RFC 6928's: ten segments.
func initialWindow(mss uint32) uint32 { return min(10*mss, max(2*mss, 14600)) }

func (w *congestion) slowStart() bool { return w.cwnd < w.ssthresh }

// inUse reports whether flight bytes show that cwnd is what limits sending; a
// window that is not used tells nothing about the path and does not grow (RFC
// 7661). In slow start half is enough, since a burst that has just grown it
// did not have the time to fill it.
func (w *congestion) inUse(flight, mss uint32) bool {
	if w.slowStart() {
		return 2*flight >= w.cwnd
	}
	return flight+mss > w.cwnd
}

// reno is the standard (RFC 5681 section 3.1), counting bytes (RFC 3465).
type reno struct{}

func (reno) acked(w *congestion, n, mss uint32) {
	if w.slowStart() {
		// RFC 5681 has min(n, SMSS) for each ACK and assumes an ACK for every
		// other segment. Peers that receive super-segments, as we do, send one
		// for dozens; so all of n counts, as in Linux.
		w.cwnd = min(w.cwnd+n, maxCwnd)
		return
	}
	// Congestion avoidance: one segment for each window acknowledged (3).
	if w.credit += n; w.credit >= w.cwnd {
		w.credit -= w.cwnd
		w.cwnd = min(w.cwnd+mss, maxCwnd)
	}
}

func (reno) reduced(_ *congestion, flight, mss uint32) uint32 {
	return max(flight/2, 2*mss) // RFC 5681 (4)
}
