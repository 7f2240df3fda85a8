package tcp

import (
	"time"

	"github.com/zctap/zctap/internal/mono"
)

// SetUserTimeout bounds how long data may wait for its acknowledgment, or a keep-alive
// for its answer, before the connection ends with ETIMEDOUT; 0: Config.UserTimeout. It
// is the local half of RFC 5482, and Linux's TCP_USER_TIMEOUT: the option that tells
// the peer is not sent. Unlike the default it also ends a connection whose peer answers
// window probes but never opens its window: RFC 9293 section 3.8.6.1 has that stay open,
// and the application has said that it does not want it.
func (c *Conn) SetUserTimeout(d time.Duration) {
	c.userTimeout = d
	if c.timers.armed(timerRetransmit) && c.state.synchronized() {
		c.timers.stop(timerRetransmit) // armed anew by Output
	}
	c.touch()
}

// patience is how long to go on without progress.
func (c *Conn) patience() time.Duration {
	if c.userTimeout > 0 {
		return c.userTimeout
	}
	return c.sh.UserTimeout
}

// retransmitAfter is how long the retransmission timer runs from now: no longer than
// the user's patience, so that it ends on time however far the timer is backed off.
func (c *Conn) retransmitAfter(now mono.Time) time.Duration {
	d := c.rtt.timeout()
	if c.userTimeout == 0 {
		return d
	}
	left := c.userTimeout
	if stuck := c.loss.stuck; stuck != 0 {
		left = max(stuck.Add(left).Sub(now), 1)
	}
	return min(d, left)
}

// impatient notes that the retransmission timer has expired, and reports whether it
// has done so for too long: the connection has ended then.
func (c *Conn) impatient(now mono.Time) bool {
	l := &c.loss
	if l.stuck == 0 {
		l.stuck = now
		if c.userTimeout > 0 {
			// What is not acknowledged has waited since the timer was set.
			l.stuck = now.Add(-c.retransmitAfter(now))
		}
	}
	if now.Sub(l.stuck) < c.patience() {
		return false
	}
	// RFC 9293 section 3.8.3, R2. A peer that answers with a closed window is
	// alive, and is told.
	c.resetDue = l.persisting && c.snd.wnd == 0
	c.sh.Stats.TimedOut++
	c.kill(c.timeoutError())
	return true
}

// keepAliveOver reports whether a peer that answered no keep-alive is given up.
func (c *Conn) keepAliveOver(now mono.Time) bool {
	k := &c.keep
	if c.userTimeout > 0 {
		// The user timeout overrides the number of probes (tcp(7), TCP_USER_TIMEOUT).
		return k.probes > 0 && now.Sub(k.heard) >= c.userTimeout
	}
	return k.probes >= keepAliveProbes
}
