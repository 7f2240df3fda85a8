//go:build amd64 || arm64

package prefetch

// lines is Lines from an address on.
func lines(address uintptr, n int)
