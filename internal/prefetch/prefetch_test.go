package prefetch

import "testing"

// TestLines: any number of lines, from anywhere, whatever lies behind.
func TestLines(t *testing.T) {
	var b [3 * LineSize]byte
	for i := range b {
		for _, n := range []int{-1, 0, 1, 2, 100_000} {
			Lines(&b[i], n%5, n)
		}
	}
	Lines((*int)(nil), 3, 1)
	if b != [3 * LineSize]byte{} {
		t.Error("something was written")
	}
}
