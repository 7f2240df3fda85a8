//go:build linux

package uring

import (
	"errors"
	"fmt"
	"runtime"
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/zctap/zctap/internal/testenv"
)

// TestTryPin: what is beyond RLIMIT_MEMLOCK is refused without CAP_IPC_LOCK, in one piece or in several, and what fits does so
// again and again: nothing stays pinned.
func TestTryPin(t *testing.T) {
	testenv.NeedRoot(t) // an ordinary user's other processes count, too
	if err := Have(Basic); err != nil {
		testenv.SkipOrFail(t, "%v", err)
	}
	var old unix.Rlimit
	must(t, unix.Getrlimit(unix.RLIMIT_MEMLOCK, &old))
	if old.Max < 1<<20 { // root of a container may not raise it
		testenv.SkipOrFail(t, "RLIMIT_MEMLOCK is %d bytes at most", old.Max)
	}
	must(t, unix.Setrlimit(unix.RLIMIT_MEMLOCK, &unix.Rlimit{Cur: 1 << 20, Max: old.Max}))
	defer unix.Setrlimit(unix.RLIMIT_MEMLOCK, &old)
	large, small := memory(t, 1<<20+64<<10), memory(t, 640<<10) // a ring itself counts in some kernels
	must(t, TryPin(large, small))                               // with the capability
	done := make(chan error)
	go func() {
		runtime.LockOSThread() // and never unlocked: the thread ends without its capability
		done <- func() error {
			if err := dropCapabilities(unix.CAP_IPC_LOCK); err != nil {
				return err
			}
			if err := TryPin(); err != nil {
				return err
			}
			for i := range 10 {
				if err := TryPin(small[:512<<10], small[512<<10:]); err != nil {
					return fmt.Errorf("within the limit, %d times before: %w", i, err)
				}
			}
			if err := pinAndClose(small); err != nil {
				return err
			}
			if err := TryPin(small); err != nil {
				return fmt.Errorf("what a ring that was closed had pinned counts still: %w", err)
			}
			for _, mem := range [][][]byte{{large}, {small, large[:640<<10]}} {
				err := TryPin(mem...)
				if !errors.Is(err, unix.ENOMEM) || !strings.Contains(err.Error(), "RLIMIT_MEMLOCK (ulimit -l), now 1024 KiB") {
					return fmt.Errorf("%d pieces beyond the limit: %w", len(mem), err)
				}
			}
			return nil
		}()
	}()
	must(t, <-done)
}

// pinAndClose has a ring pin m, and closes it as it is.
func pinAndClose(m []byte) error {
	return withProbeRing(func(r *Ring) error {
		piece := unix.Iovec{Base: &m[0]}
		piece.SetLen(len(m))
		if errno := registerStruct(r.fd, registerBuffers, &piece, 1); errno != 0 {
			return errno
		}
		return nil
	})
}
