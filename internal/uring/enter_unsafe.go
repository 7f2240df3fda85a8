//go:build linux

package uring

import (
	"unsafe"

	"golang.org/x/sys/unix"
)

// sysEnter calls io_uring_enter(2). A call that blocks tells the Go scheduler, which then can run other goroutines on this
// thread's processor.
func (r *Ring) sysEnter(submit, wait, flags uint32, block bool) (int, unix.Errno) {
	var arg, size uintptr
	if flags&enterExtArg != 0 {
		r.enterArg.arg.ts = uint64(uintptr(unsafe.Pointer(&r.enterArg.ts)))
		arg, size = uintptr(unsafe.Pointer(&r.enterArg.arg)), unsafe.Sizeof(r.enterArg.arg)
	}
	var n uintptr
	var errno unix.Errno
	if block {
		n, _, errno = unix.Syscall6(unix.SYS_IO_URING_ENTER, uintptr(r.enterFD), uintptr(submit), uintptr(wait), uintptr(flags), arg, size)
	} else {
		n, _, errno = unix.RawSyscall6(unix.SYS_IO_URING_ENTER, uintptr(r.enterFD), uintptr(submit), uintptr(wait), uintptr(flags), arg, size)
	}
	return int(n), errno
}

// AddrOf returns the address of b for an SQE, 0 for a nil slice. It keeps nothing alive and pins nothing: b must be
// mapped memory, or pinned (runtime.Pinner), until the kernel is done with it.
func AddrOf(b []byte) uintptr { return uintptr(unsafe.Pointer(unsafe.SliceData(b))) }
