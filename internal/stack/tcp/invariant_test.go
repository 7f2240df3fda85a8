package tcp

import (
	"fmt"

	"github.com/zctap/zctap/internal/wire"
)

// checkConn checks what must hold between two calls whatever the network does.
func checkConn(c *Conn) error {
	r := &c.rcv
	if c.state.synchronized() || c.state == SynReceived {
		if r.adv.LessThan(r.nxt) {
			return fmt.Errorf("window's right edge is %d before RCV.NXT", r.nxt.Sub(r.adv))
		}
		if r.finSeen && !c.state.finReceived() && r.fin.LessEq(r.nxt) && r.fin != r.nxt {
			return fmt.Errorf("RCV.NXT is beyond the peer's FIN in %v", c.state)
		}
	}
	if c.snd.nxt.LessThan(c.snd.una) || c.snd.max.LessThan(c.snd.nxt) {
		return fmt.Errorf("una %d nxt %d max %d", c.snd.una, c.snd.nxt, c.snd.max)
	}
	if err := checkBoard(c); err != nil {
		return err
	}
	if c.tlp.open && (c.loss.active || c.loss.timedOut) {
		return fmt.Errorf("a tail loss probe is waited for in recovery: %+v, %+v", c.tlp, c.loss)
	}
	if c.calm && !c.atRest() {
		return fmt.Errorf("calm and not at rest: %+v", *c)
	}
	ranges := 0
	at := r.nxt
	for i := range c.ooo.list {
		h := &c.ooo.list[i]
		if h.frag.Len() == 0 {
			return fmt.Errorf("held frag %d is empty", i)
		}
		if h.seq.LessThan(at) || i == 0 && h.seq == at {
			return fmt.Errorf("held frag %d begins at %d, the one before ends at %d", i, h.seq, at)
		}
		if i == 0 || h.seq != at {
			ranges++
		}
		at = h.end()
	}
	if ranges != c.ooo.ranges {
		return fmt.Errorf("%d ranges counted as %d", ranges, c.ooo.ranges)
	}
	for i := range c.report.count {
		b := c.report.recent[i]
		if !b.Start.LessThan(b.End) || !holds(&c.ooo, b.SACKBlock) {
			return fmt.Errorf("SACK block [%d, %d) is not held", b.Start, b.End)
		}
	}
	if len(c.ooo.list) > 0 {
		if r.adv.LessThan(at) {
			return fmt.Errorf("held data ends %d beyond the window", at.Sub(r.adv))
		}
		if r.finSeen && r.fin.LessThan(at) {
			return fmt.Errorf("held data beyond the peer's FIN")
		}
	}
	if c.Send != nil && c.Send.Buffered() < 0 {
		return fmt.Errorf("%d bytes buffered to send", c.Send.Buffered())
	}
	if c.Send != nil && c.state.synchronized() && c.state != TimeWait {
		end := c.snd.una.Add(uint32(c.Send.Buffered()))
		if c.finSet {
			if c.snd.fin != end && c.snd.una != c.snd.fin.Add(1) {
				return fmt.Errorf("our FIN is not where the data ends")
			}
			end = c.snd.fin.Add(1)
		}
		if end.LessThan(c.snd.max) {
			return fmt.Errorf("%d more sent than written", c.snd.max.Sub(end))
		}
		if c.state != Closed && c.snd.nxt != c.snd.una && !c.dirty && !c.timers.armed(timerRetransmit) {
			return fmt.Errorf("data is under way and no timer runs")
		}
	}
	return nil
}

// holds reports whether r has all of b.
func holds(r *reassembly, b wire.SACKBlock) bool {
	for i := range r.list {
		if h := &r.list[i]; h.seq.LessEq(b.Start) && b.Start.LessThan(h.end()) {
			b.Start = h.end()
		}
	}
	return b.End.LessEq(b.Start)
}

// checkBoard checks that the scoreboard covers what is under way, and its sums.
func checkBoard(c *Conn) error {
	b := &c.board
	if !c.opt.sack || b.tx == nil {
		if b.sacked|b.lost|b.resent != 0 || c.opt.sack && c.snd.una != c.snd.nxt && c.state.synchronized() {
			return fmt.Errorf("nothing tracked of [%d, %d): %+v", c.snd.una, c.snd.nxt, *b)
		}
		return nil
	}
	var want scoreboard
	at := c.snd.una
	t, n := b.tx, 0
	var flags uint8 // of the record before
	for i := t.first(); i != none; i, n = t.all[i].next, n+1 {
		r := &t.all[i]
		if r.seq != at || !r.seq.LessThan(r.end) {
			return fmt.Errorf("record %d is [%d, %d), the one before ends at %d", n, r.seq, r.end, at)
		}
		at = r.end
		switch {
		case r.flags&sacked != 0 && (r.flags != sacked || flags == sacked):
			return fmt.Errorf("record %d: flags %b behind %b", n, r.flags, flags)
		case r.flags&resent != 0 && r.flags&(lost|again) != lost|again:
			return fmt.Errorf("record %d: flags %b", n, r.flags)
		case r.flags&missing != 0 || r.flags&^sacked != 0 && t.find(r.seq) != i:
			return fmt.Errorf("record %d: flags %b, the tree has it at %d and not at %d", n, r.flags, t.find(r.seq), i)
		}
		flags = r.flags
		want.count(r, 1)
	}
	if err := checkTxList(t, n); err != nil {
		return err
	}
	if at != c.snd.nxt {
		return fmt.Errorf("records end at %d, SND.NXT is %d", at, c.snd.nxt)
	}
	if b.sacked != want.sacked || b.lost != want.lost || b.resent != want.resent {
		return fmt.Errorf("sums %d %d %d, want %d %d %d", b.sacked, b.lost, b.resent, want.sacked, want.lost, want.resent)
	}
	return nil
}
