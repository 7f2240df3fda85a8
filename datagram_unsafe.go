package zctap

import (
	"unsafe"

	"github.com/zctap/zctap/internal/sockq"
)

// messages is dgrams as package sockq sees them: of the same fields, so that
// nothing is copied on the way out.
func messages(dgrams []Datagram) []sockq.Message {
	return unsafe.Slice((*sockq.Message)(unsafe.SliceData(dgrams)), len(dgrams))
}
