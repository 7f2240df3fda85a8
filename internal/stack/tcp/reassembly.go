package tcp

import (
	"slices"
	"sort"
	"time"

	"github.com/zctap/zctap/internal/buf"
	"github.com/zctap/zctap/internal/mono"
	"github.com/zctap/zctap/internal/wire"
)

// Bounds of what is held out of order, against peers that leave gaps on purpose.
const (
	maxHeldFrags  = 4096
	maxHeldRanges = 1024
)

// maxSpareLists bounds the memory kept for the next gaps, 100 KiB a list at most.
const maxSpareLists = 64

// holdInterval is how often what is held for later is looked at.
const holdInterval = 200 * time.Millisecond

// held is payload that lies beyond a gap, in the buffer that it came in.
type held struct {
	seq  wire.Seq
	frag buf.Frag
}

func (h *held) end() wire.Seq { return h.seq.Add(uint32(h.frag.Len())) }

// reassembly is the out-of-order data of a connection: in the order of the
// stream, without overlaps, each frag one kernel reference. Where segments
// contradict each other the byte that came first wins, as for data in order:
// whoever sends a different one later does not change what was checked already.
type reassembly struct {
	list   []held // nil while empty; from Shared.spareLists
	ranges int    // runs without a gap
}

func (r *reassembly) empty() bool { return len(r.list) == 0 }

// first is where the first held byte belongs.
func (r *reassembly) first() wire.Seq { return r.list[0].seq }

// end is where what is held ends.
func (r *reassembly) end() wire.Seq { return r.list[len(r.list)-1].end() }

// hold keeps frags that begin at seq, beyond a gap, unless too much is held
// already or buffers are short: those left must carry what fills the gaps.
func (c *Conn) hold(now mono.Time, seq wire.Seq, frags []buf.Frag) {
	if len(c.ooo.list)+len(frags) > maxHeldFrags || c.ooo.ranges >= maxHeldRanges || c.sh.short() {
		c.sh.Stats.Drops.OutOfOrderFull++
		c.sh.Pool.PutFrags(frags)
		return
	}
	c.insert(seq, frags)
	c.reported(seq)
	c.watchHeld(now)
}

// insert adds the frags, which begin at seq, where nothing is held yet.
func (c *Conn) insert(seq wire.Seq, frags []buf.Frag) {
	r := &c.ooo
	if r.list == nil {
		r.list = c.sh.spareList()
	}
	i := sort.Search(len(r.list), func(k int) bool { return seq.LessThan(r.list[k].end()) })
	for _, f := range frags {
		i = c.insertFrag(i, seq, f)
		seq = seq.Add(uint32(f.Len()))
	}
	if len(r.list) == 0 {
		c.dropHeld()
	}
}

// insertFrag adds what is new of f, whose first byte is seq. Nothing before
// r.list[i] overlaps it. It returns the index for the frag that follows.
func (c *Conn) insertFrag(i int, seq wire.Seq, f buf.Frag) int {
	r, start, end := &c.ooo, seq, seq.Add(uint32(f.Len()))
	kept := 0
	for seq.LessThan(end) {
		if i < len(r.list) && r.list[i].seq.LessEq(seq) {
			// There already.
			there := r.list[i].end()
			if end.LessThan(there) {
				there = end // the rest of list[i] concerns the next frag
			} else {
				i++
			}
			if seq.LessThan(there) {
				c.sh.Stats.Drops.DuplicateBytes += uint64(there - seq)
				c.duplicate(seq, there)
				seq = there
			}
			continue
		}
		stop := end
		if i < len(r.list) && r.list[i].seq.LessThan(end) {
			stop = r.list[i].seq
		}
		if kept == 0 {
			f = c.take(f)
		} else if c.sh.Pool.Get(f) != nil {
			return i // a buffer of more pieces than can be counted: it comes again
		}
		r.add(i, held{seq, f.Slice(int(seq-start), int(stop-start))})
		kept++
		i++
		seq = stop
	}
	if kept == 0 {
		c.sh.Pool.Put(f.Buffer())
	}
	return i
}

// add puts h before list[i].
func (r *reassembly) add(i int, h held) {
	r.ranges++
	if i > 0 && r.list[i-1].end() == h.seq {
		r.ranges--
	}
	if i < len(r.list) && r.list[i].seq == h.end() {
		r.ranges--
	}
	r.list = slices.Insert(r.list, i, h)
}

// drain passes up what continues the stream now.
func (c *Conn) drain() {
	r := &c.ooo
	n := 0
	for n < len(r.list) && r.list[n].seq == c.rcv.nxt {
		c.rcv.nxt = r.list[n].end()
		c.queue(r.list[n].frag)
		n++
	}
	if n == 0 {
		return
	}
	c.publishDue = true
	c.report.passed(c.rcv.nxt)
	if r.ranges--; n == len(r.list) {
		r.list = r.list[:0]
		c.dropHeld()
		return
	}
	r.list = slices.Delete(r.list, 0, n)
}

// makeRoom gives up out-of-order data for data in order, at seq, and reports
// whether that was enough.
func (c *Conn) makeRoom(seq wire.Seq) bool {
	if seq != c.rcv.nxt || c.ooo.empty() {
		return false
	}
	c.sh.Stats.Reneged++
	c.dropHeld()
	return !c.overdrawn()
}

// dropHeld drops all that is held out of order.
func (c *Conn) dropHeld() {
	r := &c.ooo
	for i := range r.list {
		c.sh.Pool.Put(r.list[i].frag.Buffer())
	}
	if r.list != nil && len(c.sh.spareLists) < maxSpareLists {
		c.sh.spareLists = append(c.sh.spareLists, r.list[:0])
	}
	*r = reassembly{}
	c.forgetRanges()
}

// spareList is memory for a connection's list: few connections have gaps at the
// same time.
func (sh *Shared) spareList() []held {
	n := len(sh.spareLists)
	if n == 0 {
		return make([]held, 0, 64)
	}
	l := sh.spareLists[n-1]
	sh.spareLists = sh.spareLists[:n-1]
	return l
}

// watchHeld makes sure that the hold timer runs.
func (c *Conn) watchHeld(now mono.Time) {
	if !c.timers.armed(timerHold) {
		c.timers.set(timerHold, now.Add(holdInterval))
	}
}

// holdDue looks at what is held for later. Out-of-order data is given up when
// buffers are short: the segment that fills the gap might find none, and then
// nothing would ever move. The peer has kept a copy of what was not acknowledged
// (RFC 9293 section 3.10.7.4 leaves holding it to the receiver).
func (c *Conn) holdDue(now mono.Time) {
	if !c.ooo.empty() && c.sh.short() {
		c.sh.Stats.Reneged++
		c.dropHeld()
	}
	c.closeIdlePack()
	if !c.ooo.empty() || c.pack.open {
		c.watchHeld(now)
	}
}
