//go:build linux

package zctap_test

import (
	"os"
	"testing"
	"unsafe"

	"golang.org/x/sys/unix"
)

// udmabufCreate is struct udmabuf_create (linux/udmabuf.h).
type udmabufCreate struct {
	memfd, flags uint32
	offset, size uint64
}

const udmabufCreateIoctl = 0x40187542 // UDMABUF_CREATE

// dmaBuffer makes a DMA buffer of ordinary memory, and a mapping of it that goes
// on with memory of another kind.
func dmaBuffer(t *testing.T, size, all int) (fd int, mem []byte) {
	t.Helper()
	ok := func(err error) {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
	}
	device, err := os.OpenFile("/dev/udmabuf", os.O_RDWR, 0)
	ok(err)
	defer device.Close()
	file, err := unix.MemfdCreate("dma", unix.MFD_ALLOW_SEALING|unix.MFD_CLOEXEC)
	ok(err)
	defer unix.Close(file)
	ok(unix.Ftruncate(file, int64(size)))
	_, err = unix.FcntlInt(uintptr(file), unix.F_ADD_SEALS, unix.F_SEAL_SHRINK)
	ok(err)
	c := udmabufCreate{memfd: uint32(file), flags: 1, size: uint64(size)} // UDMABUF_FLAGS_CLOEXEC
	got, _, errno := unix.Syscall(unix.SYS_IOCTL, device.Fd(), udmabufCreateIoctl, uintptr(unsafe.Pointer(&c)))
	if errno != 0 {
		t.Fatalf("UDMABUF_CREATE: %v", errno)
	}
	t.Cleanup(func() { unix.Close(int(got)) })
	mem, err = unix.Mmap(-1, 0, all, unix.PROT_READ|unix.PROT_WRITE, unix.MAP_PRIVATE|unix.MAP_ANON)
	ok(err)
	t.Cleanup(func() { unix.Munmap(mem) })
	_, err = unix.MmapPtr(int(got), 0, unsafe.Pointer(&mem[0]), uintptr(size), unix.PROT_READ|unix.PROT_WRITE, unix.MAP_SHARED|unix.MAP_FIXED)
	ok(err)
	return int(got), mem
}
