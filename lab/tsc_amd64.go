//go:build linux

package lab

// rdtsc reads the time stamp counter.
func rdtsc() uint64
