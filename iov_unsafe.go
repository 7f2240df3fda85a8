package zctap

import (
	"unsafe"

	"github.com/zctap/zctap/internal/buf"
)

// inner is iovs as the internal packages see them. Iov's underlying type is
// buf.Iov's, so the memory is the same; Go converts values, but not slices, of
// such types.
func inner(iovs []Iov) []buf.Iov {
	return unsafe.Slice((*buf.Iov)(unsafe.SliceData(iovs)), len(iovs))
}
