//go:build linux

package nic

import (
	"testing"
	"unsafe"

	"golang.org/x/sys/unix"
)

// newRing sets up an io_uring.
func newRing(t *testing.T) int {
	t.Helper()
	var params [120]byte // struct io_uring_params
	fd, _, errno := unix.Syscall(unix.SYS_IO_URING_SETUP, 1, uintptr(unsafe.Pointer(&params)), 0)
	if errno != 0 {
		t.Fatalf("io_uring_setup: %v", errno)
	}
	return int(fd)
}
