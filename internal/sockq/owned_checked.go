//go:build !(amd64 || arm64) || race || invariants

package sockq

import "sync/atomic"

// storeOwned stores to in w, which holds from, for the only one who stores there; that it is
// is checked. See owned_unsafe.go.
func storeOwned(w *atomic.Uint64, from, to uint64) {
	if !w.CompareAndSwap(from, to) {
		panic("sockq: two have counted the bytes of one side of a queue")
	}
}
