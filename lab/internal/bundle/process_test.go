//go:build linux

package bundle

import (
	"bufio"
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// helperEnv makes the test binary open a cache, that of the folder it names, and
// print a line for each stage, and one for the result.
const helperEnv = "ZCTAP_TEST_BUNDLE_DIR"

func helper() int {
	ctx, cancel := context.WithTimeout(context.Background(), 2*time.Minute)
	defer cancel()
	var last Stage
	b, err := Open(ctx, Options{CacheDir: os.Getenv(helperEnv), Progress: func(e Event) {
		if e.Stage != last {
			last = e.Stage
			fmt.Println("stage", e.Stage)
		}
	}})
	if err != nil {
		fmt.Println("error", err)
		return 1
	}
	fmt.Println("kernel", b.KernelRelease())
	return 0
}

// A fetching is a process of its own that opens a cache.
type fetching struct {
	t     testing.TB
	cmd   *exec.Cmd
	lines chan string
	said  []string
}

// startFetching starts one, as the user uid if that is another one.
func startFetching(t testing.TB, dir string, uid int) *fetching {
	t.Helper()
	f := &fetching{t: t, cmd: exec.Command("/proc/self/exe"), lines: make(chan string, 100)}
	f.cmd.Env = append(os.Environ(), helperEnv+"="+dir, "GORACE=atexit_sleep_ms=0")
	f.cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: unix.SIGKILL}
	if uid != os.Geteuid() {
		f.cmd.Dir = dir
		f.cmd.SysProcAttr.Credential = &syscall.Credential{Uid: uint32(uid), Gid: uint32(uid)}
	}
	out, err := f.cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	f.cmd.Stderr = os.Stderr
	if err := f.cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(f.kill)
	go func() {
		defer close(f.lines)
		for s := bufio.NewScanner(out); s.Scan(); {
			f.lines <- s.Text()
		}
	}()
	return f
}

// waitFor reads on until a line begins like that, or ends the test.
func (f *fetching) waitFor(begin string) {
	f.t.Helper()
	timeout := time.After(2 * time.Minute)
	for {
		select {
		case line, ok := <-f.lines:
			if !ok {
				f.t.Fatalf("no line %q of process %d, but %q", begin, f.cmd.Process.Pid, f.said)
			}
			f.said = append(f.said, line)
			if strings.HasPrefix(line, begin) {
				return
			}
		case <-timeout:
			f.t.Fatalf("no line %q of process %d for minutes, but %q", begin, f.cmd.Process.Pid, f.said)
		}
	}
}

// has reports whether a line was said.
func (f *fetching) has(line string) bool {
	return strings.Contains(strings.Join(f.said, "\n")+"\n", line+"\n")
}

// kill kills the process, if it still runs, as kill -9 does.
func (f *fetching) kill() {
	f.cmd.Process.Kill()
	for range f.lines {
	}
	f.cmd.Wait()
}

// openDir returns a new folder of an ordinary user, and that user's id: the one
// who runs the test, or nobody instead of root.
func openDir(t testing.TB) (dir string, uid int) {
	t.Helper()
	// t.TempDir is closed to others.
	dir, err := os.MkdirTemp("", "lab")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(dir) })
	uid = os.Geteuid()
	if uid == 0 {
		const nobody = 65534
		uid = nobody
	}
	if err := os.Chown(dir, uid, -1); err != nil {
		t.Fatal(err)
	}
	return dir, uid
}

// TestFetchNotAllowed has a cache folder that the user may not write to, and one
// that the user may not read.
func TestFetchNotAllowed(t *testing.T) {
	dir, uid := openDir(t)
	c := &cache{dir: dir}
	publish(t, c, c.toolsDir(), marker{})
	publish(t, c, c.kernelDir(fakeRelease), marker{Release: fakeRelease})
	if err := os.Chmod(dir, 0o555); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.Chmod(dir, 0o755) })
	f := startFetching(t, dir, uid)
	f.waitFor("error ")
	if said := f.said[0]; !strings.Contains(said, ErrCacheDir.Error()) || !strings.Contains(said, "permission denied") {
		t.Errorf("not writable: %s", said)
	}
	if err := os.Chmod(filepath.Join(c.toolsDir(), markerName), 0); err != nil {
		t.Fatal(err)
	}
	f = startFetching(t, dir, uid)
	f.waitFor("error ")
	if said := f.said[0]; !strings.Contains(said, ErrCacheDir.Error()) || !strings.Contains(said, markerName) {
		t.Errorf("not readable: %s", said)
	}
}

// TestFetchTogether has processes that fetch at the same time: one does, and the
// others wait, also for the one that takes over when the first is killed.
func TestFetchTogether(t *testing.T) {
	fake := newFakeApt(t)
	fake.write("install.sh", "echo $$ > $D/pid.new\nmv $D/pid.new $D/pid\nuntil [ -e $D/go ]; do sleep 0.01; done\n")
	dir, pid := t.TempDir(), filepath.Join(fake.dir, "pid")
	uid := os.Geteuid()

	first := startFetching(t, dir, uid)
	first.waitFor("stage download")
	apt := waitForPID(t, pid)
	var others []*fetching
	for range 3 {
		f := startFetching(t, dir, uid)
		f.waitFor("stage wait")
		others = append(others, f)
	}
	if _, err := (&cache{dir: dir}).load(""); err != errAbsent {
		t.Errorf("the cache has something in the middle of a fetch: %v", err)
	}
	if err := os.Remove(pid); err != nil {
		t.Fatal(err)
	}
	first.kill()
	waitForEnd(t, apt)

	waitForEnd(t, first.cmd.Process.Pid)
	waitForPID(t, pid) // somebody has taken over
	fake.write("go", "")
	fetched := 0
	for _, f := range others {
		f.waitFor("kernel " + fakeRelease)
		if f.has("stage download") {
			fetched++
		}
	}
	if fetched != 1 {
		t.Errorf("%d processes have fetched, want 1", fetched)
	}
	expectOnly(t, &cache{dir: dir}, "kernels", "lock", "tools") // what the killed one left is gone
}
