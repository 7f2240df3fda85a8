package tcp

import (
	"time"

	"github.com/zctap/zctap/internal/mono"
	"github.com/zctap/zctap/internal/wire"
)

// dupThresh is the duplicate ACKs that mean a loss (RFC 5681 section 3.2).
const dupThresh = 3

// recovery is loss detection and recovery: fast retransmit and NewReno (RFC
// 5681 section 3.2, RFC 6582), and what the retransmission timer does.
type recovery struct {
	dupAcks    uint8     // in a row, while not recovering; stops at dupThresh
	active     bool      // fast recovery is on
	partial    bool      // it has seen a partial ACK
	resend     bool      // the segment at una is to be sent again
	persisting bool      // the timer is the persist timer (persist.go)
	probe      bool      // a probe is to be sent
	timedOut   bool      // the timer has expired, and una has not passed recover
	stamped    bool      // with SACK: stamp is set
	recover    wire.Seq  // snd.max at the last loss
	stamp      uint32    // when something was first sent again, in milliseconds
	stuck      mono.Time // first expiry of the timer since progress; 0: none
}

// duplicateAck takes in an ACK of nothing new while data is under way.
func (c *Conn) duplicateAck() {
	l, mss := &c.loss, c.snd.mss
	if l.timedOut && c.duplicateAfterTimeout() {
		return
	}
	if l.active {
		// RFC 6582 section 3.2 step 3: a segment has left the network.
		c.cc.cwnd = min(c.cc.cwnd+mss, maxCwnd)
		return
	}
	if l.dupAcks < dupThresh {
		l.dupAcks++
	}
	// Step 2: the duplicates of what a timeout or an earlier recovery sent twice
	// are no sign of another loss.
	if l.dupAcks != dupThresh || c.snd.una.LessEq(l.recover) {
		return
	}
	c.cc.reduce(c.flight(), mss, false)
	c.cc.cwnd = c.cc.ssthresh + dupThresh*mss
	l.dupAcks = 0
	l.active, l.partial, l.resend = true, false, true
	l.recover = c.snd.max
	c.sh.Stats.FastRetransmits++
}

// ackedInRecovery adapts the congestion window to n bytes newly acknowledged of
// flight under way, and restarts the retransmission timer (RFC 6298 section
// 5.3).
func (c *Conn) ackedInRecovery(now mono.Time, n, flight uint32, rtt time.Duration) {
	l, w, mss := &c.loss, &c.cc, c.snd.mss
	l.dupAcks = 0
	switch {
	case !l.active:
		c.growCwnd(now, n, flight, rtt)
	case c.snd.una.LessThan(l.recover):
		// RFC 6582 section 3.2 step 3, partial acknowledgment: the segment now
		// at una was lost too. Deflate by what has left the network. Only the
		// first one restarts the timer, so that a window full of losses ends in
		// slow start ("impatient").
		l.resend = true
		w.cwnd = max(w.cwnd-min(n, w.cwnd), mss)
		if n >= mss {
			w.cwnd += mss
		}
		if l.partial {
			return
		}
		l.partial = true
	default:
		// Full acknowledgment, option (1): no burst of what has piled up.
		w.cwnd = min(w.ssthresh, max(c.flight(), mss)+mss)
		l.active, l.resend = false, false
	}
	c.timers.stop(timerRetransmit) // Output arms it again for what is left
}

// growCwnd tells congestion control of n bytes newly acknowledged of flight under
// way, and of the round trip that was measured.
func (c *Conn) growCwnd(now mono.Time, n, flight uint32, rtt time.Duration) {
	a := &c.sh.ack
	*a = ackInfo{
		now: now, bytes: n, mss: c.snd.mss, rtt: rtt, srtt: c.rtt.srtt,
		una: c.snd.una, nxt: c.snd.nxt, limited: !c.cc.inUse(flight, c.snd.mss),
	}
	c.cc.control.acked(&c.cc, a)
}

// retransmitTimeout runs when the timer expires with data under way (RFC 6298
// section 5.4 to 5.6, RFC 5681 section 3.1).
func (c *Conn) retransmitTimeout(now mono.Time) {
	if c.opt.sack {
		c.repairTimeout(now)
		return
	}
	l, mss := &c.loss, c.snd.mss
	c.sh.Stats.Timeouts++
	c.beginFRTO()
	if c.rtt.backoff == 0 || !l.timedOut {
		// Not again when a retransmission is lost: flight is one segment then.
		c.cc.reduce(c.flight(), mss, true)
	}
	c.cc.cwnd = mss
	l.active, l.timedOut, l.resend, l.dupAcks = false, true, false, 0
	l.recover = c.snd.max
	c.rtt.cancel()
	c.rtt.backOff()
	// Everything is sent again in slow start, but for what the next ACKs turn
	// out to cover.
	c.snd.nxt = c.snd.una
}
