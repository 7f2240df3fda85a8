//go:build race

package buf

// raceEnabled: the race detector sees only Go's heap, and is slow.
const raceEnabled = true
