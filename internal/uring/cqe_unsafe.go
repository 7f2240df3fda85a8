//go:build linux

package uring

import "unsafe"

// words returns the slot as the two 64-bit words of a large CQE's second half. It is a slot of the shared queue that the
// kernel has published: nobody writes it until it is released.
func (s *cqeSlot) words() [2]uint64 { return *(*[2]uint64)(unsafe.Pointer(s)) }
