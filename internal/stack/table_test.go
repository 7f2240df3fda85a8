package stack

import (
	"math/rand/v2"
	"net/netip"
	"testing"

	"github.com/zctap/zctap/internal/wire"
)

func keyOf(n int) wire.Tuple {
	return wire.Tuple{
		Local:  netip.AddrPortFrom(us4.Addr(), uint16(n)),
		Remote: netip.AddrPortFrom(peer4, uint16(n>>16)),
		Proto:  wire.ProtoTCP,
	}
}

// TestTable compares the table with a map over random operations, in a range of
// keys that makes it grow, shrink and wrap around.
func TestTable(t *testing.T) {
	for seed := range uint64(5) {
		r := rand.New(rand.NewPCG(seed, 1))
		tab := newTable[int](wire.KeyedHasher([16]byte{byte(seed)}))
		want := map[wire.Tuple]*int{}
		for step := range 30_000 {
			// Phases of growing and of shrinking.
			k := keyOf(r.IntN(2000)) // of its own in each step: the table keeps it
			if r.IntN(10) < 3+4*(step/5000%2) {
				v := new(int)
				tab.put(&k, v)
				want[k] = v
			} else {
				tab.remove(&k)
				delete(want, k)
			}
			other := keyOf(r.IntN(2000))
			if got := tab.get(&other); got != want[other] {
				t.Fatalf("seed %d, step %d: get(%v) = %p, want %p", seed, step, other, got, want[other])
			}
			if tab.n != len(want) || 2*tab.n > len(tab.slots) {
				t.Fatalf("seed %d, step %d: %d entries in %d slots, want %d", seed, step, tab.n, len(tab.slots), len(want))
			}
		}
		for k, v := range want {
			if tab.get(&k) != v {
				t.Fatalf("seed %d: %v is lost", seed, k)
			}
		}
		if all := tab.values(); len(all) != len(want) {
			t.Errorf("seed %d: values has %d, want %d", seed, len(all), len(want))
		}
		for k := range want {
			tab.remove(&k)
		}
		if tab.n != 0 || len(tab.slots) != minSlots {
			t.Errorf("seed %d: %d entries in %d slots when empty", seed, tab.n, len(tab.slots))
		}
	}
}

func BenchmarkTableGet(b *testing.B) {
	tab := newTable[int](wire.NewHasher())
	keys := make([]wire.Tuple, 10_000)
	for i := range keys {
		keys[i] = keyOf(i)
		tab.put(&keys[i], new(int))
	}
	for i := 0; b.Loop(); i++ {
		if tab.get(&keys[i%len(keys)]) == nil {
			b.Fatal("lost")
		}
	}
}
