//go:build race

package testenv

// Race is whether the race detector is on: it sees only the memory of Go's heap, and takes ten
// times as long. Tests of code that runs on one goroutine may then do with fewer rounds.
const Race = true
