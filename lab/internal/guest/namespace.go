//go:build linux

package guest

import (
	"fmt"
	"os"
	"path/filepath"
	"runtime"

	"golang.org/x/sys/unix"
)

// namespacePath is where ip-netns(8), too, has the network namespace of a
// name; the first one has none.
func namespacePath(name string) string {
	if name == "" {
		return "/proc/1/ns/net"
	}
	return filepath.Join("/run/netns", name)
}

// makeNamespace makes a network namespace under a name, if there is none yet.
func makeNamespace(name string) error {
	at := namespacePath(name)
	f, err := os.OpenFile(at, os.O_CREATE|os.O_EXCL, 0o444)
	if os.IsExist(err) {
		return nil
	}
	if err != nil {
		return err
	}
	f.Close()
	return onThread(func() error {
		if err := unix.Unshare(unix.CLONE_NEWNET); err != nil {
			return err
		}
		if err := loopbackUp(); err != nil {
			return err
		}
		return unix.Mount("/proc/thread-self/ns/net", at, "", unix.MS_BIND, "")
	})
}

// onThread calls f on a thread that ends afterwards, so that f may change the
// namespaces of the thread.
func onThread(f func() error) error {
	result := make(chan error, 1)
	go func() {
		runtime.LockOSThread() // and never back
		result <- f()
	}()
	return <-result
}

// inNamespace calls f in a network namespace; "" is the first one. With sysfs
// set, f also finds that namespace's interfaces under /sys: a process that is
// to be started needs it, and the mount namespace for it costs some time.
func inNamespace(name string, sysfs bool, f func() error) error {
	if name == "" {
		return f()
	}
	return onThread(func() error {
		ns, err := os.Open(namespacePath(name))
		if err != nil {
			return fmt.Errorf("no network namespace %s: %w", name, err)
		}
		defer ns.Close()
		if err := unix.Setns(int(ns.Fd()), unix.CLONE_NEWNET); err != nil {
			return fmt.Errorf("entering the network namespace %s: %w", name, err)
		}
		if sysfs {
			if err := mountOwnSysfs(); err != nil {
				return fmt.Errorf("mounting /sys for the network namespace %s: %w", name, err)
			}
		}
		return f()
	})
}

// mountOwnSysfs gives the thread a mount namespace in which /sys is that of
// its network namespace, and all below it as it was.
func mountOwnSysfs() error {
	if err := unix.Unshare(unix.CLONE_NEWNS); err != nil {
		return err
	}
	const fresh = "/run/lab/sys"
	if err := os.MkdirAll(fresh, 0o755); err != nil {
		return err
	}
	if err := unix.Mount("sysfs", fresh, "sysfs", 0, ""); err != nil {
		return err
	}
	for _, m := range mounts {
		below, err := filepath.Rel("/sys", m.at)
		if err != nil || below == "." || below[0] == '.' {
			continue
		}
		if err := unix.Mount(m.at, filepath.Join(fresh, below), "", unix.MS_BIND, ""); err != nil && m.essential {
			return err
		}
	}
	return unix.Mount(fresh, "/sys", "", unix.MS_MOVE, "")
}
