//go:build linux

package bundle

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"runtime"
)

// Options say what to open and how. The zero value is the newest kernel, from
// the machine's own mirror, in the user's cache folder.
type Options struct {
	// CacheDir is the folder to keep things in; empty for zctap/lab below
	// [os.UserCacheDir].
	CacheDir string

	// Kernel is a version, "7.3.4", the beginning of one, "6.16", or a whole
	// release, "7.3.4+deb13-cloud-amd64". A cached kernel that fits is taken
	// before the mirror is asked. Empty is the newest that the mirror had when
	// it was asked first; [Clean] makes it be asked again.
	Kernel string

	// Mirror is the address of a mirror of Debian, to use instead of those of
	// the machine's apt sources; empty for the environment variable
	// [MirrorEnv], and then the machine's.
	Mirror string

	// Keyring is a file with the keys that Mirror is signed by; empty for the
	// environment variable [KeyringEnv], and then for what the machine's
	// sources say, or Debian's.
	Keyring string

	// Progress, if not nil, is called while things are fetched, by one
	// goroutine at a time, and must not block.
	Progress func(Event)
}

// Open returns what is in the cache, after it has fetched what is not: about
// 85 MB in all, of which a kernel is the half. The first process that gets there
// fetches, and others wait for it. When everything is cached, nothing is locked,
// written or asked of the network, and Open takes milliseconds.
//
// When ctx ends, so does Open, and what it has started; what is in the cache
// stays whole. The same holds for the death of the process.
//
// Errors match those of this package by [errors.Is], ctx's own, and errnos.
func Open(ctx context.Context, o Options) (*Bundle, error) {
	if runtime.GOARCH != "amd64" {
		return nil, fmt.Errorf("lab: this is %s: %w: use such a machine, or a virtual one", runtime.GOARCH, ErrArchitecture)
	}
	c, err := openCache(o.CacheDir)
	if err != nil {
		return nil, err
	}
	if b, err := c.load(o.Kernel); err == nil {
		return b, nil
	} else if !errors.Is(err, errAbsent) {
		return nil, err
	}
	f := &fetcher{cache: c, options: o, root: "/", free: freeBytes}
	if err := f.fetch(ctx); err != nil {
		return nil, err
	}
	return c.load(o.Kernel)
}

// Clean removes all that Open has ever put into a cache folder, named as in
// [Options]. It waits for a process that is fetching, until ctx ends. Programs
// of the bundle that are running keep running, though they may miss files that
// they had not opened yet.
func Clean(ctx context.Context, cacheDir string) error {
	c, err := openCache(cacheDir)
	if err != nil {
		return err
	}
	if _, err := os.Lstat(c.dir); errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	unlock, err := c.lock(ctx, func(string) {})
	if err != nil {
		return err
	}
	defer unlock()
	if err := c.removeStale(); err != nil {
		return err
	}
	for _, part := range []string{c.toolsDir(), c.kernelsDir()} {
		if err := c.discard(part); err != nil {
			return err
		}
	}
	return nil
}

// A cache is the folder that the parts are kept in. The parts are published
// complete and by one rename, so reading takes no lock; only writing does.
type cache struct {
	dir string
}

func openCache(dir string) (*cache, error) {
	if dir == "" {
		base, err := os.UserCacheDir()
		if err != nil {
			return nil, fmt.Errorf("lab: %w: %w: set HOME or XDG_CACHE_HOME, or name a folder", ErrCacheDir, err)
		}
		dir = filepath.Join(base, "zctap", "lab")
	}
	dir, err := filepath.Abs(dir) // programs are started in other folders
	if err != nil {
		return nil, fmt.Errorf("lab: %w: %w", ErrCacheDir, err)
	}
	return &cache{dir: dir}, nil
}

func (c *cache) toolsDir() string   { return filepath.Join(c.dir, "tools") }
func (c *cache) kernelsDir() string { return filepath.Join(c.dir, "kernels") }

func (c *cache) kernelDir(release string) string {
	return filepath.Join(c.kernelsDir(), release)
}
