//go:build linux

package tun

import (
	"syscall"
	"unsafe"

	"golang.org/x/sys/unix"
)

// The iovecs that the kernel reads are Go memory, and hold Go pointers: to heap
// objects, which Go's collector does not move and which the typed Base keeps
// alive, or to a region's mapping, which the pool keeps while the driver holds
// buffers of it.

// setIovec makes v name b.
func setIovec(v *unix.Iovec, b []byte) {
	v.Base = unsafe.SliceData(b)
	v.SetLen(len(b))
}

// readv reads one packet into the count iovecs from first on.
//
// RawSyscall6: the call never blocks, for fd is in non-blocking mode, and takes a
// bounded time, the 10 to 30 us of copying 64 KiB at the most. Syscall would
// tell the scheduler each time, which saves a quarter of our user CPU time in a
// bulk stream when left out (no difference in throughput was found), and let it
// take our P away in the middle of a batch when a copy passes 20 us. The price
// is that a collection's stop of the world may have to wait for one such copy.
//
// And syscall's, not unix's, in a function that is just small enough for the
// compiler to inline: straight after a system call each function to return from
// was measured to cost 6 ns, and this leaves out three.
func readv(fd int, first *unix.Iovec, count int) (n int, errno unix.Errno) {
	r, _, errno := syscall.RawSyscall6(unix.SYS_READV, uintptr(fd), uintptr(unsafe.Pointer(first)), uintptr(count), 0, 0, 0)
	return int(r), errno
}

// writev writes one packet.
//
// RawSyscall as well, though in the call the kernel's stack receives the packet and
// runs whatever that sets off, such as the transmission of what a sender may send by
// an ACK: hundreds of microseconds at times. With Syscall the scheduler takes our P
// away in most of them, wakes a thread for it that finds nothing to run, and keeps its
// monitor busy: a tenth of our user CPU time, and no more throughput for anybody, since
// the CPU is ours all the while.
func writev(fd int, iov []unix.Iovec) unix.Errno {
	_, _, errno := syscall.RawSyscall(unix.SYS_WRITEV, uintptr(fd), uintptr(unsafe.Pointer(unsafe.SliceData(iov))), uintptr(len(iov)))
	return errno
}
