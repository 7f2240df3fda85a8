//go:build (amd64 || arm64) && !race && !invariants && !interleave

package owned

import (
	"unsafe"

	"github.com/zctap/zctap/internal/interleave/atomic"
)

// Checked reports whether Store checks that its caller owns the word.
const Checked = false

// Store stores to in w, which holds from.
func Store(w *atomic.Uint64, _, to uint64) { *(*uint64)(unsafe.Pointer(w)) = to }
