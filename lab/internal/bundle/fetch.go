//go:build linux

package bundle

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"time"

	"golang.org/x/sys/unix"
)

// What fetching takes of the disk, in bytes: apt's lists and their index, and
// then the packages and what they unpack to. Measured, and a half more.
const (
	needLists  = 160 << 20
	needTools  = 200 << 20
	needKernel = 140 << 20
)

// A fetcher fetches what a cache lacks.
type fetcher struct {
	cache   *cache
	options Options
	root    string                           // of the machine's file system: / but in tests
	free    func(dir string) (uint64, error) // bytes of the disk of dir that are free for the user

	events sync.Mutex // one Event at a time
}

// A part is what is going to be one of the cache's.
type part struct {
	dir      string // where it is made
	final    string // where it belongs
	packages []string
	only     bool // no other packages than these are its: what they depend on is for others
	place    func(name string) (string, bool)
	marker   marker
}

// fetch makes the cache have what the options ask for.
func (f *fetcher) fetch(ctx context.Context) error {
	unlock, err := f.cache.lock(ctx, func(holder string) { f.event(StageWait, 0, holder) })
	if err != nil {
		return err
	}
	defer unlock()
	needsTools, needsKernel, err := f.needs()
	if err != nil || !needsTools && !needsKernel {
		return err
	}
	if err := f.prepare(needsTools, needsKernel); err != nil {
		return err
	}
	work, err := os.MkdirTemp(f.cache.dir, temporary)
	if err != nil {
		return spaceError("making a folder in the cache", err)
	}
	defer os.RemoveAll(work)
	// For root, apt fetches as a user of its own, if that can get there.
	if err := os.Chmod(work, 0o755); err != nil {
		return spaceError("opening a folder of the cache", err)
	}

	ix, err := f.index(ctx, work)
	if err != nil {
		return err
	}
	var parts []*part
	if needsKernel {
		parts = append(parts, &part{
			dir:      filepath.Join(work, "kernel"),
			final:    f.cache.kernelDir(ix.kernel.release),
			packages: ix.kernel.packages,
			only:     true,
			place:    placeKernel(ix.kernel.release),
			marker:   marker{Release: ix.kernel.release, Newest: ix.kernel.newest},
		})
	}
	if needsTools {
		parts = append(parts, &part{
			dir:      filepath.Join(work, "tools"),
			final:    f.cache.toolsDir(),
			packages: toolPackages,
			place:    placeTool,
		})
	}
	if err := f.download(ctx, ix.apt, parts); err != nil {
		return err
	}
	if err := f.check(ctx, parts); err != nil {
		return err
	}
	for _, p := range parts {
		p.marker.Mirror, p.marker.Fetched = ix.mirror.String(), time.Now().UTC().Truncate(time.Second)
		if err := f.cache.publish(p.dir, p.final, p.marker); err != nil {
			return err
		}
	}
	f.event(StageDone, 100, "")
	return nil
}

func (f *fetcher) event(stage Stage, percent float64, text string) {
	if f.options.Progress == nil {
		return
	}
	f.events.Lock()
	defer f.events.Unlock()
	f.options.Progress(Event{Stage: stage, Percent: percent, Text: text})
}

// needs says what is missing in the cache. Called with the lock held: somebody
// else may have fetched it while this process waited.
func (f *fetcher) needs() (tools, kernel bool, err error) {
	if _, err := readPart(f.cache.toolsDir()); errors.Is(err, errAbsent) {
		tools = true
	} else if err != nil {
		return false, false, err
	}
	if _, err := f.cache.findKernel(f.options.Kernel); errors.Is(err, errAbsent) {
		kernel = true
	} else if err != nil {
		return false, false, err
	}
	return tools, kernel, nil
}

// prepare checks that the machine has what it takes.
func (f *fetcher) prepare(needsTools, needsKernel bool) error {
	for _, program := range []string{"apt-get", "apt-cache", "dpkg-deb"} {
		if _, err := exec.LookPath(program); err != nil {
			return fmt.Errorf("lab: %s: %w: %w: the lab is fetched with Debian's package tools; install the packages apt and dpkg, "+
				"or fetch on a machine that has them and copy the folder %s from there", program, ErrProgram, err, f.cache.dir)
		}
	}
	if err := f.cache.removeStale(); err != nil {
		return err
	}
	need := uint64(needLists)
	if needsTools {
		need += needTools
	}
	if needsKernel {
		need += needKernel
	}
	free, err := f.free(f.cache.dir)
	if err != nil {
		return fmt.Errorf("lab: looking for space in %s: %w: %w", f.cache.dir, ErrCacheDir, err)
	}
	if free < need {
		return fmt.Errorf("lab: %s: %w: fetching takes %d MB, %d MB are free: free some, or choose a cache folder on another disk",
			f.cache.dir, ErrNoSpace, need>>20, free>>20)
	}
	return nil
}

