//go:build linux

package kernel

import (
	"github.com/zctap/zctap/internal/buf"
	"github.com/zctap/zctap/internal/uring"
)

// records is what the kernel is due: for each completion that brought payload
// one entry of the refill ring, with the very token that it came with, once
// nobody holds the buffer any more that the payload lies in. Completions may
// share a buffer; the kernel counts them, and takes a buffer back when the last
// was returned. An entry too many would give a buffer to the NIC that is in
// use, so none is made but from a record, and each record makes one.
//
// They are also whom a buffer is charged to. A connection pays once for what it
// has in a row in one of the kernel's buffers, but for each maxShares pieces as
// for another buffer: they cost memory of ours. Where connections share one, all
// pay until the last has given back: that is not known of each alone.
//
// Most have a buffer of the region to themselves. So each buffer has a record of its
// own, for the first payload in it, and others are taken from a list.
type records struct {
	shift uint     // log2 of the kernel's buffers' size
	all   []record // all[0] is not used, all[b+1] is buffer b's own
	own   int      // records that are buffers' own, from the first on
	spare int32    // a list of unused records, 0 none

	out    int  // buffers of the kernel's with payload that is held
	shared bool // connections were found to share one
}

type record struct {
	token  uint64 // uring.ZCData.Token
	owner  token  // whom the payload was for, who may be gone
	newest int32  // of a buffer's own: the newest in the buffer, 0 if there is none
	first  int32  // the first record in the same buffer of the kernel's
	next   int32  // the one before it in the same buffer of the region, 0 none
	run    uint8  // the owner's pieces before it in a row, since the last that it paid for
	pays   bool   // it counts against the owner
	alone  bool   // of a first record: nobody else has payload in the buffer
}

func (r *records) init(buffers int, shift uint) {
	r.shift = shift
	r.own = buffers + 1
	r.all = make([]record, r.own)
	for i := range r.all {
		r.all[i] = record{first: int32(i), pays: true, alone: true}
	}
}

// add notes payload in buffer b, and returns whether its owner pays for it, and
// who is not alone any more in its buffer, if anybody is.
func (r *records) add(b uint16, place uint64, owner token) (pays bool, joined *record) {
	own := ownRecord(b)
	before := r.all[own].newest
	if before == 0 {
		r.all[own].begin(own, place, owner)
		r.out++
		return true, nil
	}
	i := r.spare
	if i == 0 {
		i = int32(len(r.all))
		r.all = append(r.all, record{})
	} else {
		r.spare = r.all[i].next
	}
	e := &r.all[i]
	*e = record{token: place, owner: owner, next: before, first: i, pays: true, alone: true}
	r.all[own].newest = i
	joined = r.behind(e, &r.all[before])
	if e.first == i {
		r.out++
	}
	return e.pays, joined
}

// addSole is add for payload of owner that cqes have brought to frags, as many as there
// are in a row in buffers where nothing is. It returns how many they were: for each
// owner pays.
func (r *records) addSole(frags []buf.Frag, cqes []uring.CQE, owner token) (n int) {
	all := r.all
	cqes = cqes[:len(frags)]
	for i := range frags {
		own := ownRecord(frags[i].Buffer())
		e := &all[own]
		if e.newest != 0 {
			break
		}
		e.begin(own, cqes[i].Extra[0], owner)
		n++
	}
	r.out += n
	return n
}

// ownRecord is the number of buffer b's own record.
func ownRecord(b uint16) int32 { return int32(b) + 1 }

// begin makes e, which is a buffer's own, record i, that of the first payload there.
// The other fields are as they shall be.
func (e *record) begin(i int32, place uint64, owner token) {
	e.token, e.owner, e.newest = place, owner, i
}

// behind notes that e came after last in one buffer of the region.
func (r *records) behind(e, last *record) (joined *record) {
	if last.token>>r.shift != e.token>>r.shift {
		return nil // another of the kernel's
	}
	e.first, e.alone = last.first, false
	if e.pays = last.owner != e.owner; !e.pays {
		e.run = (last.run + 1) % maxShares
		e.pays = e.run == 0
	}
	if first := &r.all[e.first]; e.pays && first.alone && first.owner != e.owner {
		first.alone, joined = false, first
		r.shared = true
	}
	return joined
}

// sole is whom the payload in buffer b is for, if there is but one piece of it.
func (r *records) sole(b uint16) (owner token, is bool) {
	e := &r.all[ownRecord(b)]
	return e.owner, e.newest == ownRecord(b)
}

// takeSole takes the records of buffers, each of which has but its own, of owner, as
// many as there are in a row of these, and as entries has room for. Those are what is
// due for them then. It returns how many they were: for each its owner has paid, and was
// alone.
func (r *records) takeSole(buffers []uint16, owner token, entries []uring.RefillEntry) (n int) {
	all := r.all
	buffers = buffers[:min(len(buffers), len(entries))]
	for i, b := range buffers {
		own := ownRecord(b)
		e := &all[own]
		if e.newest != own || e.owner != owner {
			break
		}
		e.newest = 0
		entries[i] = uring.RefillEntry{Token: e.token}
		n++
	}
	r.out -= n
	return n
}

// take removes the records of buffer b and returns the newest, with which drop
// begins; 0 if there are none: it was given back before, and not filled since.
func (r *records) take(b uint16) (newest int32) {
	own := &r.all[ownRecord(b)]
	newest, own.newest = own.newest, 0
	return newest
}

// drop forgets record i, that take removed, and returns the one before it in the same
// buffer, 0 if it was the oldest.
func (r *records) drop(i int32) (before int32) {
	e := &r.all[i]
	if e.first == i {
		r.out--
	}
	before = e.next
	if int(i) < r.own {
		e.alone = true // for the next one
	} else {
		e.next, r.spare = r.spare, i
	}
	return before
}

// any reports whether there is a record of owner in a buffer of which is says so.
func (r *records) any(owner token, is func(b uint16) bool) bool {
	for b := range r.own - 1 {
		for i := r.all[b+1].newest; i != 0; i = r.all[i].next {
			if r.all[i].owner == owner && is(uint16(b)) {
				return true
			}
		}
	}
	return false
}
