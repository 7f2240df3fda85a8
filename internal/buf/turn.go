package buf

import "sync/atomic"

// The last user reference of a buffer is dropped by a compare-and-swap, as any
// goroutine may try to, of which one may succeed. Not of the buffer's word, of which
// each would need its own locked operation, but of a word that turnGroup buffers
// share: those of a batch, which mostly lie next to each other, are returned by one.
//
// A turn word is [ version 48 | turn of each of the buffers 16 ]. An iov carries the
// turn that its buffer had when it was handed over. To drop the last reference is to
// flip the turn, and to count the version up, by one compare-and-swap; before it
// the word was loaded, and then the iov's turn compared with the one there, and its
// generation with the one in the buffer's word, which has to say that there is one user
// reference and no other. Then the buffer is the caller's alone, who stores in its word
// that it is free (storeOwned).
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

// turn is the turn of buffer b. It is constant while b has a kernel reference.
func (p *Pool) turn(b uint16) uint64 {
	return p.turns[b/turnGroup].Load() >> (b % turnGroup) & 1
}

// dropLast drops the user references of the first of iovs, as many as are of one
// group, and each the only reference to its buffer; and zeroes them. n is how many that
// was: 0 if the first is not one, which dropOne looks into. The first n of ids, which
// is as long as iovs at least, are their buffers, and the first n bits of owned say
// for which of them somebody is charged.
func (p *Pool) dropLast(iovs []Iov, ids []uint16) (n int, owned uint64) {
	words, region, lent := p.words, p.region.id, p.lending.n
	ids = ids[:len(iovs)]
	group := iovs[0].frag.buffer / turnGroup
	if int(group) >= len(p.turns) {
		return 0, 0
	}
	turns := &p.turns[group]
	for {
		before := turns.Load() // acquire: before the buffers' words
		after := before
		n, owned = 0, 0
		for i := range iovs {
			v := &iovs[i]
			b := v.frag.buffer
			if b/turnGroup != group || int(b) >= len(words) || v.frag.region != region || uint32(b) < lent ||
				after>>(b%turnGroup)&1 != v.turn {
				break
			}
			w := words[b].Load()
			if w&^charged != word(v.frag.gen)<<32|userOne {
				break
			}
			after ^= 1 << (b % turnGroup)
			ids[i] = b
			owned |= w >> 63 << (i % refillBatch)
			n++
		}
		if n == 0 {
			return 0, 0
		}
		if turns.CompareAndSwap(before, after+turnVersion) {
			break
		}
	}
	for i, b := range ids[:n] {
		w := &words[b]
		o := w.Load()
		storeOwned(w, o, freed(o))
		p.debug.freed(b)
		iovs[i] = Iov{}
	}
	return n, owned
}
