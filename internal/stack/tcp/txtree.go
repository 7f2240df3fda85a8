package tcp

import "github.com/zctap/zctap/internal/wire"

// The search tree of a txList: a treap (Seidel and Aragon, "Randomized search trees", 1996),
// in the order of the stream, in which no record has a higher rank than the one above it.
// Ranks are random, so that no order of SACK blocks makes it deep. A record is added or taken
// out in O(1) on average, its neighbours being known, and found in O(log n). The root is
// below none.

// plant adds record n, whose neighbours in the stream are set.
func (t *txList) plant(n txID) {
	r := t.at(n)
	// Of two neighbours one is below the other, on the side of it, and has no one there.
	if up := r.prev; up != none && t.all[up].after == none {
		r.up, t.all[up].after = up, n
	} else {
		r.up, t.all[r.next].before = r.next, n
	}
	t.note(n)
	for r.up != none && t.at(r.up).rank < r.rank {
		t.lift(n)
	}
}

// uproot takes record i out.
func (t *txList) uproot(i txID) {
	r := t.at(i)
	for r.before != none && r.after != none {
		if t.at(r.before).rank < t.at(r.after).rank {
			t.lift(r.after)
		} else {
			t.lift(r.before)
		}
	}
	below := r.before | r.after // one of them is none
	if below != none {
		t.all[below].up = r.up
	}
	if up := &t.all[r.up]; up.before == i {
		up.before = below
	} else {
		up.after = below
	}
	t.note(r.up)
}

// lift moves record i up, over the one above it, which comes under it.
func (t *txList) lift(i txID) {
	r := t.at(i)
	p := r.up
	above := t.at(p)
	top := above.up
	var moved txID // from under i
	if above.before == i {
		moved, above.before, r.after = r.after, r.after, p
	} else {
		moved, above.after, r.before = r.before, r.before, p
	}
	if moved != none {
		t.all[moved].up = p
	}
	above.up, r.up = i, top
	if u := &t.all[top]; u.before == p {
		u.before = i
	} else {
		u.after = i
	}
	t.sum(p)
	t.sum(i)
}

// sum sets what there is under record i, and reports whether it has changed.
func (t *txList) sum(i txID) bool {
	r := t.at(i)
	was := r.under
	r.under = r.own() | t.all[r.before].under | t.all[r.after].under
	return r.under != was
}

func (r *txRecord) own() uint8 {
	if r.flags&(lost|resent) == lost {
		return r.flags | missing
	}
	return r.flags
}

// note has the tree know that the flags of record i have changed, or what is below it.
func (t *txList) note(i txID) {
	for ; i != none && t.sum(i); i = t.all[i].up {
	}
}

// find returns the record that holds seq, or the first if seq is before that; none: seq is
// behind the last.
func (t *txList) find(seq wire.Seq) txID {
	found := none
	for i := t.all[none].before; i != none; {
		if r := t.at(i); seq.LessThan(r.end) {
			found, i = i, r.before
		} else {
			i = r.after
		}
	}
	return found
}

// firstWith returns the first record in the stream that has one of flags, or missing; none:
// there is none.
func (t *txList) firstWith(flags uint8) txID {
	i := t.all[none].before
	for i != none {
		switch r := t.at(i); {
		case t.all[r.before].under&flags != 0:
			i = r.before
		case r.own()&flags != 0:
			return i
		case r.under&flags == 0:
			return none
		default:
			i = r.after
		}
	}
	return none
}
