//go:build interleave

package atomic

import (
	"sync/atomic"

	"github.com/zctap/zctap/internal/interleave"
)

// Uint64 is that of sync/atomic, and a point.
type Uint64 struct{ v atomic.Uint64 }

// Load is that of sync/atomic.
func (x *Uint64) Load() uint64 {
	return interleave.Load(&x.v)
}

// Store is that of sync/atomic.
func (x *Uint64) Store(v uint64) {
	interleave.Update("Uint64.Store", &x.v)
	x.v.Store(v)
}

// Swap is that of sync/atomic.
func (x *Uint64) Swap(v uint64) uint64 {
	interleave.Update("Uint64.Swap", &x.v)
	return x.v.Swap(v)
}

// CompareAndSwap is that of sync/atomic.
func (x *Uint64) CompareAndSwap(from, to uint64) bool {
	interleave.Update("Uint64.CompareAndSwap", &x.v)
	return x.v.CompareAndSwap(from, to)
}

// Add is that of sync/atomic.
func (x *Uint64) Add(delta uint64) uint64 {
	interleave.Update("Uint64.Add", &x.v)
	return x.v.Add(delta)
}

// And is that of sync/atomic.
func (x *Uint64) And(mask uint64) uint64 {
	interleave.Update("Uint64.And", &x.v)
	return x.v.And(mask)
}

// Or is that of sync/atomic.
func (x *Uint64) Or(mask uint64) uint64 {
	interleave.Update("Uint64.Or", &x.v)
	return x.v.Or(mask)
}

// StoreOwned is the store of internal/owned, of which others learn later.
func (x *Uint64) StoreOwned(from, to uint64) { interleave.Store(&x.v, from, to) }
