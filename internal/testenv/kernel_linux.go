package testenv

import (
	"errors"
	"os"
	"os/exec"
	"syscall"
	"testing"

	"golang.org/x/sys/unix"
)

// NeedTUN ends the test unless this process may open /dev/net/tun. Attaching
// to a device needs CAP_NET_ADMIN in the network namespace as well.
func NeedTUN(t testing.TB) {
	t.Helper()
	f, err := os.OpenFile("/dev/net/tun", os.O_RDWR, 0)
	if err != nil {
		SkipOrFail(t, "needs TUN devices: %v", err)
		return
	}
	f.Close()
}

// NeedIOUring ends the test unless the kernel lets this process create an
// io_uring. An answer that says neither yes nor no fails the test.
//
// The probe is io_uring_setup(0, NULL): a kernel that gets as far as reading
// the parameters answers EFAULT, one that lacks io_uring ENOSYS, and one that
// forbids it (the sysctl kernel.io_uring_disabled, or a seccomp filter) EPERM
// or ENOSYS.
func NeedIOUring(t testing.TB) {
	t.Helper()
	_, _, errno := unix.Syscall(unix.SYS_IO_URING_SETUP, 0, 0, 0)
	switch {
	case errno == unix.EFAULT:
	case errors.Is(errno, errors.ErrUnsupported), errors.Is(errno, os.ErrPermission):
		SkipOrFail(t, "needs io_uring: io_uring_setup: %v (see the sysctl kernel.io_uring_disabled)", errno)
	default:
		t.Fatalf("probing for io_uring: io_uring_setup(0, NULL): %v, want EFAULT", errno)
	}
}

// NeedUserNS ends the test unless this process may create a user namespace
// that owns a network namespace.
func NeedUserNS(t testing.TB) {
	t.Helper()
	// The test binary itself is the one program that is certainly there;
	// asked to list the tests that match no name, it prints nothing.
	cmd := exec.Command("/proc/self/exe", "-test.list=^$")
	cmd.Env = append(os.Environ(), "GORACE=atexit_sleep_ms=0") // or a race build takes a second to exit
	cmd.SysProcAttr = &syscall.SysProcAttr{
		Cloneflags:  unix.CLONE_NEWUSER | unix.CLONE_NEWNET,
		UidMappings: []syscall.SysProcIDMap{{HostID: os.Geteuid(), Size: 1}},
		GidMappings: []syscall.SysProcIDMap{{HostID: os.Getegid(), Size: 1}},
	}
	if err := cmd.Run(); err != nil {
		SkipOrFail(t, "needs unprivileged user namespaces: %v (see the sysctl user.max_user_namespaces)", err)
	}
}
