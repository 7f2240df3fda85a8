package tcp

import (
	"testing"
	"unsafe"

	"github.com/zctap/zctap/internal/sockq"
)

// An idle connection costs less than 2 KiB, and holds no buffer and no send block.
func TestIdleSize(t *testing.T) {
	const perChannel, channels = 128, 4 // the two parkers'
	size := unsafe.Sizeof(Conn{}) + unsafe.Sizeof(sockq.Queue{}) + unsafe.Sizeof(SendBuffer{}) + unsafe.Sizeof(cubic{}) + perChannel*channels
	t.Logf("Conn %d, cubic %d, Queue %d, SendBuffer %d bytes", unsafe.Sizeof(Conn{}), unsafe.Sizeof(cubic{}), unsafe.Sizeof(sockq.Queue{}), unsafe.Sizeof(SendBuffer{}))
	if size > 2048 {
		t.Errorf("%d bytes for an idle connection", size)
	}
	// The runtime's size class of 768 bytes, without the header that it gives an
	// object of this size; the next one is 896.
	if n := unsafe.Sizeof(Conn{}); n > 760 {
		t.Errorf("a Conn has %d bytes, which take 896", n)
	}
}
