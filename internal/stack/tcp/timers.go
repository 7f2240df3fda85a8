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
