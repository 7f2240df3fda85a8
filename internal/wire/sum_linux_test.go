package wire

import (
	"testing"

	"golang.org/x/sys/unix"
)

// A region is mapped, and may be followed by nothing: a read beyond a slice, which the
// compiler doesn't check in assembly, would be a fault.
func TestSumStaysInside(t *testing.T) {
	page := unix.Getpagesize()
	mapped, err := unix.Mmap(-1, 0, 4*page, unix.PROT_READ|unix.PROT_WRITE, unix.MAP_ANON|unix.MAP_PRIVATE)
	if err != nil {
		t.Fatal(err)
	}
	defer func() {
		if err := unix.Munmap(mapped); err != nil {
			t.Error(err)
		}
	}()
	b := mapped[page : 3*page : 3*page]
	for i := range b {
		b[i] = byte(i*7 + i>>8)
	}
	for _, fence := range [][]byte{mapped[:page], mapped[3*page:]} {
		if err := unix.Mprotect(fence, unix.PROT_NONE); err != nil {
			t.Fatal(err)
		}
	}
	for n := range min(2200, len(b)) {
		checkVectors(t, b[len(b)-n:])
		checkVectors(t, b[:n])
	}
	checkVectors(t, b)
}
