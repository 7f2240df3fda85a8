package tcp

import (
	"github.com/zctap/zctap/internal/mono"
	"github.com/zctap/zctap/internal/wire"
)

// Header prediction, the receiver's half (Van Jacobson, "4BSD TCP header
// prediction", Computer Communication Review, April 1990): a connection that only
// receives gets one segment like the other, for each of which nearly all of RFC 9293
// section 3.10.7 is known to come to nothing. Those are told by a few comparisons, and
// what is left to do is what Input and Output would have done, and no more. It saves
// work, and as much again in cache lines that are not looked at: what is used here is
// the front of Conn.

// atRest reports whether nothing but payload in order, in Established, concerns c:
// nothing waits to be sent, is under way, is held, repaired, probed or being closed. It
// holds until the next touch: whatever changes one of these has c looked at. What an
// application writes does so by SendBuffer.Notify, since look was called before.
func (c *Conn) atRest() bool {
	l, p := &c.loss, &c.tlp
	return c.state == Established && c.snd.nxt == c.snd.una && c.snd.max == c.snd.una && c.Send.Buffered() == 0 &&
		!c.orphan && !c.closing && !c.rcv.finSeen && !c.ecn.echo &&
		c.ooo.empty() && !c.report.due() && !c.pack.open && c.acks.dups == 0 &&
		!l.active && !l.timedOut && !l.resend && !l.persisting && !l.probe && l.dupAcks == 0 && l.stuck == 0 &&
		c.board.empty() && !p.open && !p.due && !p.timing && c.path.soft == 0 && !c.keep.probe &&
		!c.timers.armed(timerRetransmit) && !c.timers.armed(timerHold) && !c.timers.armed(timerClose) && !c.timers.armed(timerLoss)
}

// predicted reports whether a segment with header h is the one that c, which is calm,
// expects next. The peer's window is open, and was: who waits for it to open is not
// calm.
func (c *Conn) predicted(h *wire.TCP) bool {
	o := &h.Options
	return h.Seq == c.rcv.nxt && h.Ack == c.snd.una && h.Flags&^wire.PSH == wire.ACK && o.SACKCount == 0 &&
		h.Window > 0 && c.snd.wnd > 0 &&
		(!c.opt.timestamps || o.HasTimestamps && int32(o.TSVal-c.opt.tsRecent) >= 0) &&
		c.judge() == plenty
}

// mergeable reports whether s, which c expects, was put together: then Mergeable has found all that
// predicted asks for but for the windows.
func (c *Conn) mergeable(s *Segment) bool { return s.Count > 1 && s.TCP.Window > 0 && c.snd.wnd > 0 }

// inputPredicted is Input of a segment that was predicted and has payload, all of it
// in the window.
func (c *Conn) inputPredicted(now mono.Time, s *Segment) {
	c.enlist()
	h := s.TCP
	c.takeTimestamp(now, h, h.Seq)
	c.keep.heard = now
	each := uint32(s.Len)
	if s.Count > 1 {
		each /= uint32(s.Count)
	}
	if seq := h.Seq.Add(uint32(s.Len) - each); c.newerWindow(seq, h.Ack) { // of the last
		c.noteWindow(seq, h.Ack, uint32(h.Window)<<c.opt.sndShift)
	}
	c.push(s.Frags) // from here on as continued
	c.rcv.nxt = c.rcv.nxt.Add(uint32(s.Len))
	c.inOrder(now, uint32(s.Len), each, h.Flags)
	c.confirm(now)
}

// sendPredicted is sendAck of a connection that is calm: it says nothing of ECN or SACK, nothing is
// under way, so that it begins at SND.NXT, and all its flags are ACK.
func (c *Conn) sendPredicted(now mono.Time) {
	if c.sh.Acks == nil {
		c.sendAck(now)
		return
	}
	a := wire.Ack{Seq: c.snd.nxt, Ack: c.rcv.nxt, Window: c.offer(), Flags: wire.ACK}
	if c.opt.timestamps {
		a.Timestamps, a.TSVal, a.TSEcr = true, c.timestamp(now), c.opt.tsRecent
	}
	c.sh.Stats.PureAcks++
	c.acknowledging()
	c.sh.Acks.Ack(c.opt.class, &c.tuple, &a)
}
