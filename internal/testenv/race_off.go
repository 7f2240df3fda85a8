//go:build !race

package testenv

// Race is whether the race detector is on. Tests of code that runs on one goroutine
// may then do with fewer rounds: it takes ten times as long, and finds nothing there.
const Race = false
