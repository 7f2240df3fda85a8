//go:build interleave

package atomic

import (
	"sync/atomic"

	"github.com/zctap/zctap/internal/interleave"
)

// Bool is that of sync/atomic, and a point.
type Bool struct{ v atomic.Bool }

// Load is that of sync/atomic.
func (x *Bool) Load() bool {
	interleave.LoadPoint("Bool.Load")
	return x.v.Load()
}

// Store is that of sync/atomic.
func (x *Bool) Store(v bool) {
	interleave.Point("Bool.Store")
	x.v.Store(v)
}

// Swap is that of sync/atomic.
func (x *Bool) Swap(v bool) bool {
	interleave.Point("Bool.Swap")
	return x.v.Swap(v)
}

// CompareAndSwap is that of sync/atomic.
func (x *Bool) CompareAndSwap(from, to bool) bool {
	interleave.Point("Bool.CompareAndSwap")
	return x.v.CompareAndSwap(from, to)
}

// Int32 is that of sync/atomic, and a point.
type Int32 struct{ v atomic.Int32 }

// Load is that of sync/atomic.
func (x *Int32) Load() int32 {
	interleave.LoadPoint("Int32.Load")
	return x.v.Load()
}

// Store is that of sync/atomic.
func (x *Int32) Store(v int32) {
	interleave.Point("Int32.Store")
	x.v.Store(v)
}

// Swap is that of sync/atomic.
func (x *Int32) Swap(v int32) int32 {
	interleave.Point("Int32.Swap")
	return x.v.Swap(v)
}

// CompareAndSwap is that of sync/atomic.
func (x *Int32) CompareAndSwap(from, to int32) bool {
	interleave.Point("Int32.CompareAndSwap")
	return x.v.CompareAndSwap(from, to)
}

// Add is that of sync/atomic.
func (x *Int32) Add(delta int32) int32 {
	interleave.Point("Int32.Add")
	return x.v.Add(delta)
}

// Uint32 is that of sync/atomic, and a point.
type Uint32 struct{ v atomic.Uint32 }

// Load is that of sync/atomic.
func (x *Uint32) Load() uint32 {
	interleave.LoadPoint("Uint32.Load")
	return x.v.Load()
}

// Store is that of sync/atomic.
func (x *Uint32) Store(v uint32) {
	interleave.Point("Uint32.Store")
	x.v.Store(v)
}

// Swap is that of sync/atomic.
func (x *Uint32) Swap(v uint32) uint32 {
	interleave.Point("Uint32.Swap")
	return x.v.Swap(v)
}

// CompareAndSwap is that of sync/atomic.
func (x *Uint32) CompareAndSwap(from, to uint32) bool {
	interleave.Point("Uint32.CompareAndSwap")
	return x.v.CompareAndSwap(from, to)
}

// Add is that of sync/atomic.
func (x *Uint32) Add(delta uint32) uint32 {
	interleave.Point("Uint32.Add")
	return x.v.Add(delta)
}

// Int64 is that of sync/atomic, and a point.
type Int64 struct{ v atomic.Int64 }

// Load is that of sync/atomic.
func (x *Int64) Load() int64 {
	interleave.LoadPoint("Int64.Load")
	return x.v.Load()
}

// Store is that of sync/atomic.
func (x *Int64) Store(v int64) {
	interleave.Point("Int64.Store")
	x.v.Store(v)
}

// Swap is that of sync/atomic.
func (x *Int64) Swap(v int64) int64 {
	interleave.Point("Int64.Swap")
	return x.v.Swap(v)
}

// CompareAndSwap is that of sync/atomic.
func (x *Int64) CompareAndSwap(from, to int64) bool {
	interleave.Point("Int64.CompareAndSwap")
	return x.v.CompareAndSwap(from, to)
}

// Add is that of sync/atomic.
func (x *Int64) Add(delta int64) int64 {
	interleave.Point("Int64.Add")
	return x.v.Add(delta)
}

// Pointer is that of sync/atomic, and a point.
type Pointer[T any] struct{ v atomic.Pointer[T] }

// Load is that of sync/atomic.
func (x *Pointer[T]) Load() *T {
	interleave.LoadPoint("Pointer.Load")
	return x.v.Load()
}

// Store is that of sync/atomic.
func (x *Pointer[T]) Store(v *T) {
	interleave.Point("Pointer.Store")
	x.v.Store(v)
}

// Swap is that of sync/atomic.
func (x *Pointer[T]) Swap(v *T) *T {
	interleave.Point("Pointer.Swap")
	return x.v.Swap(v)
}

// CompareAndSwap is that of sync/atomic.
func (x *Pointer[T]) CompareAndSwap(from, to *T) bool {
	interleave.Point("Pointer.CompareAndSwap")
	return x.v.CompareAndSwap(from, to)
}

// LoadUint32 is that of sync/atomic, and a point.
func LoadUint32(addr *uint32) uint32 {
	interleave.LoadPoint("LoadUint32")
	return atomic.LoadUint32(addr)
}

// StoreUint32 is that of sync/atomic, and a point.
func StoreUint32(addr *uint32, v uint32) {
	interleave.Point("StoreUint32")
	atomic.StoreUint32(addr, v)
}
