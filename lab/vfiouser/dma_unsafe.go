//go:build linux

package vfiouser

import (
	"encoding/binary"
	"sync/atomic"
	"unsafe"
)

// baseOf returns where in this process mapped memory is. It does not move.
func baseOf(mem []byte) uintptr { return uintptr(unsafe.Pointer(unsafe.SliceData(mem))) }

// word returns the 32-bit word at off, a multiple of 4, which is bounds-checked
// like any index. The mapping starts on a page, so that the word is aligned.
func word(mem []byte, off uint64) *uint32 {
	return (*uint32)(unsafe.Pointer(&mem[off : off+4][0]))
}

// storeWord is a release: it pairs with the guest's load-acquire of the word,
// such as the dma_rmb after a driver has read a descriptor's generation bit.
func storeWord(mem []byte, off uint64, v uint32) {
	var b [4]byte
	binary.LittleEndian.PutUint32(b[:], v)
	atomic.StoreUint32(word(mem, off), binary.NativeEndian.Uint32(b[:]))
}

// loadWord is an acquire: it pairs with the guest's store-release, such as the
// dma_wmb before a driver hands over a descriptor.
func loadWord(mem []byte, off uint64) uint32 {
	var b [4]byte
	binary.NativeEndian.PutUint32(b[:], atomic.LoadUint32(word(mem, off)))
	return binary.LittleEndian.Uint32(b[:])
}
