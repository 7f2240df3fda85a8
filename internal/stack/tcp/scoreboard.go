package tcp

import (
	"slices"
	"sort"

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
	// spareRecords: who received those tells of them, not of single bytes. Each ACK looks at
	// all records, so that thousands of them for a few segments would be dear.
	spareRecords = 64
	// maxSpareBoards bounds the memory kept for the next connections that send.
	maxSpareBoards = 64
)

// What became of a record.
const (
	sacked = 1 << iota // the peer holds it; nothing else is known of it then
	lost               // it is believed to be lost
	resent             // it was lost, and what was sent again is under way
	again              // it was sent more than once: an ACK may be for either copy
)

// A txRecord is a run of the send sequence space that was sent at the same time.
type txRecord struct {
	seq, end wire.Seq
	sent     mono.Time // of the last copy
	flags    uint8
}

func (r *txRecord) len() uint32 { return uint32(r.end - r.seq) }

// A scoreboard remembers what is between SND.UNA and SND.NXT, if the peer
// understands SACK (RFC 6675 section 3): without gaps, in the order of the stream,
// with neighbours that are both SACKed put together. The bytes themselves are in
// the send buffer until they are acknowledged cumulatively, whatever is SACKed (RFC
// 2018 section 8).
type scoreboard struct {
	list []txRecord // nil while empty; from Shared.spareBoards
	head int        // the first record in use

	sacked, lost, resent uint32 // bytes of such records
}

func (b *scoreboard) empty() bool         { return b.head == len(b.list) }
func (b *scoreboard) records() []txRecord { return b.list[b.head:] }
func (b *scoreboard) full() bool          { return len(b.list)-b.head >= fullRecords }
func (b *scoreboard) unrepaired() bool    { return b.lost > b.resent }
func (b *scoreboard) pipe(sent uint32) uint32 {
	// RFC 6675 section 4, SetPipe: what was sent and is neither SACKed nor lost,
	// and what was sent again.
	return sent - b.sacked - b.lost + b.resent
}

// track notes that [seq, end) was sent; flags is again or 0.
func (c *Conn) track(now mono.Time, seq, end wire.Seq, flags uint8) {
	b := &c.board
	if b.list == nil {
		b.list = c.sh.spareBoard()
	}
	if n := len(b.list); n > b.head {
		last := &b.list[n-1]
		if last.flags == flags && (last.sent == now || n-b.head >= maxRecords) {
			last.end, last.sent = end, now
			return
		}
	}
	if len(b.list) == cap(b.list) && 2*b.head > len(b.list) {
		b.list = b.list[:copy(b.list, b.list[b.head:])]
		b.head = 0
	}
	b.list = append(b.list, txRecord{seq, end, now, flags})
}

// untrack forgets everything.
func (c *Conn) untrack() {
	b := &c.board
	if b.list != nil && len(c.sh.spareBoards) < maxSpareBoards {
		c.sh.spareBoards = append(c.sh.spareBoards, b.list[:0])
	}
	*b = scoreboard{}
}

// spareBoard is memory for a connection's records.
func (sh *Shared) spareBoard() []txRecord {
	n := len(sh.spareBoards)
	if n == 0 {
		return make([]txRecord, 0, 32)
	}
	l := sh.spareBoards[n-1]
	sh.spareBoards = sh.spareBoards[:n-1]
	return l
}

// ack drops what is before una, and tells d what of it is news.
func (b *scoreboard) ack(una wire.Seq, d *delivery) {
	for ; b.head < len(b.list); b.head++ {
		r := &b.list[b.head]
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
	}
	b.list, b.head = b.list[:0], 0
}

// sack marks what there is of [start, end), and tells d what of it is news.
func (b *scoreboard) sack(start, end wire.Seq, d *delivery) {
	i := b.find(start)
	if i == len(b.list) {
		return
	}
	if r := &b.list[i]; r.seq.LessThan(start) && r.flags&sacked == 0 {
		b.split(i, start, d)
		i++ // without a split all of the record stays as it is
	}
	first := i
	for ; i < len(b.list) && b.list[i].seq.LessThan(end); i++ {
		r := &b.list[i]
		if r.flags&sacked != 0 {
			continue
		}
		if end.LessThan(r.end) {
			if !b.split(i, end, d) {
				break
			}
			r = &b.list[i]
		}
		d.take(r)
		d.sacked += r.len()
		b.count(r, -1)
		r.flags = sacked
		b.count(r, +1)
	}
	b.join(first, i)
}

// join puts the records [i, j), and neighbours that are SACKed like them, together.
func (b *scoreboard) join(i, j int) {
	if i >= j {
		return
	}
	if i > b.head && b.list[i-1].flags&sacked != 0 {
		i--
	}
	if j < len(b.list) && b.list[j].flags&sacked != 0 {
		j++
	}
	b.list[i].end = b.list[j-1].end
	b.list = slices.Delete(b.list, i+1, j)
}

// find returns the index of the record that holds seq.
func (b *scoreboard) find(seq wire.Seq) int {
	l := b.records()
	return b.head + sort.Search(len(l), func(k int) bool { return seq.LessThan(l[k].end) })
}

// split cuts record i at seq, within it, unless there are too many for what is under way.
func (b *scoreboard) split(i int, at wire.Seq, d *delivery) bool {
	if len(b.list)-b.head >= int(min(spareRecords+2*d.segments, maxRecords)) {
		return false
	}
	b.cut(i, at)
	return true
}

// cut is split for what we decide ourselves: full segments, so that what is
// buffered to send bounds them.
func (b *scoreboard) cut(i int, at wire.Seq) {
	right := b.list[i]
	right.seq = at
	b.list[i].end = at
	b.list = slices.Insert(b.list, i+1, right)
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
func (b *scoreboard) mark(i int, flags uint8) {
	r := &b.list[i]
	b.count(r, -1)
	r.flags = flags
	b.count(r, +1)
}

// forgive takes back that anything is lost.
func (b *scoreboard) forgive() {
	for i := b.head; i < len(b.list); i++ {
		b.mark(i, b.list[i].flags&^(lost|resent))
	}
}

// renege takes back that the peer holds anything, if it has dropped what it held:
// it does not when it acknowledges up to there and no further (RFC 2018 section 8).
func (b *scoreboard) renege() bool {
	if b.empty() || b.list[b.head].flags&sacked == 0 {
		return false
	}
	for i := b.head; i < len(b.list); i++ {
		if b.list[i].flags&sacked != 0 {
			b.mark(i, again)
		}
	}
	return true
}
