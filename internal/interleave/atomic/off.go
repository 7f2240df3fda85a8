//go:build !interleave

package atomic

import "sync/atomic"

// Bool is that of sync/atomic.
type Bool = atomic.Bool

// Int32 is that of sync/atomic.
type Int32 = atomic.Int32

// Int64 is that of sync/atomic.
type Int64 = atomic.Int64

// Uint32 is that of sync/atomic.
type Uint32 = atomic.Uint32

// Uint64 is that of sync/atomic.
type Uint64 = atomic.Uint64

// Pointer is that of sync/atomic.
type Pointer[T any] = atomic.Pointer[T]

// LoadUint32 is that of sync/atomic.
func LoadUint32(addr *uint32) uint32 { return atomic.LoadUint32(addr) }

// StoreUint32 is that of sync/atomic.
func StoreUint32(addr *uint32, v uint32) { atomic.StoreUint32(addr, v) }
