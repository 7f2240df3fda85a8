//go:build (amd64 || arm64) && !race && !invariants

package sockq

import (
	"sync/atomic"
	"unsafe"
)

// storeOwned stores to in w, which holds from, for the only one who stores there at the
// time: a count of bytes is the producer's, or the consumer's. It is an aligned word, so whoever loads it
// meanwhile finds from or to; and an atomic store of the caller's comes next (publish, settle),
// behind which nobody finds from. That one is a locked operation; this need not be another. The race
// detector can't know; builds for it, and those with -tags invariants, take owned_checked.go.
func storeOwned(w *atomic.Uint64, _, to uint64) { *(*uint64)(unsafe.Pointer(w)) = to }
