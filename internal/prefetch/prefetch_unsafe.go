// Package prefetch has cache lines loaded before they are needed.
//
// An ordinary load that misses the cache holds up all that comes behind it: the CPU goes
// on, but no further than a few hundred instructions, some 30 ns, while memory takes
// 100. A prefetch instruction is over at once, and changes nothing else. Go has none
// outside of its own runtime, so they are in assembly (ADR 14).
package prefetch

import "unsafe"

// LineSize is what is loaded at a time, in bytes.
const LineSize = 64

// Lines begins to load n cache lines, at least one, from the one that *p begins in. They
// may reach beyond *p, and beyond all memory: what is not there is not loaded.
func Lines[T any](p *T, n int) { lines(unsafe.Pointer(p), n) }
