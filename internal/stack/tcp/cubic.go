package tcp

import (
	"math"

	"github.com/zctap/zctap/internal/mono"
)

// The constants of RFC 9438 section 4.1 and 5.
const (
	cubicC    = 0.4 // segments per second cubed
	cubicBeta = 0.7
	// cubicAlpha has a window that is cut to beta take as much as Reno's does
	// (section 4.3).
	cubicAlpha = 3 * (1 - cubicBeta) / (1 + cubicBeta)
)

// cubic is CUBIC (RFC 9438): between two losses the window follows a cubic curve
// over time, which is flat around the window that the last loss came at. Windows
// are in bytes, here as floating point numbers, since growth is often less than one
// for an ACK.
type cubic struct {
	cubicState
	prior   *cubicState // before the last reduction, for undo; nil before the first
	hystart hystart
}

type cubicState struct {
	wMax  float64 // cwnd at the last loss, or less (fast convergence); 0: none to aim at
	cwnd0 float64 // cwnd_prior: at the last loss

	// The epoch: congestion avoidance since the last loss.
	running bool
	since   mono.Time // when it began; later by the time that the window was not in use
	last    mono.Time // the last ACK in it
	origin  float64   // where the curve is flat
	k       float64   // seconds from since to there
	wEst    float64   // what Reno would have by now
	part    float64   // growth of less than a byte
}

func newCubic() *cubic { return &cubic{hystart: newHyStart()} }

func (c *cubic) acked(w *congestion, a *ackInfo) {
	if w.slowStart() && w.ssthresh < maxCwnd {
		// Not the first: the loss has shown where the path ends.
		if a.limited {
			return
		}
		if a.bytes = w.climb(a.bytes, a.mss); a.bytes == 0 {
			return
		}
	}
	if w.slowStart() {
		n, over := c.hystart.acked(a)
		if !a.limited {
			w.grow(n)
		}
		if over {
			w.ssthresh = w.cwnd
		}
		return
	}
	if !c.running {
		c.begin(w, a)
	}
	if a.limited {
		// Section 5.8: time in which the window was not used does not count.
		c.since = c.since.Add(a.now.Sub(c.last))
	} else {
		c.avoid(w, a)
	}
	c.last = a.now
}

// begin starts an epoch (section 4.2). A window that no loss has ended, or that
// a timeout has, grows from where it is, with K = 0 (sections 4.8 and 4.10).
func (c *cubic) begin(w *congestion, a *ackInfo) {
	cwnd := float64(w.cwnd)
	c.running, c.since, c.last = true, a.now, a.now
	c.wEst, c.part = cwnd, 0
	c.origin, c.k = cwnd, 0
	if cwnd < c.wMax {
		c.origin = c.wMax
		c.k = math.Cbrt((c.wMax - cwnd) / float64(a.mss) / cubicC)
	}
}

// at is W_cubic(t), figure 1 of the RFC; t in seconds.
func (c *cubic) at(t float64, mss uint32) float64 {
	d := t - c.k
	return c.origin + cubicC*d*d*d*float64(mss)
}

// avoid grows w in congestion avoidance.
func (c *cubic) avoid(w *congestion, a *ackInfo) {
	cwnd, share := float64(w.cwnd), float64(a.bytes)/float64(w.cwnd)
	t := a.now.Sub(c.since).Seconds()
	// Section 4.3: no slower than Reno.
	alpha := 1.0
	if c.wEst < c.cwnd0 {
		alpha = cubicAlpha
	}
	c.wEst = min(c.wEst+alpha*share*float64(a.mss), maxCwnd)
	if c.at(t, a.mss) < c.wEst {
		c.add(w, c.wEst-cwnd)
		return
	}
	// Section 4.4 and 4.5: towards where the curve is a round trip later.
	target := c.at(t+a.srtt.Seconds(), a.mss)
	target = min(max(target, cwnd), 1.5*cwnd)
	c.add(w, (target-cwnd)*min(share, 1))
}

// add grows w by n bytes, and keeps what is left of one.
func (c *cubic) add(w *congestion, n float64) {
	c.part += max(n, 0)
	whole := math.Floor(min(c.part, maxCwnd))
	c.part -= whole
	w.grow(uint32(whole))
}

func (c *cubic) reduced(w *congestion, flight, _ uint32, timeout bool) uint32 {
	if c.prior == nil {
		c.prior = new(cubicState)
	}
	*c.prior = c.cubicState
	cwnd := float64(w.cwnd)
	c.cwnd0 = cwnd
	switch {
	case timeout:
		c.wMax = 0
	case cwnd < c.wMax:
		c.wMax = cwnd * (1 + cubicBeta) / 2 // section 4.7, fast convergence
	default:
		c.wMax = cwnd
	}
	c.running = false
	return uint32(float64(flight) * cubicBeta) // section 4.6
}

func (c *cubic) undone() {
	if c.prior != nil {
		c.cubicState = *c.prior
	}
}

func (c *cubic) idled() { c.running = false }
