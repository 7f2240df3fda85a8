package tcp

import (
	"github.com/zctap/zctap/internal/mono"
	"github.com/zctap/zctap/internal/wire"
)

// newHeader begins a segment in the stack's scratch header; transmit ends it.
func (c *Conn) newHeader(now mono.Time, seq wire.Seq, flags wire.Flags) *wire.TCP {
	h := &c.sh.header
	*h = wire.TCP{
		SrcPort: c.tuple.Local.Port(),
		DstPort: c.tuple.Remote.Port(),
		Seq:     seq,
		Flags:   flags,
	}
	if c.opt.timestamps {
		h.Options.HasTimestamps = true
		h.Options.TSVal = c.timestamp(now)
		h.Options.TSEcr = c.opt.tsRecent
	}
	switch {
	case c.state.synchronized():
		if c.ecn.echo {
			h.Flags |= wire.ECE
		}
		h.Ack = c.rcv.nxt
		h.Window = c.offer()
	case c.state == SynReceived:
		h.Ack = c.rcv.nxt // the window stays what the SYN-ACK offered
		h.Window = uint16(min(c.offered()>>c.opt.rcvShift, 1<<16-1))
	}
	return h
}

// transmit sends the segment, and notes that it carried an ACK.
func (c *Conn) transmit(h *wire.TCP, payload [2][]byte) {
	c.transmitAs(wire.NotECT, h, payload)
}

// transmitNew sends a segment with data that was never sent before. What is sent
// again, and what probes a window, is not of a transport that takes part in ECN (RFC
// 3168 sections 6.1.5 and 6.1.6).
func (c *Conn) transmitNew(h *wire.TCP, payload [2][]byte) {
	if c.ecn.marks() {
		c.transmitAs(wire.ECT0, h, payload)
	} else {
		c.transmitAs(wire.NotECT, h, payload)
	}
}

// SetDSCP sets the differentiated services codepoint (RFC 2474), 6 bits, of what is sent
// from now on (RFC 9293 section 3.9.1.9, MUST-48).
func (c *Conn) SetDSCP(dscp uint8) { c.opt.class = dscp << 2 }

func (c *Conn) transmitAs(ecn wire.ECN, h *wire.TCP, payload [2][]byte) {
	n := len(payload[0]) + len(payload[1])
	if n == 0 {
		c.transmitBare(ecn, h)
		return
	}
	c.sh.Stats.Supers++
	c.sh.Stats.SentBytes += uint64(n)
	c.carried(h)
	c.pass(ecn, h, payload)
}

// transmitBare is transmitAs for a segment without payload.
func (c *Conn) transmitBare(ecn wire.ECN, h *wire.TCP) {
	c.sh.Stats.PureAcks++
	c.carried(h)
	var a wire.Ack
	if c.sh.Acks != nil && h.PutAck(&a) {
		c.sh.Acks.Ack(c.opt.class|uint8(ecn), &c.tuple, &a)
		return
	}
	c.pass(ecn, h, [2][]byte{})
}

// carried notes that an ACK is on its way, if h is of one.
func (c *Conn) carried(h *wire.TCP) {
	if h.Flags.Has(wire.ACK) {
		c.acknowledging()
	}
}

// acknowledging notes that an ACK of all that has come is on its way.
func (c *Conn) acknowledging() {
	c.opt.lastAck = c.rcv.nxt
	c.acks.sent()
	c.timers.stop(timerDelayedAck)
}

// pass gives a segment to the function that sends such ones.
func (c *Conn) pass(ecn wire.ECN, h *wire.TCP, payload [2][]byte) {
	from, to, mss := c.tuple.Local.Addr(), c.tuple.Remote.Addr(), int(c.snd.mss)
	switch {
	case c.opt.class != 0 && c.sh.TransmitClass != nil:
		c.sh.TransmitClass(c.opt.class|uint8(ecn), from, to, h, payload, mss)
	case ecn == wire.ECT0:
		c.sh.TransmitECT(from, to, h, payload, mss)
	default:
		c.sh.Transmit(from, to, h, payload, mss)
	}
}

// sendAck sends an ACK without payload.
func (c *Conn) sendAck(now mono.Time) {
	h := c.newHeader(now, c.bareSeq(), wire.ACK)
	if c.report.due() {
		c.sackBlocks(&h.Options, 0)
	}
	c.transmit(h, [2][]byte{})
}

// bareSeq is the sequence number of segments without payload: SND.NXT, where it
// was highest, but within the peer's window if that has shrunk, or they would not be
// acceptable. A scaled window says less than it is, by up to a unit: what is beyond by
// less has not shrunk, and the peer, if it has all of it, has no use for an older number
// (two ends that send each other such ones would do so for ever). A SYN needs no window.
func (c *Conn) bareSeq() wire.Seq {
	edge := c.snd.una.Add(c.snd.wnd)
	if beyond := c.snd.max.Sub(edge); c.accepted && beyond >= 1<<c.opt.sndShift {
		return edge
	}
	return c.snd.max
}

// sendReset sends the RST of a connection that is closed already.
func (c *Conn) sendReset(now mono.Time) {
	c.resetDue = false
	c.sh.Stats.ResetsSent++
	h := c.newHeader(now, c.bareSeq(), wire.RST|wire.ACK)
	h.Ack = c.rcv.nxt
	c.transmit(h, [2][]byte{})
}

// Refuse answers a segment that belongs to no connection with a RST (RFC 9293
// section 3.10.7.1), or with nothing if it is one itself, and takes over its
// frags. The caller limits the rate.
func (sh *Shared) Refuse(s *Segment, t wire.Tuple) {
	sh.sendRefusal(s, t)
	sh.Pool.PutFrags(s.Frags)
}

func (sh *Shared) sendRefusal(s *Segment, t wire.Tuple) {
	in := s.TCP
	if in.Flags.Has(wire.RST) {
		return
	}
	h := &sh.header
	*h = wire.TCP{SrcPort: t.Local.Port(), DstPort: t.Remote.Port(), Flags: wire.RST}
	if in.Flags.Has(wire.ACK) {
		h.Seq = in.Ack
	} else {
		h.Flags |= wire.ACK
		h.Ack = in.Seq.Add(uint32(s.Len))
		if in.Flags.Has(wire.SYN) {
			h.Ack++
		}
		if in.Flags.Has(wire.FIN) {
			h.Ack++
		}
	}
	sh.Stats.ResetsSent++
	sh.Transmit(t.Local.Addr(), t.Remote.Addr(), h, [2][]byte{}, 0)
}
