//go:build !race

package zctap

// raceEnabled: see race_on.go.
const raceEnabled = false
