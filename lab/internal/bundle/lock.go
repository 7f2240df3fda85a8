//go:build linux

package bundle

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"time"

	"golang.org/x/sys/unix"
)

// lockPoll is how often a lock that another process holds is tried again.
// flock(2) can wait by itself, but not until a context ends.
const lockPoll = 20 * time.Millisecond

// lock takes the cache's lock for writing, and waits until whoever holds it
// lets go or dies: the kernel drops the lock with the last descriptor of the
// file, and no program that is started inherits it. wait is called when there is
// somebody to wait for, with who that is. unlock lets go.
func (c *cache) lock(ctx context.Context, wait func(holder string)) (unlock func(), err error) {
	if err := os.MkdirAll(c.dir, 0o755); err != nil {
		return nil, fmt.Errorf("lab: making the cache folder: %w: %w: make it writable, or choose another", ErrCacheDir, err)
	}
	name := filepath.Join(c.dir, "lock")
	f, err := os.OpenFile(name, os.O_RDWR|os.O_CREATE, 0o644)
	if err != nil {
		return nil, fmt.Errorf("lab: opening the cache's lock: %w: %w: make the folder writable, or choose another", ErrCacheDir, err)
	}
	tick := time.NewTicker(lockPoll)
	defer tick.Stop()
	for first := true; ; first = false {
		err := unix.Flock(int(f.Fd()), unix.LOCK_EX|unix.LOCK_NB)
		switch {
		case err == nil:
			// For those who wait: who it is, with spaces over a longer number.
			// Nothing depends on it.
			_, _ = f.WriteAt(fmt.Appendf(nil, "%-10d\n", os.Getpid()), 0)
			return func() { f.Close() }, nil
		case errors.Is(err, unix.EINTR):
			continue
		case !errors.Is(err, unix.EWOULDBLOCK):
			f.Close()
			return nil, fmt.Errorf("lab: locking %s: %w: %w: choose a folder on a local disk", name, ErrCacheDir, err)
		}
		if first {
			wait(lockHolder(name))
		}
		select {
		case <-ctx.Done():
			f.Close()
			return nil, fmt.Errorf("lab: waiting for %s, which is fetching: %w", lockHolder(name), context.Cause(ctx))
		case <-tick.C:
		}
	}
}

// lockHolder says which process has the lock, in words.
func lockHolder(name string) string {
	text, err := os.ReadFile(name)
	pid := strings.TrimSpace(string(text))
	if err != nil || pid == "" {
		return "another process"
	}
	return "process " + pid
}
