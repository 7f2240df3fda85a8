package tcp

import (
	"time"

	"github.com/zctap/zctap/internal/mono"
	"github.com/zctap/zctap/internal/wire"
)

// Recovery of a connection whose peer understands SACK: RACK-TLP (RFC 8985) finds
// what is lost, PRR (RFC 9937) says how fast it is sent again, with the accounting
// of RFC 6675. Others have NewReno (recovery.go).

// ackedSelectively processes an ACK while something is under way. plain tells that
// it has neither data nor anything new but SACK blocks.
func (c *Conn) ackedSelectively(now mono.Time, h *wire.TCP, plain bool) {
	l, before := &c.loss, c.flight()
	d := delivery{now: now, fack: c.rack.fack, highest: c.rack.fack, minRTT: c.rack.minRTT, recover: l.recover}
	if c.opt.timestamps && h.Options.TSEcr != 0 {
		d.echoes, d.echo = true, h.Options.TSEcr-c.opt.tsOffset
	}
	if h.Options.SACKCount > 0 {
		c.takeBlocks(h, &d)
	}
	progress := c.snd.una.LessThan(h.Ack)
	rtt, grown := d.rtt, uint32(0)
	if progress {
		grown = uint32(h.Ack - c.snd.una) // RFC 5681: SACKs alone don't count
		c.board.ack(h.Ack, &d)
		rtt = d.rtt
		c.advance(now, h, rtt)
		l.dupAcks = 0
		c.timers.stop(timerRetransmit) // Output arms it again for what is left
		c.tlp.reset = true
	} else if d.sacked > 0 {
		l.dupAcks = min(l.dupAcks+1, dupThresh)
	}
	c.rack.arrived(&d)
	c.probeAcked(h, &d, plain)
	c.rack.widen(d.dsack, c.snd.una, c.snd.nxt)
	if d.dsack && l.stamped {
		// What was sent again had only been late. RACK does not see that itself,
		// since the ACK may be for either copy.
		c.rack.reordering = true
	}
	if d.dsack {
		c.cameTwice(d.twice)
	}
	c.undoSpurious(&d, progress)
	repairing := l.active
	if l.timedOut {
		grown = d.bytes // the others are counted when they arrive, not when a hole before them is filled
	}
	found := (progress || d.bytes > 0) && c.detectLoss(now)
	d.safe = progress && !found
	c.repair(&d)
	if grown > 0 && !repairing && !l.active {
		c.growCwnd(now, grown, before, rtt)
	}
}

// repair begins recovery, ends it, and sets its window.
func (c *Conn) repair(d *delivery) {
	l := &c.loss
	if (l.active || l.timedOut) && l.recover.LessEq(c.snd.una) {
		if l.active {
			c.cc.cwnd = c.cc.ssthresh
		}
		l.active, l.timedOut = false, false
		c.rack.recovered()
	}
	if c.board.unrepaired() && !l.active && !l.timedOut {
		sent := uint32(c.snd.nxt-c.snd.una) + d.bytes - d.sacked // before this ACK
		c.cc.reduce(min(c.cc.cwnd, sent), c.snd.mss, false)
		c.prr.begin(sent - (c.board.sacked - d.sacked))
		l.active, l.dupAcks, l.stamped = true, 0, false
		l.recover = c.snd.nxt
		c.doubt()
		c.tlp.open = false
		c.sh.Stats.FastRetransmits++
	}
	if l.active {
		c.cc.cwnd = min(c.prr.window(d.bytes, c.flight(), c.cc.ssthresh, c.snd.mss, d.safe), maxCwnd)
	}
}

