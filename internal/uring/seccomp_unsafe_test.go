//go:build linux

package uring

import (
	"errors"
	"runtime"
	"strings"
	"testing"
	"unsafe"

	"golang.org/x/sys/unix"

	"github.com/zctap/zctap/internal/testenv"
)

// TestSeccompIsNamed puts a filter like those of container runtimes on one thread, which then ends, and looks whether the
// error tells the filter from a kernel without io_uring.
func TestSeccompIsNamed(t *testing.T) {
	testenv.NeedIOUring(t)
	for _, errno := range []unix.Errno{unix.EPERM, unix.ENOSYS} {
		t.Run(unix.ErrnoName(errno), func(t *testing.T) {
			result := make(chan error)
			go func() {
				runtime.LockOSThread() // not unlocked: the filter goes when the thread ends
				if err := forbid(unix.SYS_IO_URING_SETUP, errno); err != nil {
					result <- err
					return
				}
				r, err := New(4, Params{})
				if err == nil {
					r.Close()
				}
				result <- err
			}()
			err := <-result
			if !errors.Is(err, errno) || !errors.Is(err, ErrNotSupported) {
				t.Fatalf("New behind a filter: %v", err)
			}
			if !strings.Contains(err.Error(), "seccomp filter") {
				t.Errorf("the filter is not named: %v", err)
			}
		})
	}
}

// forbid makes the system call nr fail with errno on this thread from now on.
func forbid(nr uint32, errno unix.Errno) error {
	const (
		loadNr   = unix.BPF_LD | unix.BPF_W | unix.BPF_ABS // seccomp_data.nr is at offset 0
		ifEqual  = unix.BPF_JMP | unix.BPF_JEQ | unix.BPF_K
		returnK  = unix.BPF_RET | unix.BPF_K
		retErrno = 0x00050000 // SECCOMP_RET_ERRNO
		retAllow = 0x7fff0000 // SECCOMP_RET_ALLOW
		byFilter = 2          // SECCOMP_MODE_FILTER
	)
	program := []unix.SockFilter{
		{Code: loadNr},
		{Code: ifEqual, K: nr, Jf: 1},
		{Code: returnK, K: retErrno | uint32(errno)},
		{Code: returnK, K: retAllow},
	}
	if err := unix.Prctl(unix.PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0); err != nil {
		return err
	}
	var pin runtime.Pinner
	defer pin.Unpin()
	pin.Pin(&program[0])
	fprog := unix.SockFprog{Len: uint16(len(program)), Filter: &program[0]}
	return unix.Prctl(unix.PR_SET_SECCOMP, byFilter, uintptr(unsafe.Pointer(&fprog)), 0, 0)
}
