//go:build amd64 || arm64

package prefetch

import "unsafe"

// lines is Lines.
//
//go:noescape
func lines(p unsafe.Pointer, n int)
