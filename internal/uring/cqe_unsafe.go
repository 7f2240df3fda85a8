//go:build linux

package uring

import "unsafe"

// words returns the slot as the two 64-bit words of a large CQE's second half. It is a slot of the shared queue that the
// kernel has published: nobody writes it until it is released.
func (s *cqeSlot) words() [2]uint64 { return *(*[2]uint64)(unsafe.Pointer(s)) }

// largeCQEs is the slots of a queue of large CQEs only (SetupCQE32), which lie there as a CQE does; header_unsafe_test.go
// holds its fields against the kernel's.
func largeCQEs(slots []cqeSlot) []CQE {
	return unsafe.Slice((*CQE)(unsafe.Pointer(unsafe.SliceData(slots))), len(slots)/2)
}
