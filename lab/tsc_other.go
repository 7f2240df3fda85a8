//go:build linux && !amd64

package lab

// rdtsc reads no counter: there are lab machines on amd64 only.
func rdtsc() uint64 { return 0 }
