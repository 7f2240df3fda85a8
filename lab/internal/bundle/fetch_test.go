//go:build linux

package bundle

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

func TestFetch(t *testing.T) {
	fake := newFakeApt(t)
	fake.write("install.sh", "for p in 0.0 50.5 100.0; do echo dlstatus:1:$p:Retrieving >&3; done\necho what:ever >&3\n")
	dir := t.TempDir()
	var stages []Stage
	var downloaded []float64
	ctx := context.Background()
	b, err := Open(ctx, Options{CacheDir: dir, Progress: func(e Event) {
		if !slices.Contains(stages, e.Stage) {
			stages = append(stages, e.Stage)
		}
		if e.Stage == StageDownload {
			downloaded = append(downloaded, e.Percent)
		}
		if e.Percent < 0 || e.Percent > 100 {
			t.Errorf("event %+v", e)
		}
	}})
	if err != nil {
		t.Fatal(err)
	}
	if b.KernelRelease() != fakeRelease {
		t.Errorf("kernel %s", b.KernelRelease())
	}
	if text, err := os.ReadFile(b.Kernel()); string(text) != "kernel" {
		t.Errorf("kernel is %q, %v", text, err)
	}
	if n := len(toolPackages) + 4; len(b.Versions) != n || b.Versions["ethtool"] != "1:2" {
		t.Errorf("%d versions, want %d: %v", len(b.Versions), n, b.Versions)
	}
	if slices.Contains(stages, StageWait) || stages[0] != StageIndex || stages[len(stages)-1] != StageDone {
		t.Errorf("stages %v", stages)
	}
	if want := []float64{0, 0, 50.5, 100}; !slices.Equal(downloaded, want) {
		t.Errorf("download: %v, want %v", downloaded, want)
	}
	if got, want := strings.ReplaceAll(fake.log(), " dpkg-deb", ""), "update pkgnames show install"; got != want {
		t.Errorf("ran %s, want %s", got, want)
	}
	expectOnly(t, &cache{dir: dir}, "kernels", "lock", "tools")
	m, err := readMarker(filepath.Join(dir, "tools"))
	if err != nil {
		t.Fatal(err)
	}
	if p := m.Packages[0]; len(p.SHA256) != 64 || m.Mirror != "http://mirror.invalid/debian" || time.Since(m.Fetched) > time.Hour {
		t.Errorf("marker %+v", m)
	}

	// Once more, without a program of the machine.
	t.Setenv("PATH", "")
	if b, err := Open(ctx, Options{CacheDir: dir}); err != nil || b.KernelRelease() != fakeRelease {
		t.Errorf("with a warm cache: %+v, %v", b, err)
	}
}

// TestFetchPart has a cache that lacks one part only.
func TestFetchPart(t *testing.T) {
	for _, part := range []string{"tools", "kernels"} {
		t.Run(part, func(t *testing.T) {
			newFakeApt(t)
			o := Options{CacheDir: t.TempDir()}
			if _, err := Open(context.Background(), o); err != nil {
				t.Fatal(err)
			}
			other := map[string]string{"tools": "kernels/" + fakeRelease, "kernels": "tools"}[part]
			before, err := os.Stat(filepath.Join(o.CacheDir, other))
			if err != nil {
				t.Fatal(err)
			}
			if err := os.RemoveAll(filepath.Join(o.CacheDir, part)); err != nil {
				t.Fatal(err)
			}
			if _, err := Open(context.Background(), o); err != nil {
				t.Fatal(err)
			}
			if after, err := os.Stat(filepath.Join(o.CacheDir, other)); err != nil || !os.SameFile(before, after) {
				t.Errorf("%s was fetched again, %v", other, err)
			}
		})
	}
}

