package stack

import (
	"math/bits"

	"github.com/zctap/zctap/internal/wire"
)

// minSlots is the size that a table begins with; a power of two.
const minSlots = 64

// A table finds what belongs to a flow: open addressing with linear probing,
// and deletion by shifting back what was displaced (Knuth, The Art of Computer
// Programming vol. 3, section 6.4, algorithm R), so that there are no tombstones
// and a table that has been full once is as fast as a new one. The hash is keyed: a peer can't
// aim at one slot. At most half of the slots are in use.
type table[V any] struct {
	hasher wire.Hasher
	slots  []slot[V]
	n      int

	changes uint64 // calls of put and remove
}

// slot is empty if value is nil. The key is where the owner of the value has it: a
// tuple is four times as large as a slot, and almost always looked at with the value.
type slot[V any] struct {
	hash  uint64
	key   *wire.Tuple
	value *V
}

func newTable[V any](h wire.Hasher) table[V] {
	return table[V]{hasher: h, slots: make([]slot[V], minSlots)}
}

// get is the value at key, or nil.
func (t *table[V]) get(key *wire.Tuple) *V {
	if t.n == 0 {
		return nil
	}
	return t.slots[t.find(t.hasher.Hash(key), key)].value
}

// home is the slot where a key with hash h would be if there were no others.
func (t *table[V]) home(h uint64) *slot[V] { return &t.slots[int(h)&(len(t.slots)-1)] }

// likely is the first value whose key has hash h, or nil: almost always the one that
// get finds, found without a look at the key.
func (t *table[V]) likely(h uint64) *V {
	mask := len(t.slots) - 1
	for i := int(h) & mask; ; i = (i + 1) & mask {
		if s := &t.slots[i]; s.value == nil || s.hash == h {
			return s.value
		}
	}
}

// put sets the value at key, which is not nil, and replaces one that is there. The
// table keeps the key itself: it stays as it is until it is removed.
func (t *table[V]) put(key *wire.Tuple, v *V) {
	t.changes++
	if 2*(t.n+1) > len(t.slots) {
		t.resize(2 * len(t.slots))
	}
	h := t.hasher.Hash(key)
	s := &t.slots[t.find(h, key)]
	if s.value == nil {
		t.n++
	}
	*s = slot[V]{hash: h, key: key, value: v}
}

// remove empties the slot of key, if it has one.
func (t *table[V]) remove(key *wire.Tuple) {
	t.changes++
	mask := len(t.slots) - 1
	hole := t.find(t.hasher.Hash(key), key)
	if t.slots[hole].value == nil {
		return
	}
	t.n--
	for i := (hole + 1) & mask; t.slots[i].value != nil; i = (i + 1) & mask {
		// An entry may fill the hole unless its home lies cyclically between
		// the hole and where it is.
		home := int(t.slots[i].hash) & mask
		if (i-home)&mask >= (i-hole)&mask {
			t.slots[hole] = t.slots[i]
			hole = i
		}
	}
	t.slots[hole] = slot[V]{}
	if 8*t.n < len(t.slots) && len(t.slots) > minSlots {
		t.resize(len(t.slots) / 2)
	}
}

// find is the index of key's slot, or of the empty one where it would go.
func (t *table[V]) find(h uint64, key *wire.Tuple) int {
	mask := len(t.slots) - 1
	i := int(h) & mask
	for {
		s := &t.slots[i]
		if s.value == nil || s.hash == h && *s.key == *key {
			return i
		}
		i = (i + 1) & mask
	}
}

func (t *table[V]) resize(n int) {
	old := t.slots
	t.slots = make([]slot[V], 1<<bits.Len(uint(n-1)))
	mask := len(t.slots) - 1
	for i := range old {
		if old[i].value == nil {
			continue
		}
		j := int(old[i].hash) & mask
		for t.slots[j].value != nil {
			j = (j + 1) & mask
		}
		t.slots[j] = old[i]
	}
}

// values is everything in the table, in no order.
func (t *table[V]) values() []*V {
	all := make([]*V, 0, t.n)
	for i := range t.slots {
		if v := t.slots[i].value; v != nil {
			all = append(all, v)
		}
	}
	return all
}
