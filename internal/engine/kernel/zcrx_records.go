//go:build linux

package kernel

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
type records struct {
	shift uint     // log2 of the kernel's buffers' size
	first []int32  // newest record of each buffer of the region, 0 none
	all   []record // all[0] is not used
	spare int32    // a list of unused records, 0 none

	out    int  // buffers of the kernel's with payload that is held
	shared bool // connections were found to share one
}

type record struct {
	token uint64 // uring.ZCData.Token
	owner token  // whom the payload was for, who may be gone
	next  int32
	first int32 // the first record in the same buffer of the kernel's
	run   uint8 // the owner's pieces before it in a row, since the last that it paid for
	pays  bool  // it counts against the owner
	alone bool  // of a first record: nobody else has payload in the buffer
}

func (r *records) init(buffers int, shift uint) {
	r.shift = shift
	r.first = make([]int32, buffers)
	r.all = make([]record, 1, buffers+1)
}

// add notes payload in buffer b, and returns whether its owner pays for it, and
// who is not alone any more in its buffer, if anybody is.
func (r *records) add(b uint16, place uint64, owner token) (pays bool, joined *record) {
	i := r.spare
	if i == 0 {
		r.all = append(r.all, record{})
		i = int32(len(r.all) - 1)
	} else {
		r.spare = r.all[i].next
	}
	before := r.first[b]
	r.first[b] = i
	e := &r.all[i]
	// One by one: a literal is made elsewhere first, and this is done for each
	// completion.
	e.token, e.owner, e.next, e.first = place, owner, before, i
	e.run, e.pays, e.alone = 0, true, true
	if before == 0 {
		r.out++
		return true, nil
	}
	joined = r.behind(e, &r.all[before])
	if e.first == i {
		r.out++
	}
	return e.pays, joined
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

// take removes the records of buffer b and returns the newest, with which drop
// begins; 0 if there are none: it was given back before, and not filled since.
func (r *records) take(b uint16) (newest int32) {
	newest = r.first[b]
	r.first[b] = 0
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
	e.next, r.spare = r.spare, i
	return before
}

// any reports whether there is a record of owner in a buffer of which is says so.
func (r *records) any(owner token, is func(b uint16) bool) bool {
	for b, i := range r.first {
		for ; i != 0; i = r.all[i].next {
			if r.all[i].owner == owner && is(uint16(b)) {
				return true
			}
		}
	}
	return false
}
