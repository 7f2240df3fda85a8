package tcp

import (
	"time"

	"github.com/zctap/zctap/internal/mono"
	"github.com/zctap/zctap/internal/wire"
)

// challengeInterval is how often a connection answers segments that cost their
// sender nothing (RFC 5961 section 7 asks for a limit). It is a connection's
// own: a limit that connections share tells an attacker of one about the other
// (CVE-2016-5696). It also ends the dialogue of two ends that each find the
// other's ACK unacceptable.
const challengeInterval = 500 * time.Millisecond

// challenge sends an ACK that tells the peer where we are, unless one was sent
// just now.
func (c *Conn) challenge(now mono.Time) {
	if c.acks.challenged != 0 && now.Sub(c.acks.challenged) < challengeInterval {
		return
	}
	c.acks.challenged = now
	c.acks.now = true
	c.sh.Stats.ChallengeAcks++
}

// rejected answers a segment that is not acceptable with an ACK (RFC 9293 section
// 3.10.7.4, first step). One with payload or FIN may be a window probe, or a
// retransmission because our ACK was lost, and is always answered.
func (c *Conn) rejected(now mono.Time, seq wire.Seq, length uint32) {
	if length > 0 {
		c.acks.now = true
		c.duplicate(seq, earlier(c.rcv.nxt, seq.Add(length)))
		return
	}
	c.challenge(now)
}

// needsOldAck reports whether a segment that is too old to be acceptable is the only kind that the peer
// may have to tell that it has received what is under way. It sends what we do: an ACK with the last
// number in our window, as far as it knows. If we believe a window that is less than what we have sent,
// be it that it has shrunk or that what told it was overtaken by the next, it may believe the same of
// ours, and have received, as we have, what was sent beyond. Then neither would ever take the other's
// ACK. It is for RFC 9293 section 3.10.7.4 as with a window of zero: no segment is acceptable, but valid
// ACKs are taken. This one has to be for something new, and less than a window old.
func (c *Conn) needsOldAck(h *wire.TCP, seq wire.Seq, length uint32, flags wire.Flags) bool {
	return length == 0 && flags&(wire.ACK|wire.SYN) == wire.ACK && c.state.synchronized() && c.bareSeq() != c.snd.max &&
		seq.LessThan(c.rcv.nxt) && uint32(c.rcv.nxt-seq) <= c.rcv.maxWnd && c.snd.una.LessThan(h.Ack) && h.Ack.LessEq(c.snd.max)
}
