package tcp

import (
	"syscall"

	"github.com/zctap/zctap/internal/mono"
	"github.com/zctap/zctap/internal/wire"
)

// Input processes a segment of the connection and takes over its frags. The
// connection becomes dirty. Bytes of the network are checked in the order of
// RFC 9293 section 3.10.7; the checksum was verified by the caller.
func (c *Conn) Input(now mono.Time, s *Segment) {
	c.sh.Stats.SegmentsIn += uint64(s.count())
	if c.calm && s.Len > 0 && s.Len <= int(c.offered()) && s.ECN != wire.CE && (c.mergeable(s) || c.predicted(s.TCP)) {
		c.inputPredicted(now, s)
		return
	}
	c.touch()
	switch c.state {
	case Closed:
		c.sh.Stats.Drops.ClosedConn++
		c.sh.Pool.PutFrags(s.Frags)
		return
	case SynSent:
		c.inputSynSent(now, s)
		return
	case TimeWait:
		c.inputTimeWait(now, s)
		return
	}
	seq, flags := s.TCP.Seq, s.TCP.Flags
	if c.state == SynReceived && seq == c.rcv.irs && flags.Has(wire.SYN) && !flags.Has(wire.RST) {
		if !flags.Has(wire.ACK) {
			// Our SYN-ACK was lost, or crossed the peer's second SYN.
			c.synDue = true
			c.ecn.synAgain(flags)
			c.sh.Pool.PutFrags(s.Frags)
			return
		}
		// The other half of a simultaneous open: beyond its SYN it is the
		// ACK of our SYN.
		seq, flags = seq.Add(1), flags&^wire.SYN
	}
	if !c.check(now, s, seq, flags) {
		c.sh.Pool.PutFrags(s.Frags)
		return
	}
	c.keep.heard = now
	if c.ecn.on {
		c.inputECN(s)
	}
	c.text(now, s, seq, flags)
}

// check is the first to the fifth step of RFC 9293 section 3.10.7.4; it reports
// whether the segment's text is to be looked at.
func (c *Conn) check(now mono.Time, s *Segment, seq wire.Seq, flags wire.Flags) bool {
	h, drops := s.TCP, &c.sh.Stats.Drops
	length := uint32(s.Len)
	if flags.Has(wire.FIN) {
		length++
	}
	if !c.checkTimestamp(now, h, length) {
		return false
	}
	if flags.Has(wire.RST) {
		c.inputReset(now, seq)
		return false
	}
	if !c.acceptable(seq, length) {
		c.retakeTimestamp(now, h, seq, length)
		if c.needsOldAck(h, seq, length, flags) {
			c.acks.now = true // which the peer may need as much
			c.acknowledged(now, s, seq, flags)
			return false
		}
		c.rejected(now, seq, length)
		return false
	}
	if flags.Has(wire.SYN) {
		// RFC 5961 section 4.2: whatever its sequence number. A peer that has
		// restarted answers the challenge with the right RST.
		drops.BlindSyn++
		c.challenge(now)
		return false
	}
	if !flags.Has(wire.ACK) {
		drops.NoAck++
		return false
	}
	c.takeTimestamp(now, h, seq)
	if c.state == SynReceived {
		if h.Ack.LessEq(c.snd.una) || c.snd.max.LessThan(h.Ack) {
			drops.BadAck++
			c.sh.sendRefusal(s, c.tuple)
			return false
		}
		if !c.handshakeAcked(now, h) {
			return false
		}
		c.setSendWindow(now, seq, h.Ack, uint32(h.Window)<<c.opt.sndShift)
		return true
	}
	return c.acknowledged(now, s, seq, flags)
}

// acceptable is the test of RFC 9293 section 3.4: is any of the segment, length
// sequence numbers from seq on, in the window? With two allowances, both of
// them Linux's too. A segment without length may lie just behind the window: a
// peer that has filled it has no other number for its ACKs. And what begins
// right at RCV.NXT is let through with a closed window, for its ACK to be seen
// (section 3.10.7.4, "special allowance"); its data is cut off later.
func (c *Conn) acceptable(seq wire.Seq, length uint32) bool {
	if seq == c.rcv.nxt {
		return true
	}
	if length == 0 {
		return uint32(seq-c.rcv.nxt) <= c.offered()
	}
	return seq.LessThan(c.rcv.adv) && c.rcv.nxt.LessThan(seq.Add(length))
}

// inputReset judges a RST (RFC 5961 section 3.2): only one with exactly the
// number that we expect resets; others in the window are asked for it.
func (c *Conn) inputReset(now mono.Time, seq wire.Seq) {
	switch {
	case seq == c.rcv.nxt:
		c.sh.Stats.ResetsReceived++
		err := error(syscall.ECONNRESET)
		if c.state == SynReceived && c.listener == nil {
			err = syscall.ECONNREFUSED // section 3.10.7.4, simultaneous open
		}
		c.kill(err)
	case seq.InWindow(c.rcv.nxt, c.offered()):
		c.sh.Stats.Drops.BlindReset++
		c.challenge(now)
	default:
		c.sh.Stats.Drops.BlindReset++
	}
}
