package tcp

import (
	"github.com/zctap/zctap/internal/mono"
	"github.com/zctap/zctap/internal/wire"
)

// Output puts out what the batch has made due: data, an ACK, FIN, RST, a window
// update; and shows what was received to the application. Once a batch for each
// dirty connection. It reports whether Done, Retire or Deadlines may have something to
// say that they had not before: of a connection that is calm only that a delayed ACK was armed.
func (c *Conn) Output(now mono.Time) (changed bool) {
	if c.calm {
		if c.acks.now {
			c.sendPredicted(now)
		}
		c.Publish()
		return !c.ackTold
	}
	switch {
	case c.resetDue:
		c.sendReset(now)
	case c.state == Closed:
	case c.state == SynSent || c.state == SynReceived:
		if c.synDue {
			c.sendSyn(now)
		} else if c.acks.now {
			c.sendAck(now)
		}
	case c.state == TimeWait:
		if c.acks.now {
			c.sendAck(now)
		}
	default:
		c.sendAll(now)
	}
	if c.pack.open {
		c.watchHeld(now)
	}
	c.Publish()
	return true
}

// Publish shows what was received to the application: Output does it too, but
// need not be waited for when the wire is full.
func (c *Conn) Publish() {
	if c.publishDue {
		c.publishDue = false
		c.Recv.PublishTo(c.sh.Wakes)
	}
}

// sendAll is Output of a connection that may have data to send.
func (c *Conn) sendAll(now mono.Time) {
	c.Send.look()
	c.seal()
	if c.acks.now && c.report.due() {
		c.sendReport(now)
	} else {
		for range c.acks.dups {
			c.sendAck(now)
		}
	}
	c.acks.dups = 0
	switch {
	case c.sendForward(now):
	case c.opt.sack:
		if c.sendLost(now) {
			c.sendNew(now)
		}
		if c.tlp.due {
			c.sendTail(now)
		}
	case c.loss.resend:
		c.loss.resend = false
		c.resend(now)
		c.sendNew(now)
	default:
		c.sendNew(now)
	}
	if c.loss.probe {
		c.loss.probe = false
		c.sendProbe(now)
	}
	if c.keep.probe {
		c.keep.probe = false
		c.sendKeepAlive(now)
	}
	if c.acks.now {
		c.sendAck(now)
	}
	c.armRetransmit(now)
	if c.opt.sack && c.board.tx != nil {
		c.timeProbe(now)
		if c.board.empty() {
			c.untrack()
		}
	}
	c.calm = c.atRest()
}

// seal fixes where our FIN stands, when the application will write no more, and
// enters the state that RFC 9293 section 3.10.4 (CLOSE) has for it.
func (c *Conn) seal() {
	if !c.closing || c.finSet || !c.Send.sealed() {
		return
	}
	c.finSet = true
	c.snd.fin = c.snd.una.Add(uint32(c.Send.Buffered()))
	if c.state == CloseWait {
		c.state = LastAck
	} else {
		c.state = FinWait1
	}
}

// sendNew sends from SND.NXT on what both windows allow.
func (c *Conn) sendNew(now mono.Time) {
	if c.snd.nxt == c.snd.una && c.snd.lastData != 0 && now.Sub(c.snd.lastData) > c.rtt.timeout() {
		c.cc.restart(c.snd.mss)
	}
	for {
		off := c.snd.nxt - c.snd.una // in flight
		if c.finSet && c.snd.fin.LessThan(c.snd.nxt) {
			return
		}
		if c.board.full() {
			return
		}
		avail := uint32(c.Send.Buffered()) - uint32(off)
		usable := c.usable()
		if c.path.full != 0 && c.mayProbe(now, avail, usable) {
			c.sendPathProbe(now)
			continue
		}
		n := min(avail, usable, max(uint32(c.sh.MaxSuper), c.snd.mss))
		fin := c.finSet && n == avail && usable > n
		if n = c.worthSending(n, avail, uint32(off), fin); n == 0 && !fin {
			return
		}
		c.sendData(now, n, fin && n == avail)
	}
}

// usable is the bytes that the windows leave room for: the usable window of RFC
// 9293 section 3.8.6.2.1 under the congestion window, which the first two
// duplicate ACKs each stretch by a segment (limited transmit, RFC 3042).
func (c *Conn) usable() uint32 {
	if c.opt.sack {
		// What is SACKed makes room in the congestion window, and none in the
		// peer's.
		room := c.cc.cwnd - min(c.flight(), c.cc.cwnd)
		return min(room, uint32(max(c.snd.una.Add(c.snd.wnd).Sub(c.snd.nxt), 0)))
	}
	cwnd := c.cc.cwnd
	if !c.loss.timedOut { // then it would be something that was sent before
		cwnd += uint32(min(c.loss.dupAcks, dupThresh-1)) * c.snd.mss
	}
	wnd, flight := min(cwnd, c.snd.wnd), c.flight()
	if wnd <= flight {
		return 0
	}
	return wnd - flight
}

