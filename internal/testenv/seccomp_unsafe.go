//go:build linux

package testenv

import (
	"runtime"
	"unsafe"

	"golang.org/x/sys/unix"
)

// What seccomp(2) is asked for, as far as x/sys does not have it.
const (
	setFilter   = 1          // SECCOMP_SET_MODE_FILTER
	filterAll   = 1          // SECCOMP_FILTER_FLAG_TSYNC
	returnErrno = 0x00050000 // SECCOMP_RET_ERRNO
	returnAllow = 0x7fff0000 // SECCOMP_RET_ALLOW
)

// Forbid has the system call nr fail with errno from now on, as container runtimes do: on the
// caller's thread, to which it is to be locked, or in the whole process. There is no way back.
func Forbid(nr uint32, errno unix.Errno, process bool) error {
	program := []unix.SockFilter{
		{Code: unix.BPF_LD | unix.BPF_W | unix.BPF_ABS}, // the call's number, at offset 0 of struct seccomp_data
		{Code: unix.BPF_JMP | unix.BPF_JEQ | unix.BPF_K, K: nr, Jf: 1},
		{Code: unix.BPF_RET | unix.BPF_K, K: returnErrno | uint32(errno)},
		{Code: unix.BPF_RET | unix.BPF_K, K: returnAllow},
	}
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	if err := unix.Prctl(unix.PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0); err != nil {
		return err
	}
	var flags uintptr
	if process {
		flags = filterAll
	}
	var pin runtime.Pinner
	defer pin.Unpin()
	pin.Pin(&program[0])
	filter := unix.SockFprog{Len: uint16(len(program)), Filter: &program[0]}
	if _, _, e := unix.Syscall(unix.SYS_SECCOMP, setFilter, flags, uintptr(unsafe.Pointer(&filter))); e != 0 {
		return e
	}
	return nil
}
