package tcp

import "github.com/zctap/zctap/internal/wire"

// Undoing: what was taken for a loss was a delay, and the congestion window need not have
// been reduced. Three things tell (RFC 4015 says what to do about it):
//
//   - a timestamp echo: what arrived was sent first (Eifel, RFC 3522);
//   - DSACK: all that was sent again came twice (RFC 3708), which is known a round trip
//     later, perhaps when recovery has ended;
//   - after a timeout, the arrival of something that was sent before it and not again
//     (frto.go).

// doubt begins to look for signs that a reduction, made now, was for nothing.
func (c *Conn) doubt() {
	w := &c.cc
	w.undoable, w.sentAgain, w.again = true, false, 0
	c.doubted = c.snd.una
	if c.tlp.open && c.tlp.copied {
		w.again = c.snd.mss // the copy may be reported, too
	}
}

// certain ends the looking: the window was reduced, or is what it is, for other reasons.
func (c *Conn) certain() { c.cc.undoable, c.cc.frto = false, frtoOff }

// repeated notes that n bytes were sent again for the loss in doubt.
func (c *Conn) repeated(n uint32) { c.cc.sentAgain, c.cc.again = true, c.cc.again+n }

// cameTwice takes in what the peer says has come twice.
func (c *Conn) cameTwice(b wire.SACKBlock) {
	if w := &c.cc; w.undoable && c.doubted.LessThan(b.End) {
		w.again -= min(w.again, uint32(b.End-later(b.Start, c.doubted)))
	}
}

// undoSpurious takes the reduction of the window back if d shows that nothing had been
// lost. progress tells that the ACK covers something new.
func (c *Conn) undoSpurious(d *delivery, progress bool) {
	l, w := &c.loss, &c.cc
	repairing := l.active || l.timedOut
	switch {
	case progress && repairing && l.stamped && d.echoes && int32(d.echo-l.stamp) < 0:
	case w.undoable && w.sentAgain && w.again == 0:
	case l.timedOut && w.undoable && w.frto != frtoOff && d.original:
		// What RACK took for the arrival of what was sent again was not.
		c.rack.xmit, c.rack.end = d.onceNewest, d.onceEnd
		c.rack.rtt = max(d.now.Sub(d.onceNewest), 1)
	default:
		if l.timedOut && w.frto != frtoOff {
			c.stepFRTO(d, progress)
		}
		return
	}
	if repairing {
		c.rack.reordering = c.rack.reordering || l.active
		l.active, l.timedOut, l.resend = false, false, false
		c.board.forgive()
	}
	l.stamped = false
	w.undo()
	c.certain()
	c.sh.Recovery.Undone++
}
