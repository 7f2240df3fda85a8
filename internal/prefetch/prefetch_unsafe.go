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

// Lines begins to load n cache lines, at least one, of which the first is number from behind the
// one that *p begins in: of a pointer to a field of *p the compiler would look whether p is nil, by a
// load that waits. The lines may reach beyond *p, and beyond all memory: what is not there is
// not loaded.
//
// The address is no pointer any more when it is moved on: one beyond *p might be of another
// object, for the garbage collector, and the race detector ends a program that makes it.
func Lines[T any](p *T, from, n int) {
	lines(uintptr(unsafe.Pointer(p))+uintptr(from*LineSize), n)
}
