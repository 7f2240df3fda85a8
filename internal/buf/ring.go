package buf

import (
	"math/bits"

	"github.com/zctap/zctap/internal/interleave/atomic"
)

// cacheLine keeps words that different threads write from sharing a line.
const cacheLine = 64

// slotRing is a multi-producer, single-consumer ring of buffer ids. A slot holds
// an id and whether it was written on an even or an odd lap, so that a slot's
// own store publishes it: no second index, nothing for the consumer to clear,
// and a producer that is descheduled between reserving and filling only makes
// the consumer see a shorter ring. One bit is enough: the consumer comes to a
// slot once a lap, so what is there is of this lap or the one before.
//
// Producers reserve by advancing tail. That is safe without looking at head
// when at most len(slots) ids can be in flight (the fill ring: it has a slot
// for each buffer, and a buffer is in it at most once); a ring with fewer slots
// than buffers must be filled with tryPush.
type slotRing struct {
	slots []uint32 // lapBit and id; stored by producers only, see push
	mask  uint64
	shift uint8 // log2(len(slots))

	_    [cacheLine]byte
	tail atomic.Uint64 // next slot to reserve; producers advance it

	_    [cacheLine]byte
	head atomic.Uint64 // next slot to read; the consumer alone stores it
}

// lapBit is set in what is written on the first lap and every other one after
// it, so that a new ring, all zeros, is empty.
const lapBit = 1 << 16

func newSlotRing(n int) slotRing {
	shift := bits.Len(uint(max(n, 1) - 1))
	return slotRing{slots: make([]uint32, 1<<shift), mask: 1<<shift - 1, shift: uint8(shift)}
}

// lap is the lapBit of position i.
func (r *slotRing) lap(i uint64) uint32 { return uint32(^i>>(r.shift&63)) << 16 & lapBit }

// store fills the reserved slot i, which publishes it: release, pairs with the
// load in pop. What the producer did with the buffer happens before the
// consumer's next use of it.
func (r *slotRing) store(i uint64, id uint16) {
	atomic.StoreUint32(&r.slots[i&r.mask], r.lap(i)|uint32(id))
}

// load is the id in slot i, if the slot is filled.
func (r *slotRing) load(i uint64) (id uint16, ok bool) {
	v := atomic.LoadUint32(&r.slots[i&r.mask]) // acquire: pairs with store
	return uint16(v), v&lapBit == r.lap(i)
}

// push appends ids. The caller guarantees room (see slotRing).
//
// The store of the first publishes them all, and only that one is atomic: the
// consumer, which comes to the others behind it, does not look at them before it has
// seen the first. And what it read in their slots a lap ago it had read when it took
// the id, one of these or those before, that has since gone round the ring.
func (r *slotRing) push(ids []uint16) {
	if len(ids) == 0 {
		return
	}
	t := r.tail.Add(uint64(len(ids))) - uint64(len(ids))
	for at, rest := t+1, ids[1:]; len(rest) > 0; {
		lap, slots := r.run(at, len(rest))
		for i := range slots {
			slots[i] = lap | uint32(rest[i])
		}
		at, rest = at+uint64(len(slots)), rest[len(slots):]
	}
	r.store(t, ids[0])
}

// run is the slots from position i on that lie in a row, n at most, and their lapBit.
func (r *slotRing) run(i uint64, n int) (lap uint32, slots []uint32) {
	slots = r.slots[i&r.mask:]
	return r.lap(i), slots[:min(n, len(slots))]
}

// tryPush appends one id, or reports that the ring is full.
func (r *slotRing) tryPush(id uint16) bool {
	for {
		t := r.tail.Load()
		// Signed: head can have passed t since, and then the swap below fails.
		if int64(t-r.head.Load()) >= int64(len(r.slots)) {
			return false
		}
		if r.tail.CompareAndSwap(t, t+1) {
			r.store(t, id)
			return true
		}
	}
}

// pop moves up to len(dst) ids into dst; consumer only.
func (r *slotRing) pop(dst []uint16) int {
	h := r.head.Load()
	n := 0
	for n < len(dst) {
		lap, slots := r.run(h+uint64(n), len(dst)-n)
		k := filled(slots, lap, dst[n:])
		if n += k; k < len(slots) {
			break
		}
	}
	if n > 0 {
		// Release: pairs with tryPush, which may overwrite a slot only after it
		// was read here.
		r.head.Store(h + uint64(n))
	}
	return n
}

// filled copies to dst, which is as long at least, the ids of the first of slots, as
// many as are filled on the lap with the given lapBit.
func filled(slots []uint32, lap uint32, dst []uint16) int {
	dst = dst[:len(slots)]
	for i := range slots {
		v := atomic.LoadUint32(&slots[i]) // acquire: pairs with store
		if v&lapBit != lap {
			return i
		}
		dst[i] = uint16(v)
	}
	return len(slots)
}

// pushed is how many ids were ever reserved.
func (r *slotRing) pushed() uint64 { return r.tail.Load() }

// len is how many ids are reserved and not yet popped.
func (r *slotRing) len() int { return int(r.tail.Load() - r.head.Load()) }

// each calls f for each id in the ring; consumer only, and only while no
// producer runs.
func (r *slotRing) each(f func(id uint16)) {
	for h := r.head.Load(); h != r.tail.Load(); h++ {
		if id, ok := r.load(h); ok {
			f(id)
		}
	}
}
