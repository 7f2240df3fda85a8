//go:build race

package stack

// raceEnabled: sync.Pool then drops some of what it is given, at random.
const raceEnabled = true