// freeBytes asks statfs(2).
func freeBytes(dir string) (uint64, error) {
	var s unix.Statfs_t
	if err := unix.Statfs(dir, &s); err != nil {
		return 0, err
	}
	return s.Bavail * uint64(s.Frsize), nil
}

// An index is what a mirror has.
type index struct {
	mirror mirror
	apt    *apt
	kernel kernel
}

// index reads the lists of the first mirror that has what is needed. An error is
// that of the first, which is the likeliest to be the machine's mirror of Debian.
func (f *fetcher) index(ctx context.Context, work string) (*index, error) {
	found, err := findMirrors(f.options.Mirror, f.options.Keyring, f.root)
	if err != nil {
		return nil, err
	}
	var first error
	for i, m := range found {
		dir := filepath.Join(work, fmt.Sprintf("apt%d", i))
		if err := os.Mkdir(dir, 0o755); err != nil {
			return nil, spaceError("making a folder in the cache", err)
		}
		ix, err := f.indexOf(ctx, dir, m)
		if err == nil {
			return ix, nil
		}
		err = fmt.Errorf("%w (mirror %s)", err, m)
		if ctx.Err() != nil || errors.Is(err, ErrNoSpace) || errors.Is(err, ErrNoKernel) {
			return nil, err
		}
		if first == nil {
			first = err
		}
		os.RemoveAll(dir)
	}
	return nil, first
}

func (f *fetcher) indexOf(ctx context.Context, dir string, m mirror) (*index, error) {
	a, err := newApt(dir, m)
	if err != nil {
		return nil, err
	}
	f.event(StageIndex, 0, m.String())
	a.progress = func(percent float64) { f.event(StageIndex, percent, m.String()) }
	if _, err := a.run(ctx, "apt-get", "update"); err != nil {
		return nil, err
	}
	f.event(StageResolve, 0, "")
	names, err := a.run(ctx, "apt-cache", "pkgnames", "linux-")
	if err != nil {
		return nil, err
	}
	kernels := slices.DeleteFunc(strings.Fields(string(names)), func(name string) bool { return !isKernelPackage(name) })
	if len(kernels) == 0 {
		return nil, fmt.Errorf("lab: %w: the mirror has no packages of kernels for virtual machines", ErrNoMirror)
	}
	lists, err := a.run(ctx, "apt-cache", append([]string{"show"}, kernels...)...)
	if err != nil {
		return nil, err
	}
	k, err := resolveKernel(parseStanzas(string(lists)), f.options.Kernel)
	if err != nil {
		return nil, err
	}
	f.event(StageResolve, 100, k.release)
	return &index{mirror: m, apt: a, kernel: k}, nil
}

// checkTime bounds how long QEMU may take to list its devices.
const checkTime = time.Minute

// check sees that what was unpacked is what is needed: that the kernel is
// there, and that QEMU runs and can have a PCI device in another process.
func (f *fetcher) check(ctx context.Context, parts []*part) error {
	f.event(StageCheck, 0, "")
	ctx, cancel := context.WithTimeout(ctx, checkTime)
	defer cancel()
	for _, p := range parts {
		if release := p.marker.Release; release != "" {
			b := &Bundle{kernel: p.dir}
			if _, err := os.Stat(b.Kernel()); err != nil {
				return fmt.Errorf("lab: kernel %s: %w: not in its packages: %w", release, ErrNoKernel, err)
			}
			continue
		}
		b := &Bundle{tools: p.dir}
		for _, t := range programs {
			if _, err := b.Tool(t); err != nil {
				return err
			}
		}
		cmd := b.QEMU(ctx, "-machine", "none", "-device", "help")
		said, err := cmd.CombinedOutput()
		if errors.Is(err, fs.ErrPermission) {
			return fmt.Errorf("lab: running QEMU: %w: %w: is the disk mounted noexec? choose a cache folder on another", ErrCacheDir, err)
		}
		if err != nil {
			return fmt.Errorf("lab: listing QEMU's devices: %w: %w: %s", ErrQEMU, err, ending(string(said)))
		}
		if !strings.Contains(string(said), `"vfio-user-pci"`) {
			return fmt.Errorf("lab: QEMU: %w: it lacks the device vfio-user-pci, which came with 10.1: choose a mirror whose %s have that", ErrQEMU, backports)
		}
	}
	f.event(StageCheck, 100, "")
	return nil
}