// repairTimeout runs when the retransmission timer expires (RFC 8985 section 6.3,
// RFC 6675 section 5.1).
func (c *Conn) repairTimeout(now mono.Time) {
	l := &c.loss
	c.sh.Stats.Timeouts++
	c.beginFRTO()
	if !l.active && (c.rtt.backoff == 0 || !l.timedOut) {
		// Once for what was under way; see retransmitTimeout.
		c.cc.reduce(min(c.cc.cwnd, uint32(c.snd.nxt-c.snd.una)), c.snd.mss, true)
		c.doubt()
	}
	if !l.active && !l.timedOut {
		l.stamped = false
	}
	c.cc.cwnd = c.snd.mss
	l.active, l.timedOut, l.resend, l.dupAcks = false, true, true, 0
	l.recover = c.snd.nxt
	c.tlp.open, c.tlp.due = false, false
	c.timeReordering(now, 0)
	c.rtt.cancel()
	c.rtt.backOff()
	c.detectTimeout(now)
	// Behind what is found to be lost by when it was sent: what the peer has dropped comes last in
	// the order of sending.
	if c.board.renege(now) {
		c.sh.Recovery.PeerReneged++
	}
}

// reopened runs when the peer's window opens again after a timeout. What was sent
// into the closed one was not taken, and is not to wait for a timer that has been
// backed off meanwhile.
func (c *Conn) reopened(now mono.Time) {
	if !c.loss.timedOut || c.board.empty() {
		return
	}
	c.board.drop(now, c.board.tx.first())
	c.loss.resend = true
	c.timers.stop(timerRetransmit)
	c.rtt.backoff = 0
}

// sendLost sends again what is lost, as far as the congestion window allows, and
// reports whether that was all of it.
func (c *Conn) sendLost(now mono.Time) bool {
	b, l := &c.board, &c.loss
	for b.unrepaired() {
		i := b.tx.firstWith(missing)
		r, oldest := b.tx.at(i), i == b.tx.first()
		room := c.cc.cwnd - min(c.flight(), c.cc.cwnd)
		if l.resend || c.flight() == 0 {
			// Whatever is under way after a timeout; and if nothing is, no ACK
			// would make room.
			room = max(room, c.snd.mss)
		}
		// The oldest goes out even when the window has shrunk: its ACK tells of
		// the window.
		if edge := c.snd.una.Add(c.snd.wnd); !oldest && edge.LessThan(r.end) {
			return false
		}
		n := min(r.len(), max(uint32(c.sh.MaxSuper), c.snd.mss), room)
		if n < r.len() {
			if n -= n % c.snd.mss; n == 0 {
				return false
			}
			b.cut(i, r.seq.Add(n))
		}
		if oldest {
			c.timers.stop(timerRetransmit) // armed anew after output
		}
		l.resend = false
		if !l.stamped {
			l.stamped, l.stamp = true, milliseconds(now)
		}
		c.sendRecord(now, i, lost|resent|again)
		c.repeated(b.tx.at(i).len())
	}
	return !b.unrepaired()
}

// sendRecord sends record i again, and sets its flags. What lies in too many pieces
// for a call is sent in several, each a record of its own.
func (c *Conn) sendRecord(now mono.Time, i txID, flags uint8) {
	b := &c.board
	r := b.tx.at(i)
	n, off := r.len(), r.seq-c.snd.una
	header := wire.ACK
	if c.finSet && c.snd.fin.LessThan(r.end) {
		header |= wire.FIN
		n--
	}
	p := c.Send.peek(&c.peeked, int(off), int(n))
	if got := uint32(len(p[0]) + len(p[1])); got < n {
		if got > c.snd.mss {
			got -= got % c.snd.mss
		}
		p, n, header = cut(p, int(got)), got, wire.ACK
		b.cut(i, r.seq.Add(n))
		r = b.tx.at(i)
	}
	if n > 0 {
		header |= c.pushed(uint32(off) + n)
	}
	b.markSent(i, now, flags)
	c.rtt.cancel()
	c.sentAgain(now, r.seq, r.end)
	c.sh.Stats.Retransmits += uint64(max((n+c.snd.mss-1)/c.snd.mss, 1))
	c.transmit(c.newHeader(now, r.seq, header), p)
	c.sentUpTo(now, r.end)
	c.prr.out += r.len()
}

// milliseconds is t as our timestamp clock has it, without its offset.
func milliseconds(t mono.Time) uint32 { return uint32(t / mono.Time(time.Millisecond)) }
