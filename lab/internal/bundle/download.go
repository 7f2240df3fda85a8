//go:build linux

package bundle

import (
	"context"
	"fmt"
	"net/url"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"sync"
	"time"
)

// archivePoll is how often is looked for packages that have arrived.
const archivePoll = 20 * time.Millisecond

// unpackers is how many packages are unpacked at a time, at most: each takes a
// processor for decompression.
const unpackers = 4

// download fetches the packages of parts, with what they depend on, and unpacks
// each as soon as it is there: apt moves a package to its folder of archives when
// its checksum has been found right.
func (f *fetcher) download(ctx context.Context, a *apt, parts []*part) error {
	roots := make(map[*part]*os.Root)
	defer func() {
		for _, r := range roots {
			r.Close()
		}
	}()
	var names []string
	for _, p := range parts {
		if err := os.Mkdir(p.dir, 0o755); err != nil {
			return spaceError("making a folder in the cache", err)
		}
		r, err := os.OpenRoot(p.dir)
		if err != nil {
			return spaceError("opening a folder of the cache", err)
		}
		roots[p] = r
		names = append(names, p.packages...)
	}

	caller := ctx
	ctx, fail := context.WithCancelCause(caller)
	defer fail(nil)
	var (
		workers sync.WaitGroup
		mu      sync.Mutex
		queue   = make(chan string, 1024)
		arrived = make(chan struct{})
		done    int
		total   int // known when all have arrived
	)
	for range min(unpackers, runtime.GOMAXPROCS(0)) {
		workers.Go(func() {
			for deb := range queue {
				p := partOf(parts, packageOf(deb).Name)
				if p == nil || ctx.Err() != nil {
					continue
				}
				sum, err := unpack(ctx, deb, roots[p], p.place)
				if err != nil {
					fail(err)
					continue
				}
				mu.Lock()
				unpacked := packageOf(deb)
				unpacked.SHA256 = sum
				p.marker.Packages = append(p.marker.Packages, unpacked)
				done++
				if total > 0 {
					f.event(StageUnpack, 100*float64(done)/float64(total), unpacked.Name)
				}
				mu.Unlock()
			}
		})
	}
	workers.Go(func() {
		defer close(queue)
		n := watch(a.archives(), arrived, queue)
		mu.Lock()
		total = n
		mu.Unlock()
	})

	f.event(StageDownload, 0, "")
	a.progress = func(percent float64) { f.event(StageDownload, percent, "") }
	_, err := a.run(ctx, "apt-get", append([]string{"install", "--yes", "--download-only"}, names...)...)
	if err != nil {
		fail(err)
	}
	close(arrived)
	workers.Wait()
	switch {
	case caller.Err() != nil:
		return fmt.Errorf("lab: fetching packages: %w", context.Cause(caller))
	case ctx.Err() != nil:
		return context.Cause(ctx) // the first failure
	}
	return completed(parts)
}

// watch sends the names of the packages that appear in dir, each once, until
// all have arrived, and returns their number.
func watch(dir string, arrived <-chan struct{}, queue chan<- string) int {
	seen := make(map[string]bool)
	tick := time.NewTicker(archivePoll)
	defer tick.Stop()
	for last := false; ; {
		entries, _ := os.ReadDir(dir) // made by newApt
		for _, e := range entries {
			if strings.HasSuffix(e.Name(), ".deb") && !seen[e.Name()] {
				seen[e.Name()] = true
				queue <- filepath.Join(dir, e.Name())
			}
		}
		if last {
			return len(seen)
		}
		select {
		case <-arrived:
			last = true // look once more
		case <-tick.C:
		}
	}
}

// partOf returns the part that a package belongs to.
func partOf(parts []*part, name string) *part {
	for _, p := range parts {
		if !p.only || slices.Contains(p.packages, name) {
			return p
		}
	}
	return nil
}

// packageOf returns name and version of a package from the name of its file in
// apt's archives: name_version_architecture.deb, with %XX for some characters.
func packageOf(deb string) pkgVersion {
	name, rest, _ := strings.Cut(filepath.Base(deb), "_")
	version, _, _ := strings.Cut(rest, "_")
	if v, err := url.PathUnescape(version); err == nil {
		version = v
	}
	return pkgVersion{Name: name, Version: version}
}

// completed checks that all packages asked for were unpacked, and puts what the
// markers say in order.
func completed(parts []*part) error {
	for _, p := range parts {
		slices.SortFunc(p.marker.Packages, func(a, b pkgVersion) int { return strings.Compare(a.Name, b.Name) })
		for _, name := range p.packages {
			if !slices.ContainsFunc(p.marker.Packages, func(v pkgVersion) bool { return v.Name == name }) {
				return fmt.Errorf("lab: package %s: %w: apt-get reported success, and it is not there", name, ErrApt)
			}
		}
	}
	return nil
}
