//go:build !amd64 && !arm64

package prefetch

// lines does nothing: it would be a hint only.
func lines(uintptr, int) {}
