package testenv

import (
	"os"
	"runtime"
)

// Scale is how much a test does: full if the environment variable env is set, else
// short, which takes a moment.
func Scale(env string, full, short int) int {
	if os.Getenv(env) != "" {
		return full
	}
	return short
}

// HeapInUse is the bytes of the heap that something refers to.
func HeapInUse() int64 {
	for range 3 {
		runtime.GC() // pools let go in the second, finalizers in the third
	}
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return int64(m.HeapAlloc)
}
