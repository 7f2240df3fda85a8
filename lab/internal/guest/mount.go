//go:build linux

package guest

import (
	"errors"
	"fmt"
	"os"

	"golang.org/x/sys/unix"
)

// A mount is a file system of the kernel's that belongs somewhere.
type mount struct {
	kind, at, options string
	essential         bool
}

// mounts are in the order in which they are made. Those that are not essential
// may be missing in the kernel.
var mounts = []mount{
	{"proc", "/proc", "", true},
	{"sysfs", "/sys", "", true},
	{"devtmpfs", "/dev", "mode=0755", true},
	{"tmpfs", "/run", "mode=0755", true},
	{"tmpfs", "/tmp", "mode=1777", true},
	{"cgroup2", "/sys/fs/cgroup", "", true},
	{"tmpfs", "/dev/shm", "mode=1777", false},
	{"devpts", "/dev/pts", "mode=0620,ptmxmode=0666", false},
	{"debugfs", "/sys/kernel/debug", "", false},
	{"tracefs", "/sys/kernel/tracing", "", false},
	{"bpf", "/sys/fs/bpf", "", false},
	{"hugetlbfs", "/dev/hugepages", "", false},
}

// mountEssential mounts them all.
func mountEssential() error {
	for _, m := range mounts {
		err := os.MkdirAll(m.at, 0o755)
		if err == nil {
			err = unix.Mount(m.kind, m.at, m.kind, 0, m.options)
		}
		if err != nil && m.essential && !errors.Is(err, unix.EBUSY) { // EBUSY: it is there
			return fmt.Errorf("mounting %s on %s: %w", m.kind, m.at, err)
		}
	}
	return nil
}

// prepareFiles makes what programs expect to find beside those.
func prepareFiles() error {
	if err := unix.Sethostname([]byte("lab")); err != nil {
		return err
	}
	for _, dir := range []string{OutDir, "/root", "/etc", "/run/netns", "/run/lab", "/var/tmp"} {
		if err := os.MkdirAll(dir, 0o755); err != nil {
			return err
		}
	}
	links := []struct{ from, to string }{
		{"/dev/fd", "/proc/self/fd"}, {"/dev/stdin", "/proc/self/fd/0"},
		{"/dev/stdout", "/proc/self/fd/1"}, {"/dev/stderr", "/proc/self/fd/2"},
		{"/var/run", "/run"}, {"/bin/" + EventCommand, "/init"},
	}
	if err := os.MkdirAll("/bin", 0o755); err != nil {
		return err
	}
	for _, l := range links {
		if err := os.Symlink(l.to, l.from); err != nil && !errors.Is(err, os.ErrExist) {
			return err
		}
	}
	files := map[string]string{
		"/etc/passwd":      "root:x:0:0:root:/root:/bin/sh\nnobody:x:65534:65534:nobody:/:/bin/false\n",
		"/etc/group":       "root:x:0:\nnogroup:x:65534:\n",
		"/etc/hosts":       "127.0.0.1 localhost\n::1 localhost\n",
		"/etc/resolv.conf": "",
	}
	for name, text := range files {
		// What the runner was told to put there stays.
		f, err := os.OpenFile(name, os.O_CREATE|os.O_EXCL|os.O_WRONLY, 0o644)
		if errors.Is(err, os.ErrExist) {
			continue
		}
		if err != nil {
			return err
		}
		_, err = f.WriteString(text)
		if err := errors.Join(err, f.Close()); err != nil {
			return err
		}
	}
	return nil
}
