//go:build linux

package zctap_test

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"runtime"
	"strings"
	"testing"
	"unsafe"

	"golang.org/x/sys/unix"

	"github.com/zctap/zctap"
	"github.com/zctap/zctap/internal/testenv"
)

// TestCopyMode: engine Copy says that it receives by io_uring; and in a process that may not,
// as in a container, by what else and why.
func TestCopyMode(t *testing.T) {
	testenv.NeedIOUring(t)
	q, err := zctap.Open(zctap.Config{Engine: zctap.Copy, Buffers: 64})
	if err != nil {
		t.Fatal(err)
	}
	if mode, why := q.CopyMode(); mode != "uring" || why != nil {
		t.Errorf("mode %q, %v", mode, why)
	}
	if err := q.Close(); err != nil {
		t.Error(err)
	}
	user, _ := openMem(pairA4, pairB4)(t, zctap.Config{Buffers: 64})
	if mode, why := user.CopyMode(); mode != "" || why != nil {
		t.Errorf("of engine user: mode %q, %v", mode, why)
	}
	if err := user.Close(); err != nil {
		t.Error(err)
	}

	cmd := exec.CommandContext(t.Context(), "/proc/self/exe")
	cmd.Env = append(os.Environ(), roleEnv+"=without io_uring", "GORACE=atexit_sleep_ms=0")
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Errorf("%v: %s", err, out)
	}
}

func init() { roles["without io_uring"] = withoutIOUring }

// withoutIOUring is a process that a filter forbids io_uring.
func withoutIOUring() error {
	if err := forbidIOUring(); err != nil {
		return fmt.Errorf("the filter: %w", err)
	}
	q, err := zctap.Open(zctap.Config{Buffers: 64})
	if err != nil {
		return err
	}
	mode, why := q.CopyMode()
	if mode != "readv" || !errors.Is(why, unix.EPERM) || !strings.Contains(why.Error(), "seccomp filter") {
		err = fmt.Errorf("mode %q, %w", mode, why)
	}
	return errors.Join(err, q.Close())
}

// forbidIOUring has io_uring_setup fail with EPERM in all threads of this process, as
// container runtimes do (seccomp(2), SECCOMP_FILTER_FLAG_TSYNC).
func forbidIOUring() error {
	const (
		loadNr   = unix.BPF_LD | unix.BPF_W | unix.BPF_ABS // seccomp_data.nr is at offset 0
		ifEqual  = unix.BPF_JMP | unix.BPF_JEQ | unix.BPF_K
		returnK  = unix.BPF_RET | unix.BPF_K
		retErrno = 0x00050000 // SECCOMP_RET_ERRNO
		retAllow = 0x7fff0000 // SECCOMP_RET_ALLOW
		byFilter = 1          // SECCOMP_SET_MODE_FILTER
		threads  = 1          // SECCOMP_FILTER_FLAG_TSYNC
	)
	program := []unix.SockFilter{
		{Code: loadNr},
		{Code: ifEqual, K: unix.SYS_IO_URING_SETUP, Jf: 1},
		{Code: returnK, K: retErrno | uint32(unix.EPERM)},
		{Code: returnK, K: retAllow},
	}
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	if err := unix.Prctl(unix.PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0); err != nil {
		return err
	}
	var pin runtime.Pinner
	defer pin.Unpin()
	pin.Pin(&program[0])
	filter := unix.SockFprog{Len: uint16(len(program)), Filter: &program[0]}
	if _, _, errno := unix.Syscall(unix.SYS_SECCOMP, byFilter, threads, uintptr(unsafe.Pointer(&filter))); errno != 0 {
		return errno
	}
	return nil
}
