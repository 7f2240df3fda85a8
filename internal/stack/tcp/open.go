package tcp

import (
	"syscall"
	"time"

	"github.com/zctap/zctap/internal/mono"
	"github.com/zctap/zctap/internal/wire"
)

const (
	// A SYN is repeated for this long: RFC 1122 section 4.2.3.5 has at least 3
	// minutes.
	synTimeout = 3 * time.Minute
	// A listener's SYN-ACK for less, since a flood of SYNs makes us keep state meanwhile.
	synAckTimeout = time.Minute
)

// passiveOpen makes a connection in SYN-RECEIVED from a SYN (RFC 9293 section
// 3.10.7.2).
func passiveOpen(l *Listener, now mono.Time, h *wire.TCP, t wire.Tuple) *Conn {
	c := newConn(l.Shared, now, t, l.MSS(&t))
	c.listener = l
	c.takeSyn(now, h)
	c.state = SynReceived
	c.synDue = true
	c.touch()
	return c
}

// takeSyn takes in the peer's SYN.
func (c *Conn) takeSyn(now mono.Time, h *wire.TCP) {
	c.rcv.irs = h.Seq
	c.rcv.nxt = h.Seq.Add(1)
	c.rcv.adv = c.rcv.nxt.Add(c.rcv.maxWnd) // what our SYN offered, if we sent one
	c.opt.lastAck = c.rcv.nxt
	c.negotiate(now, &h.Options)
	c.negotiateECN(h)
	// The window of a SYN is never scaled (RFC 7323 section 2.2).
	c.setSendWindow(now, h.Seq, h.Ack, uint32(h.Window))
}

// inputSynSent processes a segment in SYN-SENT (RFC 9293 section 3.10.7.3).
func (c *Conn) inputSynSent(now mono.Time, s *Segment) {
	h := s.TCP
	acked := h.Flags.Has(wire.ACK)
	if acked && (h.Ack.LessEq(c.snd.iss) || c.snd.max.LessThan(h.Ack)) {
		c.sh.Stats.Drops.BadAck++
		c.sh.Refuse(s, c.tuple) // sends nothing for a RST
		return
	}
	switch {
	case h.Flags.Has(wire.RST):
		c.sh.Pool.PutFrags(s.Frags)
		if acked {
			c.sh.Stats.ResetsReceived++
			c.kill(syscall.ECONNREFUSED)
		} else {
			c.sh.Stats.Drops.BlindReset++
		}
		return
	case !h.Flags.Has(wire.SYN):
		c.sh.Stats.Drops.NoAck++
		c.sh.Pool.PutFrags(s.Frags)
		return
	}
	c.takeSyn(now, h)
	if !acked {
		// Simultaneous open (section 3.5, figure 8).
		c.sh.Pool.PutFrags(s.Frags)
		c.state = SynReceived
		c.synDue = true
		return
	}
	c.handshakeAcked(now, h)
	c.acks.now = true
	if c.state == Established {
		c.text(now, s, h.Seq.Add(1), h.Flags)
	} else {
		c.sh.Pool.PutFrags(s.Frags)
	}
}

// handshakeAcked completes the handshake: our SYN is acknowledged and the
// peer's has been taken in. It reports whether the connection goes on.
func (c *Conn) handshakeAcked(now mono.Time, h *wire.TCP) bool {
	l := c.listener
	if l != nil {
		switch {
		case l.closed:
			c.Abort(now)
			return false
		case l.Full():
			// The peer believes that it is connected; our SYN-ACK comes again
			// and it repeats its ACK, or its data.
			c.sh.Stats.Drops.ListenerFull++
			return false
		}
		l.pending--
		c.listener = nil
		c.sh.Stats.PassiveOpens++
	} else {
		c.sh.Stats.ActiveOpens++
	}
	c.rtt.acked(now, h.Ack)
	c.snd.una = h.Ack
	c.loss.recover = c.snd.iss
	c.connect(now)
	if l != nil {
		l.OnAccept(c)
	} else {
		c.connected(nil)
	}
	return c.state == Established
}

// connected tells the outcome of an active open, once.
func (c *Conn) connected(err error) {
	if f := c.OnConnect; f != nil {
		c.OnConnect = nil
		f(err)
	}
}

// sendSyn sends our SYN or SYN-ACK and arms its timer.
func (c *Conn) sendSyn(now mono.Time) {
	c.synDue = false
	c.acks.now = false
	h := c.newHeader(now, c.snd.iss, wire.SYN|c.synECN())
	if c.state == SynReceived {
		h.Flags |= wire.ACK
	}
	h.Window = c.synWindow()
	c.synOptions(&h.Options)
	if c.snd.max == c.snd.iss {
		c.rtt.start(now, c.snd.iss.Add(1))
		c.loss.stuck = now
	} else {
		c.rtt.cancel() // Karn: an answer could be to either (RFC 6298 section 3)
		c.sh.Stats.Retransmits++
	}
	c.snd.nxt = c.snd.iss.Add(1)
	c.snd.max = c.snd.nxt
	c.transmit(h, [2][]byte{})
	if !c.timers.armed(timerRetransmit) {
		c.timers.set(timerRetransmit, now.Add(c.rtt.timeout()))
	}
}

// synTimedOut runs when a SYN or SYN-ACK was not answered in time.
func (c *Conn) synTimedOut(now mono.Time) {
	limit := synTimeout
	if c.listener != nil {
		limit = synAckTimeout
	}
	if now.Sub(c.loss.stuck) >= limit {
		c.kill(syscall.ETIMEDOUT)
		return
	}
	c.sh.Stats.Timeouts++
	c.rtt.backOff()
	c.synDue = true
}
