package tcp

import (
	"time"

	"github.com/zctap/zctap/internal/mono"
	"github.com/zctap/zctap/internal/wire"
)

// Keep-alives (RFC 9293 section 3.8.4, off unless asked for). Probes are Linux's:
// so many, so far apart.
const (
	DefaultKeepAlive  = 15 * time.Second // net.KeepAliveConfig has the same
	keepAliveProbes   = 9
	keepAliveInterval = 75 * time.Second
)

type keepAlive struct {
	heard  mono.Time     // when an acceptable segment last came
	idle   time.Duration // 0: off
	probed mono.Time     // when the last probe was due
	probes uint8         // sent without an answer
	probe  bool          // one is to be sent
}

// SetKeepAlive has the peer probed when nothing was heard of it for idle, and the
// connection ended with ETIMEDOUT when it answers none of several probes; or not
// any more. An idle that is not positive is DefaultKeepAlive.
func (c *Conn) SetKeepAlive(now mono.Time, on bool, idle time.Duration) {
	if idle <= 0 {
		idle = DefaultKeepAlive
	}
	c.keep = keepAlive{heard: max(c.keep.heard, now)}
	c.timers.stop(timerKeepAlive)
	c.touch() // Deadlines may have changed
	if on && c.state.synchronized() && c.state != TimeWait {
		c.keep.idle = idle
		c.timers.set(timerKeepAlive, now.Add(idle))
	}
}

func (c *Conn) keepAliveDue(now mono.Time) {
	k := &c.keep
	if k.heard >= k.probed {
		k.probes = 0
	}
	next := k.heard.Add(k.idle)
	switch {
	case c.snd.nxt != c.snd.una || c.unsent():
		// What is sent is the probe; the retransmission timer judges.
		next = now.Add(k.idle)
	case now.Before(next):
	case c.keepAliveOver(now):
		c.sh.Stats.TimedOut++
		c.resetDue = true
		c.kill(c.timeoutError())
		return
	default:
		k.probes++
		k.probed = now
		k.probe = true
		next = now.Add(min(keepAliveInterval, k.idle))
		if over := k.heard.Add(c.userTimeout); c.userTimeout > 0 && now.Before(over) {
			next = min(next, over)
		}
	}
	c.timers.set(timerKeepAlive, next)
}

// sendKeepAlive sends an ACK with a number that the peer has received already,
// which it has to answer.
func (c *Conn) sendKeepAlive(now mono.Time) {
	c.sh.Stats.Probes++
	c.transmit(c.newHeader(now, c.snd.una-1, wire.ACK), [2][]byte{})
}
