package tcp

import (
	"time"

	"github.com/zctap/zctap/internal/mono"
	"github.com/zctap/zctap/internal/wire"
)

// A Wait is what is left of a connection in TIME-WAIT (RFC 9293 section 3.6.1): what it
// takes to answer what is still under way, and to tell a SYN that may begin the next
// connection of the same ends from an old one. A small part of a Conn, as a busy server
// has thousands. Engine goroutine only.
type Wait struct {
	// Tag is the connection's.
	Tag any
	// Prev and Next link the caller's list.
	Prev, Next *Wait
	// Due is when it is over. Input may put it off.
	Due mono.Time

	sh         *Shared
	tuple      wire.Tuple
	challenged mono.Time // when the last challenge ACK was sent
	snd, rcv   wire.Seq  // next numbers, behind both FINs
	wnd        uint32    // offered, in bytes from rcv
	tsOffset   uint32
	tsRecent   uint32
	rcvShift   uint8
	timestamps bool
	ended      bool
}

// reuseAfter is how long ends that are waiting are not dialed again, also with
// timestamps, whose clock has to have moved on (Linux, tcp_tw_reuse).
const reuseAfter = time.Second

// enterTimeWait waits for what may still be under way.
func (c *Conn) enterTimeWait(now mono.Time) {
	c.sh.timeWaits++
	c.sh.conns--
	c.state = TimeWait
	c.wait = &Wait{
		Tag: c.Tag, Due: now.Add(c.sh.TimeWait), sh: c.sh, tuple: c.tuple,
		snd: c.snd.max, rcv: c.rcv.nxt, wnd: c.offered(),
		tsOffset: c.opt.tsOffset, tsRecent: c.opt.tsRecent,
		rcvShift: c.opt.rcvShift, timestamps: c.opt.timestamps,
	}
	c.timers = timers{}
	c.timers.set(timerClose, c.wait.Due)
	c.untrack()
	c.closePack()
	c.constrain(false)
}

// inputTimeWait processes a segment in TIME-WAIT before Retire.
func (c *Conn) inputTimeWait(now mono.Time, s *Segment) {
	c.wait.wnd = c.offered() // the last ACK has moved it
	c.wait.Input(now, s)
	c.timers.set(timerClose, c.wait.Due)
}

// Retire ends a connection in TIME-WAIT that has put out and shown all that it had, and
// returns what is to take its place in the caller's table; nil if it is not so far. The
// connection is done then.
func (c *Conn) Retire() *Wait {
	if c.state != TimeWait || c.dirty || c.acks.now || c.publishDue {
		return nil
	}
	c.wait.wnd = c.offered()
	c.state = Closed
	c.timers = timers{}
	return c.wait
}

// Reopen reports whether s is a SYN that may begin the next connection of c's ends, in
// TIME-WAIT and before Retire. If so c is closed, and the caller forgets it and
// gives s, untouched, to the listener; the new connection is to Follow what is returned.
// If not, it is nil, and s goes to c's Input as usual.
func (c *Conn) Reopen(s *Segment) *Wait {
	if c.state != TimeWait || !c.wait.Reopens(s) {
		return nil
	}
	c.kill(nil)
	return c.wait
}

// Tuple is the connection's key.
func (w *Wait) Tuple() *wire.Tuple { return &w.tuple }

// End ends the wait; the caller forgets it.
func (w *Wait) End() {
	if !w.ended {
		w.ended = true
		w.sh.timeWaits--
	}
}

// Input processes a segment, and takes over its frags: its payload is of no interest.
// RST is ignored (RFC 1337): an old duplicate must not end the wait.
func (w *Wait) Input(now mono.Time, s *Segment) {
	h, drops := s.TCP, &w.sh.Stats.Drops
	w.sh.Pool.PutFrags(s.Frags)
	switch {
	case h.Flags.Has(wire.RST):
		drops.BlindReset++
	case h.Flags.Has(wire.SYN):
		drops.BlindSyn++
		w.challenge(now)
	case h.Flags.Has(wire.FIN) && h.Seq.Add(uint32(s.Len)+1) == w.rcv:
		// Our ACK was lost: acknowledge again, and start over (RFC 9293 section
		// 3.10.7.4, TIME-WAIT).
		if h.Options.HasTimestamps && int32(h.Options.TSVal-w.tsRecent) > 0 {
			w.tsRecent = h.Options.TSVal
		}
		w.Due = now.Add(w.sh.TimeWait)
		w.sendAck(now)
	case s.Len > 0:
		drops.AfterFin++
		w.sendAck(now)
	case h.Seq != w.rcv && uint32(h.Seq-w.rcv) > w.wnd:
		drops.AfterFin++
		w.challenge(now)
	}
}

// challenge answers what costs its sender nothing, as Conn.challenge does.
func (w *Wait) challenge(now mono.Time) {
	if w.challenged == 0 || now.Sub(w.challenged) >= challengeInterval {
		w.challenged = now
		w.sh.Stats.ChallengeAcks++
		w.sendAck(now)
	}
}

func (w *Wait) sendAck(now mono.Time) {
	h := &w.sh.header
	*h = wire.TCP{
		SrcPort: w.tuple.Local.Port(), DstPort: w.tuple.Remote.Port(),
		Seq: w.snd, Ack: w.rcv, Flags: wire.ACK,
		Window: uint16(min(w.wnd>>w.rcvShift, 1<<16-1)),
	}
	if w.timestamps {
		o := &h.Options
		o.HasTimestamps, o.TSVal, o.TSEcr = true, clock(now)+w.tsOffset, w.tsRecent
	}
	w.sh.Stats.PureAcks++
	w.sh.Transmit(w.tuple.Local.Addr(), w.tuple.Remote.Addr(), h, [2][]byte{}, 0)
}

// Reopens reports whether s is a SYN that may begin the next connection of the same
// ends: its sequence numbers, or its timestamps, are beyond the old ones (RFC 9293 section
// 3.6.1, RFC 6191). If so the caller ends w and gives s to the listener; the new
// connection is to Follow w.
func (w *Wait) Reopens(s *Segment) bool {
	h := s.TCP
	if h.Flags&(wire.SYN|wire.ACK|wire.RST) != wire.SYN {
		return false
	}
	newer := w.rcv.LessThan(h.Seq)
	if w.timestamps && h.Options.HasTimestamps {
		if d := int32(h.Options.TSVal - w.tsRecent); d != 0 {
			newer = d > 0
		}
	}
	return newer
}

// Reusable reports whether we may dial the same ends again: whatever was sent before
// has an older timestamp than all that will be (RFC 6191 section 2, RFC 7323 section 5),
// which PAWS drops.
func (w *Wait) Reusable(now mono.Time) bool {
	entered := w.Due.Add(-w.sh.TimeWait)
	return w.timestamps && now.Sub(entered) >= reuseAfter
}

// Follow makes c, whose SYN was not sent yet, the next connection of w's ends: its
// numbers begin beyond w's (RFC 1122 section 4.2.2.13), however fast those have grown.
func (c *Conn) Follow(w *Wait) {
	if first := w.snd.Add(1 << 16); c.snd.iss.LessThan(first) {
		c.snd.iss, c.snd.una, c.snd.nxt, c.snd.max = first, first, first, first
	}
}
