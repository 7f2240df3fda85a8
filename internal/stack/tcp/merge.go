package tcp

import "github.com/zctap/zctap/internal/wire"

// Mergeable is how many bytes of payload may be put together with what h begins, in
// segments that continue each other and differ in nothing but their numbers and PSH,
// so that one Input of all does just what one of each would do: 0 if it might not.
//
// That is so if they are in order and in the window, acknowledge nothing new, and
// nothing is closed, missing or scarce: the first then changes nothing that
// the others are judged by, or what it changes it would change for all. What of our own is
// being repaired does not matter: data that acknowledges nothing new, and reports nothing,
// moves recovery no further, however often it comes. They have the
// timestamp of the first, which PAWS has to let through; one that begins beyond
// what was acknowledged is not noted, which holds for all but the first (RFC 7323
// section 4.3). As for the ACK: that one is due is decided by the sum of all lengths
// and by whether any has PSH (inOrder), and it goes out after the batch.
func (c *Conn) Mergeable(h *wire.TCP) int {
	if c.calm && c.predicted(h) {
		return int(c.offered())
	}
	switch c.state {
	case Established, FinWait1, FinWait2:
	default:
		return 0
	}
	o := &h.Options
	switch {
	case h.Seq != c.rcv.nxt, h.Ack != c.snd.una, h.Flags&^wire.PSH != wire.ACK, o.SACKCount > 0,
		c.orphan, c.rcv.finSeen, !c.ooo.empty(),
		c.opt.timestamps && (!o.HasTimestamps || int32(o.TSVal-c.opt.tsRecent) < 0),
		c.judge() != plenty:
		return 0
	}
	return int(c.offered())
}
