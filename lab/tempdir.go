//go:build linux

package lab

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"time"

	"golang.org/x/sys/unix"
)

const (
	// tempPattern is how machines' folders are called.
	tempPattern = "zctap-lab-*"
	// maxSocketDir is the longest name of a folder for sockets: sun_path of
	// unix(7) has 108 bytes.
	maxSocketDir = 90
	// lockName is the file in each folder that is locked by the process whose it is.
	lockName = "lock"
	// staleAge keeps a folder safe whose process is about to lock it.
	staleAge = time.Minute
)

// makeTempDir makes the folder that a machine's files and sockets are in, and
// returns how to remove it. It is in base, or if that is empty where temporary
// files are. Folders there of processes that were killed are removed, too.
func makeTempDir(base string) (dir string, remove func() error, err error) {
	if base == "" {
		base = os.TempDir()
	}
	if len(base)+len(tempPattern)+10 > maxSocketDir {
		base = "/tmp"
	}
	sweep(base)
	if dir, err = os.MkdirTemp(base, tempPattern); err != nil {
		return "", nil, fmt.Errorf("lab: making a folder for the machine: %w", err)
	}
	lock, err := os.OpenFile(filepath.Join(dir, lockName), os.O_CREATE|os.O_RDWR, 0o600)
	if err == nil {
		err = unix.Flock(int(lock.Fd()), unix.LOCK_EX|unix.LOCK_NB)
	}
	if err != nil {
		return "", nil, errors.Join(fmt.Errorf("lab: locking the folder of the machine: %w", err), os.RemoveAll(dir))
	}
	return dir, func() error { return errors.Join(os.RemoveAll(dir), lock.Close()) }, nil
}

// sweep removes folders that nobody holds the lock of. What it can't remove,
// as another user's, it leaves.
func sweep(base string) {
	dirs, err := filepath.Glob(filepath.Join(base, tempPattern))
	if err != nil {
		return
	}
	for _, dir := range dirs {
		fi, err := os.Lstat(dir)
		if err != nil || !fi.IsDir() || time.Since(fi.ModTime()) < staleAge {
			continue
		}
		lock, err := os.OpenFile(filepath.Join(dir, lockName), os.O_RDWR|unix.O_NOFOLLOW, 0)
		if errors.Is(err, fs.ErrPermission) {
			continue
		}
		free := err != nil // it never got as far as the lock
		if err == nil {
			free = unix.Flock(int(lock.Fd()), unix.LOCK_EX|unix.LOCK_NB) == nil
			lock.Close()
		}
		if free {
			_ = os.RemoveAll(dir)
		}
	}
}
