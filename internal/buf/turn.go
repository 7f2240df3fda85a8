package buf

import "github.com/zctap/zctap/internal/interleave/atomic"

// The last user reference of a buffer is dropped by a compare-and-swap, as any
// goroutine may try to, of which one may succeed. Not of the buffer's word, of which
// each would need its own locked operation, but of a word that turnGroup buffers
// share: those of a batch, which mostly lie next to each other, are returned by one.
//
// A turn word is [ version 48 | turn of each of the buffers 16 ]. A buffer's turn is the
// lowest bit of its generation: a return of the last reference makes the next generation of the
// other turn, a Put of it the one behind that, of the same, so that it leaves turns alone.
// To return the last reference is to flip the turn, and to count the version up, by one
// compare-and-swap; before it the word was loaded, and then the turn of the iov's generation
// compared with the one there, and the generation with the one in the buffer's word, which
// has to say that there is one user reference and no other. Then the buffer is the caller's
// alone, who stores in its word that it is free (storeOwned).
//
// Of goroutines that return the same iov one succeeds, whatever is between their steps:
//
//   - Who loaded the turn word before it was flipped fails: the version has
//     changed, and does not come back before 2^48 returns of the group. It looks again.
//   - Who loaded it later finds that the turn is not the iov's, though the buffer's
//     word may be as it was yet. If the turn has come back meanwhile, somebody has
//     returned a later use of the buffer. That was after the store of its word here, on
//     which all of the buffer's way into other hands and back hangs; so who sees the
//     turn sees a later generation, too.
//
// In between nobody else changes the buffer's word: to add a reference one has to have
// a kernel reference, and to drop one is this.
const turnGroup = 16

// turnVersion is one of the version's.
const turnVersion = 1 << turnGroup

// turnWords is the turn words of n buffers.
func turnWords(n int) []atomic.Uint64 {
	return make([]atomic.Uint64, (n+turnGroup-1)/turnGroup)
}

// dropLast drops the user references of the first of iovs, as many as are of one
// group, and each the only reference to its buffer, and has r keep these. It returns how
// many that was: 0 if the first is not one, which dropOne looks into.
func (p *Pool) dropLast(iovs []Iov, r *returning) (n int) {
	// first to end are the buffers of the group, but for those that are lent.
	group := int(iovs[0].frag.buffer / turnGroup)
	first, end := max(group*turnGroup, int(p.lending.n)), min((group+1)*turnGroup, len(p.words))
	if first >= end {
		return 0
	}
	words, turns, skip := p.words[first:end], &p.turns[group], first%turnGroup
	for {
		before := turns.Load() // acquire: before the buffers' words
		var flip uint64
		n, flip = lastOf(iovs, words, uint(first), p.region.id, before>>skip)
		if n == 0 {
			return 0
		}
		if turns.CompareAndSwap(before, before^flip<<skip+turnVersion) {
			break
		}
	}
	p.dropped(iovs[:n], r)
	return n
}

// lastOf is how many of iovs dropLast may drop. words are those of a group's buffers from first
// on, turns has their turns, that of first lowest, and flip those which are to be flipped.
func lastOf(iovs []Iov, words []atomic.Uint64, first uint, region uint16, turns uint64) (n int, flip uint64) {
	before := turns
	for n < len(iovs) {
		f := &iovs[n].frag
		b := uint(f.buffer) - first
		if b >= uint(len(words)) || f.region != region {
			break
		}
		bit := uint64(1) << (b % 64)
		if (turns&bit != 0) != f.turn() {
			break
		}
		if words[b].Load()&^charged != soleUser(f.gen) {
			break
		}
		turns ^= bit // the same iov may come twice
		n++
	}
	return n, turns ^ before
}

// dropped makes the buffers of iovs free, which are the caller's alone, and has r keep them.
func (p *Pool) dropped(iovs []Iov, r *returning) {
	words := p.words
	owners, ids := p.owners[:len(words)], r.ids[r.free:][:len(iovs)]
	owner, n := r.owner, r.charged
	for i := range iovs {
		b := iovs[i].frag.buffer
		w := &words[b]
		o := w.Load()
		if o&charged != 0 {
			if a := owners[b]; a != owner {
				owner.uncharge(n)
				owner, n = a, 0
			}
			n++
		}
		storeOwned(w, o, freed(o))
		p.debug.freed(b)
		ids[i] = b
	}
	r.free += len(iovs)
	r.owner, r.charged = owner, n
}
