package buf

import "unsafe"

// addressOf is the address of b[0], or of where it would be; for alignment and
// overlap checks on memory that does not move (mmap'ed, or a heap object, which
// Go's collector does not move).
func addressOf(b []byte) uintptr { return uintptr(unsafe.Pointer(unsafe.SliceData(b))) }