func TestFetchFails(t *testing.T) {
	tests := []struct {
		name    string
		o       Options
		prepare func(fake *fakeApt)
		want    error
		text    string
	}{
		{"no apt-get", Options{}, func(f *fakeApt) { os.Remove(f.dir + "/bin/apt-get") }, ErrProgram, "apt-get"},
		{"no apt-cache", Options{}, func(f *fakeApt) { os.Remove(f.dir + "/bin/apt-cache") }, ErrProgram, "apt-cache"},
		{"no dpkg-deb", Options{}, func(f *fakeApt) { os.Remove(f.dir + "/bin/dpkg-deb") }, ErrProgram, "dpkg-deb"},
		{"no such kernel", Options{Kernel: "5.10"}, func(*fakeApt) {}, ErrNoKernel, fakeRelease},
		{"no kernels", Options{}, func(f *fakeApt) { f.write("lists", "Package: linux-doc\n") }, ErrNoMirror, "kernels"},
		{
			"no network", Options{},
			func(f *fakeApt) {
				f.write("update.sh", "echo \"E: Failed to fetch http://x/InRelease  Temporary failure resolving 'x'\" >&2; exit 100\n")
			},
			ErrNetwork, "Temporary failure",
		},
		{
			"apt-cache fails", Options{},
			func(f *fakeApt) { f.write("show.sh", "echo broken >&2; exit 1\n") }, ErrApt, "apt-cache show",
		},
		{
			"download fails", Options{},
			func(f *fakeApt) {
				f.write("install.sh", "echo 'E: You don'\\''t have enough free space in /x.' >&2; exit 100\n")
			},
			ErrNoSpace, "free space",
		},
		{
			"a package is missing", Options{},
			func(f *fakeApt) { os.Remove(f.dir + "/debs/ethtool_1%3a2_amd64.deb") }, ErrApt, "ethtool",
		},
		{
			"a package is broken", Options{},
			func(f *fakeApt) { os.Truncate(f.dir+"/debs/qemu-system-x86_1%3a2_amd64.deb", 500) }, ErrApt, "qemu-system-x86",
		},
		{"no kernel in its packages", Options{}, func(f *fakeApt) { f.packKernel("vmlinux") }, ErrNoKernel, fakeRelease},
		{"an old QEMU", Options{}, func(f *fakeApt) { f.packTools("#!/bin/sh\necho vfio-pci\n") }, ErrQEMU, "10.1"},
		{"a QEMU that does not run", Options{}, func(f *fakeApt) { f.packTools("#!/bin/sh\necho no library >&2\nexit 127\n") }, ErrQEMU, "no library"},
		{"a tool is missing", Options{}, func(f *fakeApt) { f.pack("qemu-system-x86", map[string]string{loader: fakeQEMU}) }, ErrNoTool, "qemu-system-x86_64"},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			fake := newFakeApt(t)
			test.prepare(fake)
			test.o.CacheDir = t.TempDir()
			_, err := Open(context.Background(), test.o)
			if !errors.Is(err, test.want) || !strings.Contains(err.Error(), test.text) {
				t.Errorf("error %v, want %v and %q", err, test.want, test.text)
			}
			expectOnly(t, &cache{dir: test.o.CacheDir}, "lock")
		})
	}
}

