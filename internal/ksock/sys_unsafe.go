//go:build linux

package ksock

import (
	"unsafe"

	"golang.org/x/sys/unix"
)

// The system calls of the data path, without the allocations and the copies of
// the unix package's wrappers. They are made as calls that may take long: a
// receive copies all that it returns, which is time that a garbage collection
// should not have to wait for.

// sendTo is sendto(2); without an address size is 0.
func sendTo(fd int, p []byte, flags int, to *sockaddr, size int) (int, unix.Errno) {
	n, _, errno := unix.Syscall6(unix.SYS_SENDTO, uintptr(fd), uintptr(unsafe.Pointer(unsafe.SliceData(p))), uintptr(len(p)),
		uintptr(flags), uintptr(unsafe.Pointer(to)), uintptr(size))
	return int(n), errno
}

// recvMsg is recvmsg(2).
func recvMsg(fd int, hdr *unix.Msghdr, flags int) (int, unix.Errno) {
	n, _, errno := unix.Syscall(unix.SYS_RECVMSG, uintptr(fd), uintptr(unsafe.Pointer(hdr)), uintptr(flags))
	return int(n), errno
}

// recvMmsg is recvmmsg(2) without a timeout.
func recvMmsg(fd int, hdrs []mmsghdr, flags int) (int, unix.Errno) {
	n, _, errno := unix.Syscall6(unix.SYS_RECVMMSG, uintptr(fd), uintptr(unsafe.Pointer(unsafe.SliceData(hdrs))), uintptr(len(hdrs)),
		uintptr(flags), 0, 0)
	return int(n), errno
}

// getMemInfo is getsockopt(2) of SO_MEMINFO, which fills as much as fits.
func getMemInfo(fd int, info *[memInfoDrops + 1]uint32) unix.Errno {
	size := uint32(unsafe.Sizeof(*info))
	_, _, errno := unix.Syscall6(unix.SYS_GETSOCKOPT, uintptr(fd), unix.SOL_SOCKET, unix.SO_MEMINFO,
		uintptr(unsafe.Pointer(info)), uintptr(unsafe.Pointer(&size)), 0)
	return errno
}

// setControl gives message i its room for control messages.
func (m *Messages) setControl(i int) {
	h := &m.hdrs[i].hdr
	h.Control = (*byte)(unsafe.Pointer(&m.ctls[i]))
	h.SetControllen(controlLen)
}

// controlOf is the control messages that came with message i.
func (m *Messages) controlOf(i int) []byte {
	n := min(int(m.hdrs[i].hdr.Controllen), controlLen)
	return unsafe.Slice((*byte)(unsafe.Pointer(&m.ctls[i])), controlLen)[:n]
}
