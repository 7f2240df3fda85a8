package tcp

import (
	"fmt"
	"syscall"
	"time"

	"github.com/zctap/zctap/internal/mono"
	"github.com/zctap/zctap/internal/wire"
)

// Congestion names a congestion control algorithm.
type Congestion uint8

// The algorithms.
const (
	// Cubic is CUBIC (RFC 9438), whose first slow start is HyStart++ (RFC 9406).
	Cubic Congestion = iota
	// Reno is RFC 5681's: what simulations are easily checked by.
	Reno
)

// ParseCongestion is the algorithm of a name: "cubic" or "reno", and "" is Cubic.
// EINVAL for others.
func ParseCongestion(name string) (Congestion, error) {
	switch name {
	case "", "cubic":
		return Cubic, nil
	case "reno":
		return Reno, nil
	}
	return 0, fmt.Errorf("congestion control %q is not known: %w", name, syscall.EINVAL)
}

// A controller is an algorithm with the state of one connection: it decides how the
// congestion window grows and how far it falls. Recovery (recovery.go, prr.go)
// decides when, and what may be sent meanwhile.
type controller interface {
	// acked grows w for an acknowledgment outside of recovery.
	acked(w *congestion, a *ackInfo)
	// reduced is the slow start threshold after a loss with flight bytes under
	// way, which a timeout found or not.
	reduced(w *congestion, flight, mss uint32, timeout bool) uint32
	// undone takes the last reduction back: nothing had been lost.
	undone()
	// idled tells that nothing was sent for so long that w began anew.
	idled()
}

// An ackInfo is what a controller learns from an acknowledgment.
type ackInfo struct {
	now      mono.Time
	bytes    uint32        // newly acknowledged
	mss      uint32        // payload bytes of a full segment
	rtt      time.Duration // measured by this ACK; 0: not measured
	srtt     time.Duration // smoothed; 0: unknown
	una, nxt wire.Seq      // SND.UNA, after the ACK, and SND.NXT
	// limited tells that not the window was what limited sending.
	limited bool
}

// maxCwnd keeps sums of windows far from wrapping.
const maxCwnd = 1 << 30

// congestion is the congestion window (RFC 5681 section 3.1), in bytes.
type congestion struct {
	control  controller
	cwnd     uint32
	ssthresh uint32

	// As they were before the last reduction, for undo.
	priorCwnd, priorSsthresh uint32

	// Of the last reduction, with SACK; see undo.go.
	again     uint32 // bytes sent again since that the peer has not reported twice
	undoable  bool   // it may have been for nothing
	sentAgain bool   // something was sent again since
	frto      uint8  // where F-RTO stands

	// reduced: the peer was not told of the last reduction; with ECN it is.
	reduced bool
}

// start is the state of a new connection.
func (w *congestion) start(algorithm Congestion, mss uint32) {
	*w = congestion{cwnd: initialWindow(mss), ssthresh: maxCwnd}
	if algorithm == Reno {
		w.control = new(reno)
	} else {
		w.control = newCubic()
	}
}

// initialWindow is RFC 6928's: ten segments.
func initialWindow(mss uint32) uint32 { return min(10*mss, max(2*mss, 14600)) }

func (w *congestion) slowStart() bool { return w.cwnd < w.ssthresh }

// grow adds n bytes.
func (w *congestion) grow(n uint32) { w.cwnd = min(w.cwnd+min(n, maxCwnd), maxCwnd) }

// climb grows w by n bytes in slow start, which ends with the segment that reaches the
// threshold (RFC 5681 section 3.1): one ACK may cover all that was under way, above all after a
// timeout. It returns what is left of n.
func (w *congestion) climb(n, mss uint32) uint32 {
	grown := n
	if w.ssthresh < maxCwnd {
		segments := (w.ssthresh - w.cwnd + mss - 1) / mss
		grown = min(n, segments*mss)
	}
	w.grow(grown)
	return n - grown
}

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

// reduce sets the threshold after a loss with flight bytes under way. The window
// is the caller's to set.
func (w *congestion) reduce(flight, mss uint32, timeout bool) {
	w.priorCwnd, w.priorSsthresh = w.cwnd, w.ssthresh
	w.ssthresh = max(w.control.reduced(w, flight, mss, timeout), 2*mss)
	w.reduced = true
}

// undo takes the last reduction back.
func (w *congestion) undo() {
	w.cwnd = max(w.cwnd, w.priorCwnd)
	w.ssthresh = max(w.ssthresh, w.priorSsthresh)
	w.control.undone()
}

// restart is RFC 5681 section 4.1: what was learned of the path before a pause of
// more than a retransmission timeout is out of date.
func (w *congestion) restart(mss uint32) {
	if first := initialWindow(mss); first < w.cwnd {
		w.cwnd = first
		w.control.idled()
	}
}
