//go:build interleave

package owned

import "github.com/zctap/zctap/internal/interleave/atomic"

// Checked reports whether Store checks that its caller owns the word.
const Checked = true

// Store stores to in w, which holds from; if it holds anything else, the schedule fails.
func Store(w *atomic.Uint64, from, to uint64) { w.StoreOwned(from, to) }
