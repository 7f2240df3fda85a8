//go:build linux

package zctap_test

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"strings"
	"testing"

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
	if err := testenv.Forbid(unix.SYS_IO_URING_SETUP, unix.EPERM, true); err != nil {
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
