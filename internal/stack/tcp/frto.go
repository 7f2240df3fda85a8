package tcp

import "github.com/zctap/zctap/internal/mono"

// F-RTO (RFC 5682) tells whether a timeout was for nothing, of any peer: if something
// arrives that was sent before it and not again, what was under way was late and not lost.
// For that to be seen, the first ACK after a timeout has new data sent instead of what else
// seems to be lost. With SACK (section 3) it is seen of each segment. Without (section 2) of
// the second ACK only: one that covers something new is for what was sent once, a duplicate
// for the new data, which arrived behind a gap.

// Where F-RTO stands.
const (
	frtoOff   = iota
	frtoFirst // the oldest was sent again; no ACK has made progress since
	frtoNew   // new data is to be sent
	frtoSent  // it was
)

// beginFRTO runs at a timeout, before it changes what is under way.
func (c *Conn) beginFRTO() {
	switch l, w := &c.loss, &c.cc; {
	case l.active || l.timedOut:
		if w.frto != frtoFirst { // unless nothing was heard since the timeout before
			w.frto = frtoOff
		}
	case !c.opt.sack && c.snd.una.LessThan(l.recover):
		// What is under way was sent twice already, after an ICMP error: nobody
		// could tell which copy an ACK is for.
		w.frto = frtoOff
	default:
		w.frto = frtoFirst
	}
}

// stepFRTO is what an ACK after a timeout means that does not show it to be spurious
// (RFC 5682 section 3.1): progress has new data sent, once; what comes of that decides.
func (c *Conn) stepFRTO(d *delivery, progress bool) {
	switch w := &c.cc; {
	case w.frto == frtoFirst && progress:
		w.frto = frtoNew
	case w.frto == frtoSent && (progress || d.sacked > 0):
		w.frto = frtoOff
	}
}

// ackedAfterTimeout is what progress after a timeout means without SACK (RFC 5682
// section 2.1). whole tells that it covers all that was sent again.
func (c *Conn) ackedAfterTimeout(whole bool) {
	l, w := &c.loss, &c.cc
	switch {
	case w.frto == frtoNew || w.frto == frtoSent: // step 3.b; the former if both ACKs came in one batch
		c.snd.nxt = c.snd.max // nothing is sent again
		w.undo()
		l.timedOut = false
		c.certain()
		c.sh.Recovery.Undone++
	case l.recover.LessEq(c.snd.una): // step 2.a: for all we know it was what was sent again
		l.timedOut = false
		w.frto = frtoOff
	case w.frto == frtoFirst && whole:
		w.frto = frtoNew // step 2.b
	default:
		w.frto = frtoOff
	}
}

// duplicateAfterTimeout is what a duplicate ACK after a timeout means without SACK: the
// loss was one. It reports whether that is news, and everything is sent again.
func (c *Conn) duplicateAfterTimeout() bool {
	l, w := &c.loss, &c.cc
	stage := w.frto
	w.frto = frtoOff // step 2.a
	if stage != frtoSent {
		return false
	}
	w.cwnd = min(w.cwnd, 3*c.snd.mss) // step 3.a
	l.recover = c.snd.max
	c.snd.nxt = c.snd.una
	c.rtt.cancel()
	return true
}

// sendForward sends new data where F-RTO asks for it, and reports whether it did.
func (c *Conn) sendForward(now mono.Time) bool {
	w := &c.cc
	if w.frto != frtoNew {
		return false
	}
	nxt, cwnd := c.snd.nxt, w.cwnd
	if !c.opt.sack {
		// Two segments, whatever is under way; what seems to be lost is not known not to be.
		c.snd.nxt = c.snd.max
		w.cwnd = c.flight() + 2*c.snd.mss
	}
	before := c.snd.nxt
	c.sendNew(now)
	sent := c.snd.nxt != before
	w.frto = frtoSent
	if !sent {
		w.frto = frtoOff // there is nothing to try it with
		c.snd.nxt = nxt
	}
	if !c.opt.sack {
		w.cwnd = cwnd
	}
	return sent
}