// worthSending is how many of n sendable bytes to send now, with avail waiting
// and off in flight: the sender's side of silly window avoidance (RFC 9293
// section 3.8.6.2.1) and Nagle's algorithm.
func (c *Conn) worthSending(n, avail, off uint32, fin bool) uint32 {
	mss := c.snd.mss
	switch {
	case n == avail && (fin || !c.Nagle || off == 0):
		return n
	case n >= mss:
		return n - n%mss
	case n >= c.snd.maxWnd/2 && n > 0 && n < avail:
		return n
	}
	return 0
}

// sendData sends n bytes from SND.NXT on, fewer if they are in too many pieces,
// and the FIN behind them.
func (c *Conn) sendData(now mono.Time, n uint32, fin bool) {
	flags, repeated := wire.ACK, c.snd.nxt.LessThan(c.snd.max)
	if c.ecn.marks() && !repeated && n > 0 {
		if flags |= c.reducedFlag(); flags.Has(wire.CWR) && n > c.snd.mss {
			n, fin = c.snd.mss, false // a device that cuts might repeat the flag
		}
	}
	off := int(c.snd.nxt - c.snd.una)
	p := c.Send.peek(&c.peeked, off, int(n))
	if got := uint32(len(p[0]) + len(p[1])); got < n {
		n, fin = got, false
		if n > c.snd.mss {
			n -= n % c.snd.mss
		}
		p = cut(p, int(n))
	}
	if n > 0 {
		flags |= c.pushed(uint32(off) + n)
	}
	end := c.snd.nxt.Add(n)
	if fin {
		flags |= wire.FIN
		end = end.Add(1)
	}
	if repeated {
		c.sentAgain(now, c.snd.nxt, end)
		c.sh.Stats.Retransmits += uint64((n + c.snd.mss - 1) / c.snd.mss)
	} else {
		c.rtt.start(now, end)
	}
	if h := c.newHeader(now, c.snd.nxt, flags); repeated || n == 0 {
		c.transmit(h, p)
	} else {
		c.transmitNew(h, p)
	}
	if c.opt.sack {
		var copied uint8
		if repeated {
			copied = again // a probe of the window
		}
		c.track(now, c.snd.nxt, end, copied)
		c.tlp.reset = true
		c.prr.out += n
	}
	c.snd.nxt = end
	c.sentUpTo(now, end)
}

// pushed is PSH for what ends where the buffer does, n bytes from its beginning, whether it is sent
// for the first time or again (RFC 9293 section 3.9.1.2, MUST-61): the receiver may wait for it.
func (c *Conn) pushed(n uint32) wire.Flags {
	if n > 0 && int(n) == c.Send.Buffered() {
		return wire.PSH
	}
	return 0
}

// resend sends the segment at SND.UNA again (fast retransmit).
func (c *Conn) resend(now mono.Time) {
	n, fin := c.head(c.snd.mss)
	c.rtt.cancel()
	c.sh.Stats.Retransmits++
	c.sentAgain(now, c.snd.una, c.snd.una.Add(n))
	c.sendHead(now, n, fin)
}

// sendProbe sends one byte, or the FIN if there is none, beyond a closed window
// (RFC 9293 section 3.8.6.1), or what a small one allows, which silly window
// avoidance held back. SND.NXT stays: the window has not admitted it.
func (c *Conn) sendProbe(now mono.Time) {
	if c.snd.nxt != c.snd.una || !c.unsent() {
		return // the window has opened meanwhile
	}
	c.sh.Stats.Probes++
	n, fin := c.head(min(max(c.snd.wnd, 1), c.snd.mss))
	c.rtt.cancel()
	c.sendHead(now, n, fin)
}

// head is how much of the data at SND.UNA a segment of at most limit bytes
// holds, and whether our FIN goes with it.
func (c *Conn) head(limit uint32) (n uint32, fin bool) {
	avail := uint32(c.Send.Buffered())
	n = min(avail, limit)
	return n, c.finSet && n == avail && (n == 0 || c.snd.fin.LessThan(c.snd.max))
}

func (c *Conn) sendHead(now mono.Time, n uint32, fin bool) {
	end, flags := c.snd.una.Add(n), wire.ACK
	if fin {
		end, flags = end.Add(1), flags|wire.FIN
	}
	flags |= c.pushed(n)
	c.transmit(c.newHeader(now, c.snd.una, flags), c.Send.peek(&c.peeked, 0, int(n)))
	c.sentUpTo(now, end)
}

// sentUpTo notes that everything before end has been sent at least once.
func (c *Conn) sentUpTo(now mono.Time, end wire.Seq) {
	if c.snd.max.LessThan(end) {
		c.snd.max = end
	}
	c.snd.lastData = now
	if a := &c.acks; a.received != 0 && now.Sub(a.received) < delayedAck {
		a.interactive = true
	}
}

// cut shortens p to n bytes.
func cut(p [2][]byte, n int) [2][]byte {
	if n <= len(p[0]) {
		return [2][]byte{p[0][:n]}
	}
	p[1] = p[1][:n-len(p[0])]
	return p
}
