package tcp

import "github.com/zctap/zctap/internal/mono"

// The persist timer (RFC 9293 section 3.8.6.1) takes the retransmission timer's
// place when nothing is under way, so that nothing can be retransmitted, and what
// waits does not fit the peer's window. A window update that was lost would
// otherwise leave both ends waiting.

// timerExpired runs when the retransmission or persist timer expires.
func (c *Conn) timerExpired(now mono.Time) {
	if !c.state.synchronized() {
		c.synTimedOut(now)
		return
	}
	l := &c.loss
	if c.impatient(now) {
		return
	}
	if c.orphan && (l.persisting || c.snd.wnd == 0) && now.Sub(c.closedAt) >= c.patience() {
		// Nobody waits for this data to be sent but a peer that does not take
		// it.
		c.sh.Stats.TimedOut++
		c.Abort(now)
		return
	}
	c.suspect(now)
	if !l.persisting {
		c.retransmitTimeout(now)
		return
	}
	l.probe = true
	c.rtt.backOff()
}

// armRetransmit leaves the timer as the send sequence space needs it, after
// output (RFC 6298 section 5.1 and 5.2).
func (c *Conn) armRetransmit(now mono.Time) {
	l := &c.loss
	switch {
	case c.snd.nxt != c.snd.una:
		l.persisting = false
	case c.unsent():
		l.persisting = true
	default:
		l.persisting = false
		c.timers.stop(timerRetransmit)
		return
	}
	if !c.timers.armed(timerRetransmit) {
		c.timers.set(timerRetransmit, now.Add(c.retransmitAfter(now)))
	}
}

// unsent reports whether something waits to be sent.
func (c *Conn) unsent() bool {
	if c.finSet {
		return c.snd.nxt.LessEq(c.snd.fin)
	}
	return int(c.snd.nxt-c.snd.una) < c.Send.Buffered()
}
