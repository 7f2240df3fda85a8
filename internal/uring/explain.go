//go:build linux

package uring

import (
	"fmt"
	"os"
	"strings"

	"golang.org/x/sys/unix"
)

// explainSetup says why io_uring_setup refused, as far as can be found out from here.
func explainSetup(entries uint32, flags SetupFlags, errno unix.Errno) error {
	call := fmt.Sprintf("uring: io_uring_setup(%d, %v)", entries, flags)
	switch errno {
	case unix.ENOSYS, unix.EPERM:
		return fmt.Errorf("%s: %w: %s: %w", call, errno, explainForbidden(errno, readSwitches()), ErrNotSupported)
	case unix.EINVAL:
		if f, since := unknownFlag(flags); f != 0 {
			return fmt.Errorf("%s: %w: the kernel does not know %v (Linux %s): %w", call, errno, f, since, ErrNotSupported)
		}
		return fmt.Errorf("%s: %w: each flag is known alone; look at the sizes and at how the flags go together", call, errno)
	case unix.ENOMEM:
		return fmt.Errorf("%s: %w: before Linux 5.12 rings count against RLIMIT_MEMLOCK (ulimit -l)", call, errno)
	}
	return fmt.Errorf("%s: %w", call, errno)
}

// unknownFlag asks the kernel for a ring with each flag alone, plus what the flag cannot go without, and returns the first
// that it refuses as invalid, or 0.
func unknownFlag(flags SetupFlags) (SetupFlags, string) {
	for _, e := range setupFlagTable {
		if flags&e.flag == 0 {
			continue
		}
		kp := setupParams{flags: uint32(e.flag | e.needs)}
		if e.flag == SetupCQSize {
			kp.cqEntries = 2
		}
		fd, errno := sysSetup(1, &kp)
		switch errno {
		case 0:
			unix.Close(fd)
		case unix.EINVAL:
			return e.flag, e.since
		}
	}
	return 0, ""
}

// switches are what may forbid io_uring to this thread.
type switches struct {
	sysctl  string // /proc/sys/kernel/io_uring_disabled; "" if there is none
	seccomp string // the Seccomp line of /proc/thread-self/status; "2" is a filter, "" could not be read
}

func readSwitches() switches {
	var s switches
	if b, err := os.ReadFile("/proc/sys/kernel/io_uring_disabled"); err == nil {
		s.sysctl = strings.TrimSpace(string(b))
	}
	if b, err := os.ReadFile("/proc/thread-self/status"); err == nil {
		for line := range strings.Lines(string(b)) {
			if v, ok := strings.CutPrefix(line, "Seccomp:"); ok {
				s.seccomp = strings.TrimSpace(v)
			}
		}
	}
	return s
}

// explainForbidden tells the causes of ENOSYS and EPERM apart. The sysctl kernel.io_uring_disabled (since Linux 6.6, only
// in kernels that have io_uring) makes EPERM; a seccomp filter makes either, as container runtimes differ; a kernel
// without io_uring makes ENOSYS; a security module makes EPERM.
func explainForbidden(errno unix.Errno, s switches) string {
	filtered := s.seccomp == "2"
	switch {
	case errno == unix.EPERM && s.sysctl == "2":
		return "io_uring is disabled for every process: sysctl -w kernel.io_uring_disabled=0"
	case errno == unix.EPERM && s.sysctl == "1":
		return "io_uring is for CAP_SYS_ADMIN and the group in kernel.io_uring_group alone:" +
			" join that group, or sysctl -w kernel.io_uring_disabled=0"
	case errno == unix.EPERM && filtered:
		return "a seccomp filter forbids it: allow io_uring_setup, io_uring_enter and io_uring_register in the container's profile"
	case errno == unix.EPERM:
		return "neither the sysctl kernel.io_uring_disabled nor a seccomp filter forbids it: look for a security module's policy (SELinux, AppArmor)"
	case filtered && s.sysctl != "":
		return "the kernel has io_uring, so a seccomp filter hides it: allow io_uring_setup, io_uring_enter and io_uring_register in the container's profile"
	case filtered:
		return "the kernel lacks io_uring (CONFIG_IO_URING, Linux 5.1), or a seccomp filter hides it"
	case s.sysctl != "":
		return "the kernel has io_uring (kernel.io_uring_disabled exists) but the call is not there: look for a sandbox between this process and the kernel"
	}
	return "the kernel lacks io_uring (CONFIG_IO_URING, Linux 5.1)"
}
