package wire

import (
	"testing"

	"golang.org/x/sys/unix"
)

// fenced is two pages between others that are not mapped. A region is mapped, and may be
// followed by nothing: a read beyond a slice, which the compiler doesn't check in assembly,
// would be a fault.
func fenced(t *testing.T) []byte {
	page := unix.Getpagesize()
	mapped, err := unix.Mmap(-1, 0, 4*page, unix.PROT_READ|unix.PROT_WRITE, unix.MAP_ANON|unix.MAP_PRIVATE)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := unix.Munmap(mapped); err != nil {
			t.Error(err)
		}
	})
	for _, fence := range [][]byte{mapped[:page], mapped[3*page:]} {
		if err := unix.Mprotect(fence, unix.PROT_NONE); err != nil {
			t.Fatal(err)
		}
	}
	return mapped[page : 3*page : 3*page]
}

func TestSumStaysInside(t *testing.T) {
	b := fenced(t)
	for i := range b {
		b[i] = byte(i*7 + i>>8)
	}
	for n := range min(2200, len(b)) {
		checkVectors(t, b[len(b)-n:])
		checkVectors(t, b[:n])
	}
	checkVectors(t, b)
}

func TestContinuationStaysInside(t *testing.T) {
	fence := fenced(t)
	for _, k := range continuationCases() {
		head := k.head(t, 100, 1)
		n := len(head)
		for _, first := range [][]byte{fence[:n], fence[len(fence)-n:]} {
			copy(first, head)
			c, _, _ := k.of(t, first)
			for _, next := range [][]byte{fence[:n], fence[len(fence)-n:]} {
				copy(next, head)
				if _, ok := continues(t, &c, next, 100); !ok {
					t.Errorf("%x does not continue itself", head)
				}
			}
			for short := range n { // what there is of it is like the first
				next := fence[len(fence)-short:]
				copy(next, head)
				if _, ok := continues(t, &c, next, 100); ok {
					t.Errorf("%d bytes of %d continue", short, n)
				}
			}
		}
	}
}
