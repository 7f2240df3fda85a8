//go:build !linux

package enginetest

// threadID is the same for all: threads have no names here.
func threadID() int { return 0 }
