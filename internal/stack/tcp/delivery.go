package tcp

import (
	"time"

	"github.com/zctap/zctap/internal/mono"
	"github.com/zctap/zctap/internal/wire"
)

// A delivery is what one ACK tells, cumulatively and selectively, of data that was
// not known to have arrived.
type delivery struct {
	now mono.Time

	bytes, sacked uint32 // news; and what of it the SACK blocks brought
	reordered     bool   // something sent once came after what was sent later
	original      bool   // something came that was sent once, before the last loss
	highest       wire.Seq

	// The news that was sent last: RACK's xmit_ts and end_seq. Copies that the ACK
	// may not be for don't count (RFC 8985 section 6.2, step 2).
	any    bool
	newest mono.Time
	end    wire.Seq
	// The same of what was sent only once.
	onceNewest mono.Time
	onceEnd    wire.Seq
	// rtt is a round trip, of what was sent only once; 0: none.
	rtt time.Duration

	safe  bool // SafeACK of PRR: it made progress and showed no loss
	dsack bool // the first block is of something that the peer had already
	twice wire.SACKBlock

	// To judge with.
	fack    wire.Seq      // the highest that had arrived before
	recover wire.Seq      // SND.MAX at the last loss
	minRTT  time.Duration // 0: unknown
	echoes  bool          // echo is valid
	echo    uint32        // the peer's timestamp echo, as our clock had it

	segments uint32 // under way, if all are full
}

// take notes that r has arrived.
func (d *delivery) take(r *txRecord) {
	d.bytes += r.len()
	d.highest = later(d.highest, r.end)
	rtt := d.now.Sub(r.sent)
	if r.flags&again != 0 {
		if rtt < d.minRTT || d.echoes && int32(d.echo-milliseconds(r.sent)) < 0 {
			return
		}
	} else {
		d.reordered = d.reordered || r.end.LessThan(d.fack)
		d.original = d.original || r.end.LessEq(d.recover)
		if sentAfter(r.sent, r.end, d.onceNewest, d.onceEnd) {
			d.onceNewest, d.onceEnd = r.sent, r.end
		}
		if d.rtt == 0 || rtt < d.rtt {
			d.rtt = max(rtt, 1)
		}
	}
	if !d.any || sentAfter(r.sent, r.end, d.newest, d.end) {
		d.any, d.newest, d.end = true, r.sent, r.end
	}
}

// sentAfter reports whether what ends at seq and was sent at t was sent after what
// ends at seq2 and was sent at t2 (RFC 8985 section 6.2, RACK_sent_after).
func sentAfter(t mono.Time, seq wire.Seq, t2 mono.Time, seq2 wire.Seq) bool {
	return t2.Before(t) || t == t2 && seq2.LessThan(seq)
}

// takeBlocks marks what the SACK blocks of h tell. A block is believed if it lies
// within what is under way, beyond the acknowledgment; the first may be a DSACK
// (RFC 2883 section 4). Anything else is counted, and ignored.
func (c *Conn) takeBlocks(h *wire.TCP, d *delivery) {
	o := &h.Options
	edge := later(h.Ack, c.snd.una)
	d.segments = uint32(c.snd.nxt-c.snd.una) / c.snd.mss
	for i, b := range o.SACK[:o.SACKCount] {
		switch {
		case i == 0 && c.isDSACK(h):
			c.sh.Recovery.DuplicatesReported++
			d.dsack, d.twice = true, b
		case b.Start.LessThan(b.End) && edge.LessThan(b.Start) && b.End.LessEq(c.snd.nxt):
			c.board.sack(b.Start, b.End, d)
		case h.Ack.LessThan(c.snd.una) && b.End.LessEq(c.snd.nxt):
			// The ACK was overtaken: what it tells was acknowledged meanwhile.
		default:
			c.sh.Recovery.BadBlocks++
		}
	}
}

// isDSACK reports whether the first block of h tells of something that came twice:
// it lies before the acknowledgment, or within the second block.
func (c *Conn) isDSACK(h *wire.TCP) bool {
	o := &h.Options
	b, old := o.SACK[0], c.snd.una-wire.Seq(c.snd.maxWnd)
	switch {
	case !b.Start.LessThan(b.End) || b.Start.LessThan(old) || c.snd.nxt.LessThan(b.End):
		return false
	case b.End.LessEq(h.Ack):
		return true
	}
	return o.SACKCount > 1 && o.SACK[1].Start.LessEq(b.Start) && b.End.LessEq(o.SACK[1].End)
}