func TestFetchNoSpace(t *testing.T) {
	fake := newFakeApt(t)
	c, err := openCache(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	free := uint64(needLists + needTools + needKernel - 1)
	f := &fetcher{cache: c, root: "/", free: func(string) (uint64, error) { return free, nil }}
	if err := f.fetch(context.Background()); !errors.Is(err, ErrNoSpace) || !strings.Contains(err.Error(), c.dir) {
		t.Errorf("error %v, want %v", err, ErrNoSpace)
	}
	if ran := fake.log(); ran != "" {
		t.Errorf("ran %s", ran)
	}
	free++
	if err := f.fetch(context.Background()); err != nil {
		t.Error(err)
	}
	if free, err := freeBytes(c.dir); err != nil || free == 0 {
		t.Errorf("%d bytes free, %v", free, err)
	}
}

// TestFetchOtherMirror has a first mirror that lacks what is needed.
func TestFetchOtherMirror(t *testing.T) {
	fake := newFakeApt(t)
	t.Setenv(MirrorEnv, "")
	root := writeFiles(t, map[string]string{
		"etc/apt/sources.list": "deb http://first.invalid/debian trixie main\ndeb http://second.invalid/x trixie main\n",
	})
	// The folders of apt's state are numbered.
	fake.write("update.sh", "case $cache in */apt0/*) echo \"E: The repository 'x' does not have a Release file.\" >&2; exit 100;; esac\n")
	c, err := openCache(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	f := &fetcher{cache: c, root: root, free: freeBytes}
	if err := f.fetch(context.Background()); err != nil {
		t.Fatal(err)
	}
	if m, err := readMarker(c.toolsDir()); err != nil || m.Mirror != "http://second.invalid/x" {
		t.Errorf("fetched from %+v, %v", m, err)
	}

	// When none has it, the first is the one to complain of.
	fake.write("update.sh", "echo \"E: The repository 'x' does not have a Release file.\" >&2; exit 100\n")
	if c, err = openCache(t.TempDir()); err != nil {
		t.Fatal(err)
	}
	f = &fetcher{cache: c, root: root, free: freeBytes}
	if err := f.fetch(context.Background()); !errors.Is(err, ErrNoMirror) || !strings.Contains(err.Error(), "first.invalid") {
		t.Errorf("error %v", err)
	}
}

// TestFetchCanceled ends a fetch in each of its steps, and what it has started.
func TestFetchCanceled(t *testing.T) {
	for _, step := range []string{"update", "show", "install", "dpkg-deb"} {
		t.Run(step, func(t *testing.T) {
			fake := newFakeApt(t)
			// A program that starts another, which would outlive it.
			fake.write(step+".sh", "sleep 600 &\necho $! > $D/pid.new\nmv $D/pid.new $D/pid\nwait\n")
			dir := t.TempDir()
			ctx, cancel := context.WithTimeout(context.Background(), 60*time.Second)
			defer cancel()
			ended := make(chan error, 1)
			go func() {
				_, err := Open(ctx, Options{CacheDir: dir})
				ended <- err
			}()
			pid := waitForPID(t, filepath.Join(fake.dir, "pid"))
			cancel()
			select {
			case err := <-ended:
				if !errors.Is(err, context.Canceled) {
					t.Errorf("error %v, want %v", err, context.Canceled)
				}
			case <-time.After(30 * time.Second):
				t.Fatal("Open does not end")
			}
			waitForEnd(t, pid)
			expectOnly(t, &cache{dir: dir}, "lock")
		})
	}
}

// waitForPID returns the process id in a file once that is there.
func waitForPID(t testing.TB, file string) int {
	t.Helper()
	deadline := time.Now().Add(30 * time.Second)
	for {
		text, err := os.ReadFile(file)
		if err == nil {
			pid, err := strconv.Atoi(strings.TrimSpace(string(text)))
			if err != nil {
				t.Fatal(err)
			}
			return pid
		}
		if time.Now().After(deadline) {
			t.Fatalf("there is no %s: %v", file, err)
		}
		time.Sleep(5 * time.Millisecond)
	}
}

// waitForEnd waits until a process is gone.
func waitForEnd(t testing.TB, pid int) {
	t.Helper()
	deadline := time.Now().Add(30 * time.Second)
	for !ended(pid) {
		if time.Now().After(deadline) {
			unix.Kill(pid, unix.SIGKILL)
			t.Fatalf("process %d still runs", pid)
		}
		time.Sleep(5 * time.Millisecond)
	}
}

// ended reports whether a process is gone, or dead and waits for its parent.
func ended(pid int) bool {
	text, err := os.ReadFile("/proc/" + strconv.Itoa(pid) + "/stat")
	if err != nil {
		return true
	}
	_, state, _ := strings.Cut(string(text), ") ")
	return strings.HasPrefix(state, "Z") || strings.HasPrefix(state, "X")
}

func TestPackageOf(t *testing.T) {
	for file, want := range map[string]pkgVersion{
		"/a/qemu-system-x86_1%3a11.1.3+ds-1~bpo13+1_amd64.deb": {Name: "qemu-system-x86", Version: "1:11.1.3+ds-1~bpo13+1"},
		"libfdt1_1.7.2-2+b1_amd64.deb":                         {Name: "libfdt1", Version: "1.7.2-2+b1"},
		"odd.deb":                                              {Name: "odd.deb"},
		"bad_%zz_amd64.deb":                                    {Name: "bad", Version: "%zz"},
	} {
		if got := packageOf(file); got != want {
			t.Errorf("%s: %+v, want %+v", file, got, want)
		}
	}
}
