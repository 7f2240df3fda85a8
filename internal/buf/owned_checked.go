//go:build !(amd64 || arm64) || race || invariants

package buf

import "sync/atomic"

// ownedChecked reports whether storeOwned checks that its caller owns the word.
const ownedChecked = true

// storeOwned stores to in w, which holds from, for a caller who owns the word; that
// it does is checked. See owned_unsafe.go.
func storeOwned(w *atomic.Uint64, from, to word) {
	if !w.CompareAndSwap(from, to) {
		panic("buf: the state of a buffer with one owner was changed by another")
	}
}
