package tcp

import (
	"github.com/zctap/zctap/internal/mono"
	"github.com/zctap/zctap/internal/wire"
)

// Bounds of what is remembered of data under way. A record is made for each call of
// Transmit, of a segment or a super-segment, and split where the peer says that it
// holds a part.
const (
	// From maxRecords on, what is sent is put to the record before it, and blocks
	// count only as far as they end where records do.
	maxRecords = 4096
	// With fullRecords nothing new is sent.
	fullRecords = 2 * maxRecords
	// A peer may have as many records made as there are segments under way, twice over, and
	// spareRecords: who received those tells of them, not of single bytes.
	spareRecords = 64
	// maxSpareBoards bounds the memory kept for the next connections that send, of
	// maxSpareRecords each.
	maxSpareBoards  = 64
	maxSpareRecords = 2048
)

// A scoreboard remembers what is between SND.UNA and SND.NXT, if the peer
// understands SACK (RFC 6675 section 3): without gaps, in the order of the stream,
// with neighbours that are both SACKed put together. The bytes themselves are in
// the send buffer until they are acknowledged cumulatively, whatever is SACKed (RFC
// 2018 section 8).
type scoreboard struct {
	tx *txList // nil while empty; from Shared.spareBoards

	sacked, lost, resent uint32 // bytes of such records
}

func (b *scoreboard) empty() bool      { return b.tx == nil || b.tx.count == 0 }
func (b *scoreboard) full() bool       { return b.tx != nil && b.tx.count >= fullRecords }
func (b *scoreboard) unrepaired() bool { return b.lost > b.resent }
func (b *scoreboard) pipe(sent uint32) uint32 {
	// RFC 6675 section 4, SetPipe: what was sent and is neither SACKed nor lost,
	// and what was sent again.
	return sent - b.sacked - b.lost + b.resent
}

// track notes that [seq, end) was sent; flags is again or 0.
func (c *Conn) track(now mono.Time, seq, end wire.Seq, flags uint8) {
	b := &c.board
	if b.tx == nil {
		b.tx = c.sh.spareBoard()
	}
	t := b.tx
	if i := t.last(); i != none {
		last := t.at(i)
		if last.flags == flags && (last.sent == now || t.count >= maxRecords) {
			t.unqueue(i)
			last.end, last.sent = end, now
			t.queue(i)
			return
		}
	}
	t.queue(t.insert(t.last(), seq, end, now, flags))
}

// untrack forgets everything.
func (c *Conn) untrack() {
	t := c.board.tx
	c.board = scoreboard{}
	if t != nil && len(c.sh.spareBoards) < maxSpareBoards && cap(t.all) <= maxSpareRecords {
		t.reset()
		c.sh.spareBoards = append(c.sh.spareBoards, t)
	}
}

// spareBoard is memory for a connection's records.
func (sh *Shared) spareBoard() *txList {
	n := len(sh.spareBoards)
	if n == 0 {
		return newTxList()
	}
	t := sh.spareBoards[n-1]
	sh.spareBoards = sh.spareBoards[:n-1]
	return t
}

// ack drops what is before una, and tells d what of it is news.
func (b *scoreboard) ack(una wire.Seq, d *delivery) {
	if b.tx == nil {
		return
	}
	t := b.tx
	for i := t.first(); i != none; i = t.first() {
		r := t.at(i)
		if una.LessEq(r.seq) {
			return
		}
		part := *r
		part.end = earlier(r.end, una)
		b.count(&part, -1)
		if part.flags&sacked == 0 {
			d.take(&part)
		}
		if una.LessThan(r.end) {
			r.seq = una
			return
		}
		t.unqueue(i)
		t.remove(i)
	}
}

// sack marks what there is of [start, end), and tells d what of it is news.
func (b *scoreboard) sack(start, end wire.Seq, d *delivery) {
	if b.tx == nil {
		return
	}
	t := b.tx
	i := t.find(start)
	if i == none {
		return
	}
	if r := t.at(i); r.seq.LessThan(start) && r.flags&sacked == 0 {
		b.split(i, start, d)
		i = t.at(i).next // without a split all of the record stays as it is
	}
	for i != none && t.at(i).seq.LessThan(end) {
		r := t.at(i)
		if r.flags&sacked == 0 {
			if end.LessThan(r.end) {
				if !b.split(i, end, d) {
					return
				}
				r = t.at(i)
			}
			d.take(r)
			d.sacked += r.len()
			b.mark(i, sacked)
			i = b.join(i)
		}
		i = t.at(i).next
	}
}

