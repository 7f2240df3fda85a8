//go:build (!(amd64 || arm64) || race || invariants) && !interleave

package owned

import (
	_ "sync/atomic" // see interleave/atomic

	"github.com/zctap/zctap/internal/interleave/atomic"
)

// Checked reports whether Store checks that its caller owns the word.
const Checked = true

// Store stores to in w, which holds from; if it holds anything else, it panics.
func Store(w *atomic.Uint64, from, to uint64) {
	if !w.CompareAndSwap(from, to) {
		panic("owned: a word with one owner was changed by another")
	}
}
