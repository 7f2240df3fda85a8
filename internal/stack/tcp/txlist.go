package tcp

import (
	"math/rand/v2"

	"github.com/zctap/zctap/internal/mono"
	"github.com/zctap/zctap/internal/wire"
)

// What became of a record.
const (
	sacked = 1 << iota // the peer holds it; nothing else is known of it then
	lost               // it is believed to be lost
	resent             // it was lost, and what was sent again is under way
	again              // it was sent more than once: an ACK may be for either copy

	missing // lost, and not resent: of txRecord.under only
)

// A txRecord is a run of the send sequence space that was sent at the same time.
type txRecord struct {
	sent     mono.Time // of the last copy
	seq, end wire.Seq

	prev, next    txID // in the order of the stream
	older, newer  txID // in the order of sending; not of what is SACKed
	up            txID // in the search tree (txtree.go), with those below
	before, after txID
	rank          uint16
	flags         uint8
	under         uint8 // what there is of flags, and missing, in the subtree
}

// A txID is a record's index.
type txID int32

// Records that are none.
const (
	none  txID = iota // the stream begins and ends here, as does what is under way
	holes             // as does what is missing
	firstID
)

func (r *txRecord) len() uint32 { return uint32(r.end - r.seq) }

// underWay reports whether r may arrive yet, and be found to be lost.
func (r *txRecord) underWay() bool { return r.flags&sacked == 0 && r.flags&(lost|resent) != lost }

// sentAfter reports whether r was sent after o (RFC 8985 section 6.2).
func (r *txRecord) sentAfter(o *txRecord) bool { return sentAfter(r.sent, r.end, o.sent, o.end) }

// A txList has the records of a scoreboard, so that what an ACK costs depends on how many
// of them it changes and not on how many there are: a peer decides about both. There is
//   - the order of the stream, without gaps;
//   - a search tree over it, for where a SACK block begins and for what is to be sent again;
//   - the order of sending, of what is under way: RACK looks at what was sent before something
//     that has arrived, from the oldest on (RFC 8985 section 6.2), and stops at the first that has
//     time left;
//   - and of what is missing, which was sent before all that is under way but for what a
//     timeout, a path's MTU or a window that opens again has declared to be lost.
type txList struct {
	all   []txRecord // the first two are no records
	spare txID       // those that are not in use, by next
	count int
	// reached is the last in the order of sending that was found to be sent before what has
	// arrived; none: no one.
	reached txID
	looks   lookCount // of all by at
	random  uint32
}

func newTxList() *txList {
	t := &txList{all: make([]txRecord, 0, 32), random: rand.Uint32() | 1}
	t.reset()
	return t
}

// reset forgets everything.
func (t *txList) reset() {
	t.all = append(t.all[:0], txRecord{}, txRecord{older: holes, newer: holes})
	t.spare, t.count, t.reached, t.looks = none, 0, none, lookCount{}
}

func (t *txList) at(i txID) *txRecord {
	t.looks.count()
	return &t.all[i]
}

func (t *txList) first() txID { return t.all[none].next }
func (t *txList) last() txID  { return t.all[none].prev }

// oldest is what was sent first of what is under way.
func (t *txList) oldest() txID { return t.all[none].newer }

// insert adds a record behind record i, and returns which it is; it is in no order of sending
// yet. Records move: pointers to them are no longer valid.
func (t *txList) insert(i txID, seq, end wire.Seq, sent mono.Time, flags uint8) txID {
	n := t.spare
	if n != none {
		t.spare = t.all[n].next
	} else {
		n = txID(len(t.all))
		t.all = append(t.all, txRecord{})
	}
	t.random ^= t.random << 13 // xorshift, of G. Marsaglia
	t.random ^= t.random >> 17
	t.random ^= t.random << 5
	next := t.all[i].next
	t.all[n] = txRecord{sent: sent, seq: seq, end: end, flags: flags, prev: i, next: next, rank: uint16(t.random)}
	t.all[i].next, t.all[next].prev = n, n
	t.count++
	t.plant(n)
	return n
}

// remove takes out record i, which is in no order of sending any more.
func (t *txList) remove(i txID) {
	t.uproot(i)
	r := t.at(i)
	t.all[r.prev].next, t.all[r.next].prev = r.next, r.prev
	r.next, t.spare = t.spare, i
	t.count--
}

// queue puts record i where it belongs in the order of sending, which is at the end or
// close to it.
func (t *txList) queue(i txID) {
	r, end := t.at(i), none
	switch {
	case r.flags&sacked != 0:
		return
	case !r.underWay():
		end = holes
	}
	at := t.all[end].older
	for at != end && t.at(at).sentAfter(r) {
		at = t.all[at].older
	}
	t.follow(at, i)
}

// follow puts record i behind record at in the order of sending.
func (t *txList) follow(at, i txID) {
	r := &t.all[i]
	r.older, r.newer = at, t.all[at].newer
	t.all[r.newer].older, t.all[at].newer = i, i
}

// unqueue takes record i out of the order of sending.
func (t *txList) unqueue(i txID) {
	r := t.at(i)
	if r.flags&sacked != 0 {
		return
	}
	if t.reached == i {
		t.reached = r.older
	}
	t.all[r.older].newer, t.all[r.newer].older = r.newer, r.older
}

// unqueueHoles puts what is missing back to what is under way.
func (t *txList) unqueueHoles() {
	at := none
	for i := t.all[holes].newer; i != holes; i = t.all[holes].newer {
		t.unqueue(i)
		for n := t.all[at].newer; n != none && t.at(i).sentAfter(t.at(n)); n = t.all[at].newer {
			at = n
		}
		t.follow(at, i)
		at = i
	}
}

// reach returns the last of what is under way that was sent before what ends at end and was
// sent at xmit; none: all was sent after that. These grow but for corrections.
func (t *txList) reach(xmit mono.Time, end wire.Seq) txID {
	earlier := func(i txID) bool { r := t.at(i); return sentAfter(xmit, end, r.sent, r.end) }
	for t.reached != none && !earlier(t.reached) {
		t.reached = t.all[t.reached].older
	}
	for n := t.all[t.reached].newer; n != none && earlier(n); n = t.all[n].newer {
		t.reached = n
	}
	return t.reached
}
