//go:build race

package zctap

// raceEnabled puts the regions of wires in memory on the heap, where the race
// detector sees them.
const raceEnabled = true
