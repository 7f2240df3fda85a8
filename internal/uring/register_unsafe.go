//go:build linux

package uring

import (
	"unsafe"

	"golang.org/x/sys/unix"
)

// sysRegister calls io_uring_register(2) and returns its result, which some operations use.
func sysRegister(fd int, op uint32, arg unsafe.Pointer, n uint32) (int, unix.Errno) {
	res, _, errno := unix.Syscall6(unix.SYS_IO_URING_REGISTER, uintptr(fd), uintptr(op), uintptr(arg), uintptr(n), 0, 0)
	return int(res), errno
}

// registerStruct is sysRegister with one structure, which the kernel may write back to. It must hold no address of Go
// memory: what the kernel finds behind it has to be mapped or pinned.
func registerStruct[T any](fd int, op uint32, arg *T, n uint32) unix.Errno {
	_, errno := sysRegister(fd, op, unsafe.Pointer(arg), n)
	return errno
}
