package tcp

import "github.com/zctap/zctap/internal/wire"

// Explicit congestion notification (RFC 3168 section 6.1): routers mark packets
// instead of dropping them, the receiver echoes the mark, and the sender reduces its
// congestion window as if something had been lost.

// ecnSetup are the flags of a SYN that asks for ECN.
const ecnSetup = wire.ECE | wire.CWR

// ecnState is one connection's part in it.
type ecnState struct {
	on   bool // both ends take part; in SYN-SENT: we asked
	mute bool // a SYN, ours or the peer's, did not ask: what we send is not to be marked
	echo bool // the peer is to be told of a mark, until it says that it was
	held bool // no further reduction until round is acknowledged
	// round is SND.NXT at the last reduction: marks of what was sent before it are
	// the same congestion.
	round wire.Seq
}

// negotiateECN takes the flags of the peer's SYN (section 6.1.1). Who asks gets it,
// we ask only if Config.ECN says so: Linux's tcp_ecn of 2 and 1.
func (c *Conn) negotiateECN(h *wire.TCP) {
	e := &c.ecn
	switch {
	case c.sh.TransmitECT == nil:
		e.on = false
	case h.Flags.Has(wire.ACK):
		// Both flags are our own, sent back by something that does not know them.
		e.on = e.on && h.Flags&ecnSetup == wire.ECE
	default:
		e.on = (e.on || c.state != SynSent) && h.Flags.Has(ecnSetup)
	}
}

// synECN is the flags of our SYN or SYN-ACK. A SYN that has to be repeated may have
// been dropped for them (section 6.1.1.1), and so has the answer to one that comes again without.
func (c *Conn) synECN() wire.Flags {
	switch {
	case !c.ecn.on || c.ecn.mute:
		return 0
	case c.state == SynReceived:
		return wire.ECE
	case c.snd.max == c.snd.iss:
		return ecnSetup
	}
	c.ecn.mute = true // whatever the answer (section 6.1.1)
	return 0
}

// synAgain takes the flags of a SYN that comes again. One that does not ask any more has lost
// its answer, perhaps for the flags (section 6.1.1). Or that is only late: then the peer goes by it
// (as Linux does), and needs to hear of marks.
func (e *ecnState) synAgain(f wire.Flags) { e.mute = e.mute || !f.Has(ecnSetup) }

// marks reports whether data goes out as of a transport that takes part.
func (e *ecnState) marks() bool { return e.on && !e.mute }

// inputECN takes in what an acceptable segment says of the path from the peer to us
// (section 6.1.3). Who sends data learns of a change at once.
func (c *Conn) inputECN(s *Segment) {
	e := &c.ecn
	if s.TCP.Flags.Has(wire.CWR) && e.echo {
		e.echo = false
		c.acks.now = c.acks.now || s.Len > 0 // its window may be a single segment by now
	}
	if s.ECN == wire.CE && s.Len > 0 {
		c.sh.Stats.Marked += uint64(s.count())
		c.acks.now = c.acks.now || !e.echo
		e.echo = true
	}
}

// pass ends the round of the last reduction when all of it is acknowledged, once and for all:
// gigabytes later its number would seem to lie ahead.
func (e *ecnState) pass(una wire.Seq) { e.held = e.held && una.LessThan(e.round) }

// echoed runs when the peer has seen a mark, before its ACK is taken in (section
// 6.1.2): the window is reduced once for what is under way, and not while a loss has
// it reduced already. To two segments at the least, as for a loss (RFC 5681 (4)): so it
// hardly ever comes to what the RFC has a window of one segment do, to wait for the
// retransmission timer. Linux doesn't, either.
func (c *Conn) echoed() {
	e, l := &c.ecn, &c.loss
	if l.active || l.timedOut || e.held || c.snd.nxt == c.snd.una {
		return
	}
	c.cc.reduce(min(c.cc.cwnd, uint32(c.snd.nxt-c.snd.una)), c.snd.mss, false)
	c.cc.cwnd = min(c.cc.cwnd, c.cc.ssthresh)
	c.certain()
	e.held, e.round = true, c.snd.nxt
	c.sh.Stats.MarksEchoed++
}

// reducedFlag is CWR for the first new data after the congestion window was reduced,
// for whatever cause (section 6.1.2).
func (c *Conn) reducedFlag() wire.Flags {
	if !c.cc.reduced {
		return 0
	}
	c.cc.reduced = false
	return wire.CWR
}