// join puts record i, which is SACKed, together with neighbours that are, too, and returns
// what became of it.
func (b *scoreboard) join(i txID) txID {
	t := b.tx
	if prev := t.at(i).prev; prev != none && t.at(prev).flags&sacked != 0 {
		t.at(prev).end = t.at(i).end
		t.remove(i)
		i = prev
	}
	if next := t.at(i).next; next != none && t.at(next).flags&sacked != 0 {
		t.at(i).end = t.at(next).end
		t.remove(next)
	}
	return i
}

// split cuts record i at seq, within it, unless there are too many for what is under way.
func (b *scoreboard) split(i txID, at wire.Seq, d *delivery) bool {
	if b.tx.count >= int(min(spareRecords+2*d.segments, maxRecords)) {
		return false
	}
	b.cut(i, at)
	return true
}

// cut is split for what we decide ourselves: full segments, so that what is
// buffered to send bounds them. The right part is the next record.
func (b *scoreboard) cut(i txID, at wire.Seq) {
	t := b.tx
	r := t.at(i)
	n := t.insert(i, at, r.end, r.sent, r.flags)
	r = t.at(i)
	r.end = at
	if r.flags&sacked == 0 {
		t.follow(i, n)
	}
}

// count adds r to the sums, or takes it out.
func (b *scoreboard) count(r *txRecord, sign int) {
	n := r.len() * uint32(sign)
	if r.flags&sacked != 0 {
		b.sacked += n
	}
	if r.flags&lost != 0 {
		b.lost += n
	}
	if r.flags&resent != 0 {
		b.resent += n
	}
}

// mark sets the flags of record i.
func (b *scoreboard) mark(i txID, flags uint8) { b.markSent(i, b.tx.at(i).sent, flags) }

// markSent sets the flags of record i, and when it was sent.
func (b *scoreboard) markSent(i txID, sent mono.Time, flags uint8) {
	t := b.tx
	t.unqueue(i)
	t.at(i).sent = sent
	b.set(i, flags)
	t.queue(i)
}

// set is mark but for the order of sending.
func (b *scoreboard) set(i txID, flags uint8) {
	r := b.tx.at(i)
	b.count(r, -1)
	r.flags = flags
	b.count(r, +1)
	b.tx.note(i)
}

// forgive takes back that anything is lost.
func (b *scoreboard) forgive() {
	if b.tx == nil {
		return
	}
	t := b.tx
	t.unqueueHoles()
	for i := t.firstWith(lost); i != none; i = t.firstWith(lost) {
		b.set(i, t.at(i).flags&^(lost|resent))
	}
}

// renege takes back that the peer holds anything, if it has dropped what it held:
// it does not when it acknowledges up to there and no further (RFC 2018 section 8). All of it
// is to be sent again, then, and so is what is under way: a peer that drops what it held has
// no room for what lies behind it. (Should that be lost only later, each record would have to be put
// before all that were dropped, which count as the last that were sent.)
func (b *scoreboard) renege(now mono.Time) bool {
	t := b.tx
	if b.empty() || t.at(t.first()).flags&sacked == 0 {
		return false
	}
	for i := t.oldest(); i != none; i = t.oldest() {
		b.mark(i, t.at(i).flags&^resent|lost)
	}
	for i := t.firstWith(sacked); i != none; i = t.firstWith(sacked) {
		b.drop(now, i)
	}
	return true
}

// loseLong has all that is longer than most bytes be lost that the peer is not known to hold,
// and reports whether there is any.
func (b *scoreboard) loseLong(most uint32) (found bool) {
	t := b.tx
	for i := t.all[holes].newer; i != holes && !found; i = t.at(i).newer {
		found = t.at(i).len() > most
	}
	for i := t.oldest(); i != none; {
		r := t.at(i)
		next := r.newer
		if r.len() > most {
			b.mark(i, r.flags&^resent|lost)
			found = true
		}
		i = next
	}
	return found
}

// drop notes that the peer does not hold record i, which is to be sent again. If it was
// SACKed it is not known any more when it was sent.
func (b *scoreboard) drop(now mono.Time, i txID) {
	r := b.tx.at(i)
	if r.own()&missing != 0 {
		return
	}
	sent, flags := r.sent, r.flags&^(sacked|resent)|lost
	if r.flags&sacked != 0 {
		sent, flags = now, flags|again
	}
	b.markSent(i, sent, flags)
}
