package tcp

import "github.com/zctap/zctap/internal/mono"

// The timers of a connection.
const (
	timerRetransmit = iota // retransmission, persist, SYN
	timerDelayedAck
	timerHold  // out-of-order data, the open compaction buffer
	timerClose // TIME-WAIT, FIN-WAIT-2 without a reader, linger
	timerKeepAlive
	timerLoss // RACK's reordering window, tail loss probe
	numTimers
)

// timers are the times at which something is due; 0: not armed.
type timers [numTimers]mono.Time

func (t *timers) set(i int, at mono.Time) { t[i] = at }
func (t *timers) stop(i int)              { t[i] = 0 }
func (t *timers) armed(i int) bool        { return t[i] != 0 }

// take reports whether timer i is due, and disarms it then.
func (t *timers) take(i int, now mono.Time) bool {
	if t[i] == 0 || now.Before(t[i]) {
		return false
	}
	t[i] = 0
	return true
}

// Deadline is when Advance is to be called next; 0: no timer is armed. It
// changes with Input, Output, Advance and the commands.
func (c *Conn) Deadline() (d mono.Time) {
	for _, t := range c.timers {
		if t != 0 && (d == 0 || t.Before(d)) {
			d = t
		}
	}
	return d
}

// Deadlines is Deadline for who keeps delayed ACKs apart: when others is due of Deadline's timers, 0
// if none; and when the delayed ACK is, if it was armed since Deadlines was called last, 0 if not.
func (c *Conn) Deadlines() (ack, others mono.Time) {
	t := &c.timers
	// Without a branch: one less makes 0, which is never, the latest of all.
	first := min(uint64(t[timerRetransmit])-1, uint64(t[timerHold])-1, uint64(t[timerClose])-1,
		uint64(t[timerKeepAlive])-1, uint64(t[timerLoss])-1)
	if !c.ackTold {
		c.ackTold = true
		ack = t[timerDelayedAck]
	}
	return ack, mono.Time(first + 1)
}

// DelayedAckAt reports whether the delayed ACK is due at when, which is not 0.
func (c *Conn) DelayedAckAt(when mono.Time) bool { return c.timers[timerDelayedAck] == when }

// delayAck arms the timer of delayed ACKs.
func (c *Conn) delayAck(now mono.Time) {
	c.timers.set(timerDelayedAck, now.Add(delayedAck))
	c.ackTold = false
}

// Advance runs the timers that are due. The connection becomes dirty if one is.
func (c *Conn) Advance(now mono.Time) {
	if d := c.Deadline(); d == 0 || now.Before(d) {
		return
	}
	c.touch()
	if c.timers.take(timerLoss, now) {
		c.lossTimerDue(now) // may put off the next
	}
	if c.timers.take(timerRetransmit, now) {
		c.timerExpired(now)
	}
	if c.timers.take(timerDelayedAck, now) {
		c.delayedAckDue()
	}
	if c.timers.take(timerHold, now) {
		c.holdDue(now)
	}
	if c.timers.take(timerKeepAlive, now) {
		c.keepAliveDue(now)
	}
	if c.timers.take(timerClose, now) {
		c.closeTimeDue(now)
	}
}
