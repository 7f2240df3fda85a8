package tcp

import (
	"sort"

	"github.com/zctap/zctap/internal/mono"
	"github.com/zctap/zctap/internal/wire"
)

// sackReport is what the receiving end tells about data that it holds beyond a
// gap (RFC 2018) or got twice (RFC 2883). Blocks go with ACKs without payload
// only: with data they would take room of a full segment, so that an ACK that has
// something to report goes out by itself, ahead of the data.
type sackReport struct {
	// recent are ranges of the reassembly list, each from gap to gap, the one
	// that changed last first (RFC 2018 section 4).
	recent *[maxReported]heldRange // nil while nothing is held; from Shared.spareReports
	count  uint8                   // of recent in use
	twice  bool                    // dup is to be reported
	dup    wire.SACKBlock
}

// maxReported is more than the 3 or 4 blocks of a header: when a batch has changed
// more ranges than that, several ACKs tell of them.
const maxReported = 12

// A heldRange is a range of the reassembly list.
type heldRange struct {
	wire.SACKBlock
	fresh bool // it has changed since it was reported
}

// due reports whether the next ACK carries blocks.
func (r *sackReport) due() bool { return r.twice || r.count > 0 }

// duplicate notes bytes [start, end) that have come before, for one ACK to report
// (RFC 2883 section 4). Of a batch's it is the last run without a gap.
func (c *Conn) duplicate(start, end wire.Seq) {
	if !c.opt.sack || !start.LessThan(end) {
		return
	}
	r := &c.report
	if r.twice && start.LessEq(r.dup.End) && r.dup.Start.LessEq(end) {
		start, end = earlier(start, r.dup.Start), later(end, r.dup.End)
	}
	r.twice, r.dup = true, wire.SACKBlock{Start: start, End: end}
}

// reported makes the range that holds the byte at seq the most recent one, if
// there is any: payload has come there.
func (c *Conn) reported(seq wire.Seq) {
	if !c.opt.sack {
		return
	}
	list := c.ooo.list
	i := sort.Search(len(list), func(k int) bool { return seq.LessThan(list[k].end()) })
	if i == len(list) || seq.LessThan(list[i].seq) {
		return // it was not kept
	}
	b := wire.SACKBlock{Start: list[i].seq, End: list[i].end()}
	if c.report.recent == nil {
		c.report.recent = c.sh.spareReport()
	}
	b = c.report.absorb(b)
	b = c.ooo.span(b)
	c.report.absorb(b)
	c.report.front(b)
}

// absorb takes the recent ranges that touch b out, and returns all of them as one.
// It saves span to walk over frags that were walked over before.
func (r *sackReport) absorb(b wire.SACKBlock) wire.SACKBlock {
	kept := r.recent[:0]
	for _, o := range r.recent[:r.count] {
		if b.Start.LessEq(o.End) && o.Start.LessEq(b.End) {
			b = wire.SACKBlock{Start: earlier(b.Start, o.Start), End: later(b.End, o.End)}
			continue
		}
		kept = append(kept, o)
	}
	r.count = uint8(len(kept))
	return b
}

// front puts b before the others; the one that changed longest ago makes room.
func (r *sackReport) front(b wire.SACKBlock) {
	r.count = min(r.count+1, maxReported)
	copy(r.recent[1:r.count], r.recent[:])
	r.recent[0] = heldRange{b, true}
}

// spareReport is memory for a connection's ranges.
func (sh *Shared) spareReport() *[maxReported]heldRange {
	n := len(sh.spareReports)
	if n == 0 {
		return new([maxReported]heldRange)
	}
	r := sh.spareReports[n-1]
	sh.spareReports = sh.spareReports[:n-1]
	return r
}

// forgetRanges: nothing is held any more.
func (c *Conn) forgetRanges() {
	r := &c.report
	if r.recent != nil && len(c.sh.spareReports) < maxSpareLists {
		c.sh.spareReports = append(c.sh.spareReports, r.recent)
	}
	r.recent, r.count = nil, 0
}

// span widens b, which begins and ends with frags of the list, to the gaps around
// it.
func (r *reassembly) span(b wire.SACKBlock) wire.SACKBlock {
	i := sort.Search(len(r.list), func(k int) bool { return b.Start.LessEq(r.list[k].seq) })
	for ; i > 0 && r.list[i-1].end() == b.Start; i-- {
		b.Start = r.list[i-1].seq
	}
	i = sort.Search(len(r.list), func(k int) bool { return b.End.LessEq(r.list[k].seq) })
	for ; i < len(r.list) && r.list[i].seq == b.End; i++ {
		b.End = r.list[i].end()
	}
	return b
}

// passed drops the ranges before nxt, which are acknowledged now.
func (r *sackReport) passed(nxt wire.Seq) {
	if r.count == 0 {
		return
	}
	kept := r.recent[:0]
	for _, b := range r.recent[:r.count] {
		if nxt.LessThan(b.Start) {
			kept = append(kept, b)
		}
	}
	r.count = uint8(len(kept))
}

// sackBlocks fills in the SACK option of an ACK without payload: what came twice
// first, then the ranges from recent[from] on (RFC 2883 section 4).
func (c *Conn) sackBlocks(o *wire.TCPOptions, from int) {
	r := &c.report
	n := 0
	if r.twice && from == 0 {
		r.twice = false
		o.SACK[0] = r.dup
		n = 1
	}
	for ; n < c.maxBlocks() && from < int(r.count); n++ {
		r.recent[from].fresh = false
		o.SACK[n] = r.recent[from].SACKBlock
		if c.rcv.finSeen && o.SACK[n].End == c.rcv.fin {
			o.SACK[n].End++ // or the peer sends the last segment again, for its FIN
		}
		from++
	}
	o.SACKCount = uint8(n)
}

func (c *Conn) maxBlocks() int { return wire.MaxSACKBlocks(c.opt.timestamps) }

// sendReport sends the ACK that is due, with blocks, and as many before it as it
// takes to report everything that has changed: of a batch that may be more than fits.
func (c *Conn) sendReport(now mono.Time) {
	r := &c.report
	room := c.maxBlocks()
	first := room // what fits into the last ACK, which has the most recent
	if r.twice {
		first--
	}
	fresh := 0
	for fresh < int(r.count) && r.recent[fresh].fresh {
		fresh++ // those that have changed come first
	}
	for from := first + (fresh-first+room-1)/room*room - room; from >= first; from -= room {
		h := c.newHeader(now, c.bareSeq(), wire.ACK)
		c.sackBlocks(&h.Options, from)
		c.transmit(h, [2][]byte{})
	}
	c.sendAck(now)
}

func earlier(a, b wire.Seq) wire.Seq {
	if a.LessThan(b) {
		return a
	}
	return b
}

func later(a, b wire.Seq) wire.Seq {
	if a.LessThan(b) {
		return b
	}
	return a
}
