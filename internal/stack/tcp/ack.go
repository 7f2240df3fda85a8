package tcp

import (
	"time"

	"github.com/zctap/zctap/internal/mono"
	"github.com/zctap/zctap/internal/wire"
)

// acknowledged processes the ACK of a segment in a synchronized state (RFC 9293
// section 3.10.7.4, fifth step), and reports whether the segment goes on.
func (c *Conn) acknowledged(now mono.Time, s *Segment, seq wire.Seq, flags wire.Flags) bool {
	h := s.TCP
	ack := h.Ack
	// RFC 5961 section 5.2: SND.UNA - MAX.SND.WND <= SEG.ACK <= SND.NXT.
	if c.snd.max.LessThan(ack) || ack.LessThan(c.snd.una-wire.Seq(c.snd.maxWnd)) {
		c.sh.Stats.Drops.BadAck++
		c.challenge(now)
		return false
	}
	c.path.soft = 0
	wnd := uint32(h.Window) << c.opt.sndShift
	most := uint32(maxCwnd)
	if c.ecn.on {
		c.ecn.pass(c.snd.una)
		if flags.Has(wire.ECE) {
			c.echoed()
			most = c.cc.cwnd // it does not grow by this ACK
		}
	}
	plain := ack == c.snd.una && s.Len == 0 && !flags.Has(wire.FIN) && wnd == c.snd.wnd
	switch {
	case c.opt.sack && (c.snd.una.LessThan(ack) || !c.board.empty() || h.Options.SACKCount > 0 || c.tlp.open):
		// Also with nothing under way: what was sent again for nothing, a tail loss
		// probe above all, is reported when all has arrived.
		c.ackedSelectively(now, h, plain)
	case c.snd.una.LessThan(ack):
		c.ackedNew(now, h)
	case plain && c.snd.nxt != ack: // RFC 5681 section 2
		c.duplicateAck()
	}
	c.cc.cwnd = min(c.cc.cwnd, most)
	// Only the newest segment tells the window (section 3.10.7.4).
	seq = s.last(seq)
	if c.snd.una.LessEq(ack) && c.newerWindow(seq, ack) {
		c.setSendWindow(now, seq, ack, wnd)
	}
	if c.finSet && c.snd.una == c.snd.fin.Add(1) {
		return c.finAcked(now)
	}
	return true
}

// ackedNew takes in an acknowledgment of something new, without SACK.
func (c *Conn) ackedNew(now mono.Time, h *wire.TCP) {
	n, flight := uint32(h.Ack-c.snd.una), c.flight()
	whole := c.snd.nxt.LessEq(h.Ack)
	rtt := c.advance(now, h, 0)
	if c.loss.timedOut {
		c.ackedAfterTimeout(whole)
	}
	c.ackedInRecovery(now, n, flight, rtt)
	// It stays near, or gigabytes later it would seem to lie ahead.
	c.loss.recover = later(c.loss.recover, c.snd.una-1)
}

// advance moves SND.UNA to the acknowledgment of something new. It returns the round
// trip time, if the ACK yields a sample; 0: none. known is as for measure.
func (c *Conn) advance(now mono.Time, h *wire.TCP, known time.Duration) time.Duration {
	ack := h.Ack
	data := uint32(ack - c.snd.una)
	if c.finSet && ack == c.snd.fin.Add(1) {
		data-- // our FIN has a sequence number and no byte
	}
	rtt := c.measure(now, h, known)
	c.snd.una = ack
	if c.snd.nxt.LessThan(ack) {
		c.snd.nxt = ack // data that was sent before a timeout did arrive
	}
	if data > 0 {
		c.Send.ack(&c.peeked, int(data))
	}
	c.loss.stuck = 0
	c.pathWorks()
	c.confirm(now)
	return rtt
}

// setSendWindow is the peer's window, told by a segment with seq and ack.
func (c *Conn) setSendWindow(now mono.Time, seq, ack wire.Seq, wnd uint32) {
	if c.loss.persisting && wnd > c.snd.wnd {
		// It opens: what is sent now is retransmitted by the ordinary timer.
		c.loss.persisting = false
		c.loss.stuck = 0
		c.timers.stop(timerRetransmit)
		c.rtt.backoff = 0
	}
	if c.snd.wnd == 0 && wnd > 0 {
		c.reopened(now)
	}
	c.noteWindow(seq, ack, wnd)
	if wnd == 0 && c.userTimeout == 0 {
		// A peer that says so is alive (RFC 9293 section 3.8.6.1: the
		// connection must stay open as long as probes are answered).
		c.loss.stuck = 0
	}
}

// newerWindow reports whether a segment with seq and ack is not older than the one
// that has told the peer's window (RFC 9293 section 3.10.7.4, fifth step).
func (c *Conn) newerWindow(seq, ack wire.Seq) bool {
	return c.snd.wl1.LessThan(seq) || c.snd.wl1 == seq && c.snd.wl2.LessEq(ack)
}

func (c *Conn) noteWindow(seq, ack wire.Seq, wnd uint32) {
	c.snd.wl1, c.snd.wl2 = seq, ack
	c.snd.wnd = wnd
	c.snd.maxWnd = max(c.snd.maxWnd, wnd)
}

// flight is the bytes sent and not acknowledged, as far as they count as still
// under way.
func (c *Conn) flight() uint32 { return c.board.pipe(uint32(c.snd.nxt - c.snd.una)) }
