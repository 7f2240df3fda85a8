//go:build linux

package bundle

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"
)

// format is the version of the cache's layout. A part of another one counts as
// absent and is fetched anew.
const format = 1

// markerName is the file that makes a folder a complete part.
const markerName = "bundle.json"

// A marker says what a part is made of.
type marker struct {
	Format   int          `json:"format"`
	Release  string       `json:"release,omitempty"` // of a kernel
	Newest   bool         `json:"newest,omitempty"`  // it was the mirror's newest kernel
	Mirror   string       `json:"mirror"`
	Fetched  time.Time    `json:"fetched"`
	Packages []pkgVersion `json:"packages"`
	Content  content      `json:"content"`
}

// pkgVersion is one package that was unpacked.
type pkgVersion struct {
	Name    string `json:"name"`
	Version string `json:"version"`
	SHA256  string `json:"sha256"`
}

// content is what a part has in it, marker aside: enough to notice that
// something was deleted or cut short, not that bytes were changed.
type content struct {
	Files int   `json:"files"` // regular files and links
	Bytes int64 `json:"bytes"`
}

// errAbsent says that a part is not in the cache, or not as a whole.
var errAbsent = errors.New("not in the cache")

// load returns the bundle that the cache has, with a kernel as in [Options].
// An error that is not errAbsent says that the cache can't be read.
func (c *cache) load(kernel string) (*Bundle, error) {
	tools, err := readPart(c.toolsDir())
	if err != nil {
		return nil, err
	}
	k, err := c.findKernel(kernel)
	if err != nil {
		return nil, err
	}
	b := &Bundle{
		Dir:      c.dir,
		Versions: make(map[string]string),
		release:  k.Release,
		tools:    c.toolsDir(),
		kernel:   c.kernelDir(k.Release),
	}
	for _, p := range slices.Concat(tools.Packages, k.Packages) {
		b.Versions[p.Name] = p.Version
	}
	return b, nil
}

// findKernel returns the marker of the newest cached kernel that is as asked
// for, see [Options].
func (c *cache) findKernel(asked string) (*marker, error) {
	entries, err := os.ReadDir(c.kernelsDir())
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return nil, errAbsent
	case err != nil:
		return nil, fmt.Errorf("lab: reading the cache: %w: %w", ErrCacheDir, err)
	}
	var best *marker
	for _, e := range entries {
		m, err := readMarker(c.kernelDir(e.Name()))
		switch {
		case errors.Is(err, errAbsent):
			continue
		case err != nil:
			return nil, err
		case m.Release != e.Name() || !matchesKernel(m.Release, asked) || asked == "" && !m.Newest:
			continue
		}
		if best == nil || compareVersions(m.Release, best.Release) > 0 {
			best = m
		}
	}
	if best == nil {
		return nil, errAbsent
	}
	return readPart(c.kernelDir(best.Release))
}

// readPart returns a part's marker if all of the part is there.
func readPart(dir string) (*marker, error) {
	m, err := readMarker(dir)
	if err != nil {
		return nil, err
	}
	if have, err := measure(dir); err != nil || have != m.Content {
		return nil, errAbsent
	}
	return m, nil
}

func readMarker(dir string) (*marker, error) {
	text, err := os.ReadFile(filepath.Join(dir, markerName))
	switch {
	case errors.Is(err, fs.ErrPermission):
		return nil, fmt.Errorf("lab: reading the cache: %w: %w: make it readable, or choose another folder", ErrCacheDir, err)
	case err != nil:
		return nil, errAbsent
	}
	m := new(marker)
	if err := json.Unmarshal(text, m); err != nil || m.Format != format {
		return nil, errAbsent
	}
	return m, nil
}

// measure counts what is in dir, its marker aside.
func measure(dir string) (content, error) {
	var c content
	err := filepath.WalkDir(dir, func(path string, d fs.DirEntry, err error) error {
		switch {
		case err != nil:
			return err
		case d.IsDir() || path == filepath.Join(dir, markerName):
			return nil
		}
		c.Files++
		if d.Type().IsRegular() {
			info, err := d.Info()
			if err != nil {
				return err
			}
			c.Bytes += info.Size()
		}
		return nil
	})
	return c, err
}

// publish makes the folder made, which is on the same disk, the part of the name
// final: with its marker, and instead of what had that name before.
func (c *cache) publish(made, final string, m marker) error {
	var err error
	if m.Content, err = measure(made); err != nil {
		return fmt.Errorf("lab: reading what was unpacked: %w", err)
	}
	m.Format = format
	text, err := json.MarshalIndent(m, "", "\t")
	if err != nil {
		return fmt.Errorf("lab: writing the marker: %w", err)
	}
	if err := os.WriteFile(filepath.Join(made, markerName), text, 0o644); err != nil {
		return spaceError("writing the marker", err)
	}
	if err := os.MkdirAll(filepath.Dir(final), 0o755); err != nil {
		return spaceError("making a folder of the cache", err)
	}
	if err := c.discard(final); err != nil {
		return err
	}
	if err := os.Rename(made, final); err != nil {
		return fmt.Errorf("lab: putting %s into the cache: %w: %w", filepath.Base(final), ErrCacheDir, err)
	}
	return nil
}

// temporary is how the names of folders begin that hold what is not complete.
const temporary = "tmp-"

// discard removes a part, by name at once and then what is in it.
func (c *cache) discard(part string) error {
	trash, err := os.MkdirTemp(c.dir, temporary)
	if err != nil {
		return spaceError("making a folder in the cache", err)
	}
	err = os.Rename(part, filepath.Join(trash, "discarded"))
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		os.Remove(trash)
		return fmt.Errorf("lab: removing %s from the cache: %w: %w", filepath.Base(part), ErrCacheDir, err)
	}
	if err := os.RemoveAll(trash); err != nil {
		return fmt.Errorf("lab: removing %s from the cache: %w: %w", filepath.Base(part), ErrCacheDir, err)
	}
	return nil
}

// removeStale removes what processes have left that died while they fetched.
// Whoever holds the lock knows that there is nobody else who fetches.
func (c *cache) removeStale() error {
	entries, err := os.ReadDir(c.dir)
	if err != nil {
		return fmt.Errorf("lab: reading the cache: %w: %w", ErrCacheDir, err)
	}
	for _, e := range entries {
		if !strings.HasPrefix(e.Name(), temporary) {
			continue
		}
		if err := os.RemoveAll(filepath.Join(c.dir, e.Name())); err != nil {
			return fmt.Errorf("lab: removing what a fetch that was broken off has left: %w: %w", ErrCacheDir, err)
		}
	}
	return nil
}
