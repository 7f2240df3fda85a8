//go:build linux

package vfiousertest

import (
	"encoding/binary"
	"sync/atomic"
	"unsafe"
)

// word returns the 32-bit word at off, which must be a multiple of 4. It panics
// if that is not inside the memory. The mapping starts on a page.
func (m *Memory) word(off int) *uint32 {
	if off%4 != 0 {
		panic("vfiousertest: offset is not a multiple of 4")
	}
	return (*uint32)(unsafe.Pointer(&m.Bytes[off : off+4][0]))
}

// Load32 loads the little-endian word at off before all that is read after it,
// so that what the device wrote before it published the word is there. Pairs
// with Bus.Store32.
func (m *Memory) Load32(off int) uint32 {
	var b [4]byte
	binary.NativeEndian.PutUint32(b[:], atomic.LoadUint32(m.word(off)))
	return le.Uint32(b[:])
}

// Store32 stores v, little-endian, at off after all that was written before.
func (m *Memory) Store32(off int, v uint32) {
	var b [4]byte
	le.PutUint32(b[:], v)
	atomic.StoreUint32(m.word(off), binary.NativeEndian.Uint32(b[:]))
}
