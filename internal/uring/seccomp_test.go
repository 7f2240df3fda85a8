//go:build linux

package uring

import (
	"errors"
	"runtime"
	"strings"
	"testing"

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
				if err := testenv.Forbid(unix.SYS_IO_URING_SETUP, errno, false); err != nil {
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
