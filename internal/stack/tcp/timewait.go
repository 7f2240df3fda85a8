package tcp

import (
	"github.com/zctap/zctap/internal/mono"
	"github.com/zctap/zctap/internal/wire"
)

// enterTimeWait waits for what may still be under way (RFC 9293 section 3.6.1).
func (c *Conn) enterTimeWait(now mono.Time) {
	if c.sh.timeWaits >= c.sh.MaxTimeWait {
		// Bounded memory comes first, as with Linux's tcp_max_tw_buckets: old
		// duplicates will meet no connection, and the peer's FIN a RST.
		c.sh.Stats.TimeWaitOverflows++
		c.kill(nil)
		return
	}
	c.sh.timeWaits++
	c.sh.conns--
	c.state = TimeWait
	c.timers = timers{}
	c.timers.set(timerClose, now.Add(c.sh.TimeWait))
	c.untrack()
	c.closePack()
	c.constrain(false)
}

// inputTimeWait processes a segment in TIME-WAIT; its payload is of no interest.
// RST is ignored (RFC 1337): an old duplicate must not end the wait.
func (c *Conn) inputTimeWait(now mono.Time, s *Segment) {
	h := s.TCP
	switch {
	case h.Flags.Has(wire.RST):
		c.sh.Stats.Drops.BlindReset++
	case h.Flags.Has(wire.SYN):
		c.sh.Stats.Drops.BlindSyn++
		c.challenge(now)
	case h.Flags.Has(wire.FIN) && h.Seq.Add(uint32(s.Len)+1) == c.rcv.nxt:
		// Our ACK was lost: acknowledge again, and start over (RFC 9293 section
		// 3.10.7.4, TIME-WAIT).
		c.acks.now = true
		c.timers.set(timerClose, now.Add(c.sh.TimeWait))
	case s.Len > 0 || !c.acceptable(h.Seq, 0):
		c.sh.Stats.Drops.AfterFin++
		c.rejected(now, h.Seq, uint32(s.Len))
	}
}

// Reopen reports whether s is a SYN that may begin the next connection of the
// same tuple while c is in TIME-WAIT: its sequence numbers, or its timestamps,
// are beyond the old ones (RFC 9293 section 3.6.1, RFC 6191). If so c is closed:
// the caller forgets it and gives s, untouched, to the listener. If not, s goes
// to c's Input as usual.
func (c *Conn) Reopen(s *Segment) bool {
	h := s.TCP
	if c.state != TimeWait || h.Flags&(wire.SYN|wire.ACK|wire.RST) != wire.SYN {
		return false
	}
	newer := c.rcv.nxt.LessThan(h.Seq)
	if c.opt.timestamps && h.Options.HasTimestamps {
		if d := int32(h.Options.TSVal - c.opt.tsRecent); d != 0 {
			newer = d > 0
		}
	}
	if newer {
		c.kill(nil)
	}
	return newer
}
