package tcp

import (
	"time"

	"github.com/zctap/zctap/internal/mono"
	"github.com/zctap/zctap/internal/wire"
)

const (
	// minRTTLife is how long the smallest round trip counts: paths change.
	minRTTLife = 5 * time.Minute
	// reoPersist is the recoveries after which a widened reordering window is
	// narrow again (RFC 8985 section 6.2, step 4).
	reoPersist = 16
	maxReoMult = 64 // keeps it from wrapping; the smoothed round trip bounds it first
)

// rackState is RACK (RFC 8985 section 5.2): loss is told by time. What was sent a
// reordering window before something that has arrived, and has not arrived itself,
// is lost.
type rackState struct {
	xmit mono.Time     // when the latest sent of what has arrived was sent; 0: nothing
	rtt  time.Duration // its round trip
	end  wire.Seq      // where it ends
	fack wire.Seq      // the highest that has arrived

	minRTT   time.Duration // 0: unknown
	minRTTAt mono.Time

	reordering bool  // has been seen
	mult       uint8 // of a quarter round trip, that the window is; 0 counts as 1
	persist    uint8 // recoveries until mult falls back
	inRound    bool  // mult was raised in the round trip that ends with round
	round      wire.Seq
}

// arrived takes in news (steps 1 to 3).
func (r *rackState) arrived(d *delivery) {
	if d.rtt > 0 && (r.minRTT == 0 || d.rtt <= r.minRTT || d.now.Sub(r.minRTTAt) > minRTTLife) {
		r.minRTT, r.minRTTAt = d.rtt, d.now
	}
	if d.any && (r.xmit == 0 || sentAfter(d.newest, d.end, r.xmit, r.end)) {
		r.xmit, r.end = d.newest, d.end
		r.rtt = max(d.now.Sub(d.newest), 1)
	}
	r.fack = later(r.fack, d.highest)
	r.reordering = r.reordering || d.reordered
}

// widen adapts the reordering window to what was retransmitted for nothing, once a
// round trip (step 4).
func (r *rackState) widen(dsack bool, una, nxt wire.Seq) {
	if r.inRound && r.round.LessEq(una) {
		r.inRound = false
	}
	if dsack && !r.inRound {
		r.inRound, r.round = true, nxt
		r.mult = min(max(r.mult, 1)+1, maxReoMult)
		r.persist = reoPersist
	}
}

// recovered counts the recoveries since.
func (r *rackState) recovered() {
	if r.persist > 0 {
		if r.persist--; r.persist == 0 {
			r.mult = 1
		}
	}
}

// window is the reordering window. certain tells that enough arrived for a loss
// that nobody needs to wait for, unless the path is known to reorder.
func (r *rackState) window(certain bool, srtt time.Duration) time.Duration {
	if !r.reordering && certain {
		return 0
	}
	return min(time.Duration(max(r.mult, 1))*r.minRTT/4, srtt)
}

// reoWindow is the reordering window now.
func (c *Conn) reoWindow() time.Duration {
	// As many duplicate ACKs as RFC 5681 waits for, or as much SACKed as RFC 6675
	// section 4 (IsLost) does.
	certain := c.loss.active || c.loss.timedOut || c.loss.dupAcks >= dupThresh ||
		c.board.sacked > (dupThresh-1)*c.snd.mss
	return c.rack.window(certain, c.rtt.srtt)
}

// detectLoss marks what is lost by now, and has the timer look again when more may
// be (step 5). It reports whether there was any.
func (c *Conn) detectLoss(now mono.Time) (found bool) {
	if c.rack.xmit == 0 {
		return false
	}
	if c.board.tx == nil {
		c.timeReordering(now, 0)
		return false
	}
	r, t := &c.rack, c.board.tx
	patience := r.rtt + c.reoWindow()
	var wait time.Duration
	// The last that was sent before what has arrived has the most time left, and the first the least.
	if last := t.reach(r.xmit, r.end); last != none {
		wait = t.at(last).sent.Add(patience).Sub(now)
	}
	for t.reached != none {
		i := t.oldest()
		p := t.at(i)
		if now.Before(p.sent.Add(patience)) {
			break
		}
		c.board.mark(i, p.flags&^resent|lost)
		c.sh.Recovery.Lost++
		found = true
	}
	c.timeReordering(now, wait)
	return found
}

// detectTimeout marks what a retransmission timeout shows to be lost: the oldest,
// and all that had the time to arrive (section 6.3).
func (c *Conn) detectTimeout(now mono.Time) {
	b := &c.board
	if b.empty() {
		return
	}
	t, patience := b.tx, c.rack.rtt+c.reoWindow()
	old := func(i txID) bool { return !now.Before(t.at(i).sent.Add(patience)) }
	if oldest := t.first(); t.at(oldest).flags&sacked == 0 { // else it is renege's
		if r := t.at(oldest); !old(oldest) && r.len() > c.snd.mss {
			b.cut(oldest, r.seq.Add(c.snd.mss))
		}
		b.drop(now, oldest)
	}
	for i := t.oldest(); i != none && old(i); i = t.oldest() {
		b.mark(i, t.at(i).flags&^resent|lost)
	}
}

// timeReordering sets the timer to when something else is lost; 0: not known.
func (c *Conn) timeReordering(now mono.Time, wait time.Duration) {
	switch {
	case wait > 0:
		c.tlp.timing = false
		c.timers.set(timerLoss, now.Add(wait))
	case !c.tlp.timing:
		c.timers.stop(timerLoss)
	}
}
