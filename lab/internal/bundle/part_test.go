//go:build linux

package bundle

import (
	"context"
	"encoding/json"
	"errors"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/zctap/zctap/internal/testenv"
)

// newCache returns a cache in a new folder, and what is in it by hand: parts
// that publish has put there.
func newCache(t testing.TB, kernels ...marker) *cache {
	t.Helper()
	c, err := openCache(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	publish(t, c, c.toolsDir(), marker{Packages: []pkgVersion{{Name: "qemu-system-x86", Version: "11"}}})
	for _, m := range kernels {
		publish(t, c, c.kernelDir(m.Release), m)
	}
	return c
}

func publish(t testing.TB, c *cache, final string, m marker) {
	t.Helper()
	made := writeFiles(t, map[string]string{"folder/file": "content", "vmlinuz": m.Release})
	if err := os.Symlink("file", filepath.Join(made, "folder/link")); err != nil {
		t.Fatal(err)
	}
	if err := c.publish(made, final, m); err != nil {
		t.Fatal(err)
	}
}

func TestCacheLoad(t *testing.T) {
	c := newCache(t,
		marker{Release: "7.3.4-c", Newest: true, Packages: []pkgVersion{{Name: "linux-image-7.3.4-c", Version: "1"}}},
		marker{Release: "6.16.3-c"}, marker{Release: "6.16.12-c", Newest: true}, marker{Release: "8.0-c"},
	)
	for asked, want := range map[string]string{"": "7.3.4-c", "6": "6.16.12-c", "6.16.3": "6.16.3-c", "8": "8.0-c"} {
		b, err := c.load(asked)
		if err != nil {
			t.Errorf("asked %q: %v", asked, err)
			continue
		}
		if b.KernelRelease() != want || b.Dir != c.dir {
			t.Errorf("asked %q: %q in %s", asked, b.KernelRelease(), b.Dir)
		}
		if text, err := os.ReadFile(b.Kernel()); err != nil || string(text) != want {
			t.Errorf("asked %q: kernel %q, %v", asked, text, err)
		}
	}
	if _, err := c.load("5"); !errors.Is(err, errAbsent) {
		t.Errorf("a kernel that is not there: %v", err)
	}
	b, err := c.load("")
	if err != nil {
		t.Fatal(err)
	}
	if got, want := b.Versions, map[string]string{"qemu-system-x86": "11", "linux-image-7.3.4-c": "1"}; !maps.Equal(got, want) {
		t.Errorf("versions %v, want %v", got, want)
	}
}

// TestCacheIncomplete has all kinds of damage, each of which makes a part absent.
func TestCacheIncomplete(t *testing.T) {
	rewrite := func(t *testing.T, dir string, change func(m *marker)) {
		m, err := readMarker(dir)
		if err != nil {
			t.Fatal(err)
		}
		change(m)
		text, err := json.Marshal(m)
		if err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(filepath.Join(dir, markerName), text, 0o644); err != nil {
			t.Fatal(err)
		}
	}
	damages := map[string]func(t *testing.T, dir string) error{
		"part removed":     func(_ *testing.T, dir string) error { return os.RemoveAll(dir) },
		"marker removed":   func(_ *testing.T, dir string) error { return os.Remove(filepath.Join(dir, markerName)) },
		"marker cut short": func(_ *testing.T, dir string) error { return os.Truncate(filepath.Join(dir, markerName), 20) },
		"marker empty":     func(_ *testing.T, dir string) error { return os.Truncate(filepath.Join(dir, markerName), 0) },
		"file removed":     func(_ *testing.T, dir string) error { return os.Remove(filepath.Join(dir, "vmlinuz")) },
		"link removed":     func(_ *testing.T, dir string) error { return os.Remove(filepath.Join(dir, "folder/link")) },
		"file cut short":   func(_ *testing.T, dir string) error { return os.Truncate(filepath.Join(dir, "folder/file"), 3) },
		"file added":       func(_ *testing.T, dir string) error { return os.WriteFile(filepath.Join(dir, "x"), nil, 0o644) },
		"another format": func(t *testing.T, dir string) error {
			rewrite(t, dir, func(m *marker) { m.Format++ })
			return nil
		},
	}
	for name, damage := range damages {
		for _, part := range []string{"tools", "kernels/7.3.4-c"} {
			t.Run(name+" of "+part, func(t *testing.T) {
				c := newCache(t, marker{Release: "7.3.4-c", Newest: true})
				if _, err := c.load(""); err != nil {
					t.Fatal(err)
				}
				if err := damage(t, filepath.Join(c.dir, part)); err != nil {
					t.Fatal(err)
				}
				if b, err := c.load(""); !errors.Is(err, errAbsent) {
					t.Errorf("loaded %+v, %v", b, err)
				}
			})
		}
	}
	t.Run("renamed kernel", func(t *testing.T) {
		c := newCache(t, marker{Release: "7.3.4-c", Newest: true})
		if err := os.Rename(c.kernelDir("7.3.4-c"), c.kernelDir("7.3.5-c")); err != nil {
			t.Fatal(err)
		}
		if b, err := c.load(""); !errors.Is(err, errAbsent) {
			t.Errorf("loaded %+v, %v", b, err)
		}
	})
}

// TestCacheReplace has a part published where a damaged one is.
func TestCacheReplace(t *testing.T) {
	c := newCache(t, marker{Release: "7.3.4-c", Newest: true})
	if err := os.WriteFile(filepath.Join(c.toolsDir(), "old"), nil, 0o644); err != nil {
		t.Fatal(err)
	}
	publish(t, c, c.toolsDir(), marker{Packages: []pkgVersion{{Name: "qemu-system-x86", Version: "12"}}})
	b, err := c.load("")
	if err != nil || b.Versions["qemu-system-x86"] != "12" {
		t.Errorf("%+v, %v", b, err)
	}
	expectOnly(t, c, "kernels", "tools")
}

// expectOnly checks what is in the cache's folder.
func expectOnly(t testing.TB, c *cache, want ...string) {
	t.Helper()
	entries, err := os.ReadDir(c.dir)
	if err != nil {
		t.Fatal(err)
	}
	var got []string
	for _, e := range entries {
		got = append(got, e.Name())
	}
	if !slices.Equal(got, want) {
		t.Errorf("the cache has %q, want %q", got, want)
	}
}

func TestClean(t *testing.T) {
	ctx := context.Background()
	c := newCache(t, marker{Release: "7.3.4-c"})
	for name, text := range map[string]string{temporary + "123/tools/file": "", "somebody's": "kept"} {
		file := filepath.Join(c.dir, name)
		if err := os.MkdirAll(filepath.Dir(file), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(file, []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	for range 2 { // the second finds nothing
		if err := Clean(ctx, c.dir); err != nil {
			t.Fatal(err)
		}
		expectOnly(t, c, "lock", "somebody's")
	}
	nowhere := filepath.Join(t.TempDir(), "nowhere")
	if err := Clean(ctx, nowhere); err != nil {
		t.Error(err)
	}
	if _, err := os.Stat(nowhere); err == nil {
		t.Error("Clean makes a folder")
	}
}

func TestLock(t *testing.T) {
	ctx := context.Background()
	c := newCache(t)
	unlock, err := c.lock(ctx, func(holder string) { t.Errorf("waits for %s", holder) })
	if err != nil {
		t.Fatal(err)
	}
	waits := make(chan string, 1)
	short, cancel := context.WithTimeout(ctx, 3*lockPoll)
	defer cancel()
	_, err = c.lock(short, func(holder string) { waits <- holder })
	if !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("a second lock: %v", err)
	}
	if holder := <-waits; !strings.HasPrefix(holder, "process ") {
		t.Errorf("waited for %q", holder)
	}
	if err := Clean(short, c.dir); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("Clean while somebody fetches: %v", err)
	}

	got := make(chan error, 1)
	go func() {
		unlock, err := c.lock(ctx, func(holder string) { waits <- holder })
		if err == nil {
			unlock()
		}
		got <- err
	}()
	<-waits
	unlock()
	select {
	case err := <-got:
		if err != nil {
			t.Error(err)
		}
	case <-time.After(30 * time.Second):
		t.Error("the lock is not handed on")
	}
}

// TestCacheDirs has folders that can't be used.
func TestCacheDirs(t *testing.T) {
	ctx := context.Background()
	file := filepath.Join(writeFiles(t, map[string]string{"file": ""}), "file")
	open := func(t *testing.T, dir string) {
		t.Helper()
		_, err := Open(ctx, Options{CacheDir: dir})
		if !errors.Is(err, ErrCacheDir) {
			t.Errorf("error %v, want %v", err, ErrCacheDir)
		}
	}
	t.Run("a file", func(t *testing.T) { open(t, file) })
	t.Run("below a file", func(t *testing.T) { open(t, filepath.Join(file, "below")) })
	t.Run("read only", func(t *testing.T) { open(t, "/proc/self") })
	t.Run("nowhere", func(t *testing.T) {
		t.Setenv("HOME", "")
		t.Setenv("XDG_CACHE_HOME", "")
		open(t, "")
	})
	t.Run("default", func(t *testing.T) {
		t.Setenv("XDG_CACHE_HOME", "/somewhere")
		if c, err := openCache(""); err != nil || c.dir != "/somewhere/zctap/lab" {
			t.Errorf("%+v, %v", c, err)
		}
	})
}

func TestMain(m *testing.M) {
	if os.Getenv(helperEnv) != "" {
		os.Exit(helper())
	}
	testenv.Main(m)
}
