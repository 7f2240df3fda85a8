//go:build linux

package netns

import (
	"bufio"
	"errors"
	"io"
	"os"
	"os/exec"
	"runtime"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/zctap/zctap/internal/testenv"
)

func TestNSRun(t *testing.T) {
	n := newNS(t)
	var out strings.Builder
	cmd := helper(self(), "whoami")
	cmd.Stdout = &out
	if err := n.Run(cmd); err != nil {
		t.Fatal(err)
	}
	if want := "0 " + idOf(t, n); out.String() != want {
		t.Errorf("a process in the namespace says %q, want %q", &out, want)
	}
	var exit *exec.ExitError
	if err := n.Run(exec.Command("/proc/self/exe", "-test.noSuchFlag")); !errors.As(err, &exit) {
		t.Errorf("a process that fails: Run = %v, want an exec.ExitError", err)
	}
	if err := n.Run(exec.Command("/no/such/program")); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("no such program: Run = %v, want os.ErrNotExist", err)
	}
}

// TestNSStartOutlivesThreads ends as many threads as the scheduler will let go
// of. A process that was started on one of them, and asked to be killed with
// it, would be.
func TestNSStartOutlivesThreads(t *testing.T) {
	n := newNS(t)
	starts := map[string]func(*exec.Cmd) error{"in the namespace": n.Start, "as it is": Start}
	for name, start := range starts {
		t.Run(name, func(t *testing.T) {
			cmd := helper(self(), "wait")
			stdin, err := cmd.StdinPipe()
			if err != nil {
				t.Fatal(err)
			}
			stdout, err := cmd.StdoutPipe()
			if err != nil {
				t.Fatal(err)
			}
			if err := start(cmd); err != nil {
				t.Fatal(err)
			}
			for range 8 {
				endThreads(16)
			}
			expectReady(t, stdout)
			stdin.Close()
			if err := cmd.Wait(); err != nil {
				t.Errorf("the process ended with %v, want exit status 0", err)
			}
		})
	}
}

// endThreads ends n threads.
func endThreads(n int) {
	var all, done sync.WaitGroup
	all.Add(n)
	for range n {
		done.Go(func() {
			runtime.LockOSThread() // and never unlocked
			all.Done()
			all.Wait()
		})
	}
	done.Wait()
}

// TestNSParentKilled kills a process that has started another. That one must
// go, too: it holds the writing end of a pipe, which then ends.
func TestNSParentKilled(t *testing.T) {
	testenv.NeedRoot(t)
	for _, parent := range []string{"parent", "parent-netns", "parent-userns"} {
		t.Run(parent, func(t *testing.T) {
			cmd := helper(self(), parent)
			stdin, hold := pipe(t) // not ended by the test: the child waits for it
			r, stdout := pipe(t)
			cmd.Stdin, cmd.Stdout = stdin, stdout
			if err := cmd.Start(); err != nil {
				t.Fatal(err)
			}
			stdout.Close()
			expectReady(t, r)
			cmd.Process.Kill()
			cmd.Wait()
			r.SetReadDeadline(time.Now().Add(30 * time.Second))
			if _, err := r.Read(make([]byte, 1)); err != io.EOF {
				t.Errorf("the child's output ended with %v, want EOF", err)
			}
			hold.Close()
		})
	}
}

func pipe(t *testing.T) (r, w *os.File) {
	t.Helper()
	r, w, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { r.Close(); w.Close() })
	return r, w
}

// expectReady reads what the helper wait says.
func expectReady(t *testing.T, r io.Reader) {
	t.Helper()
	if line, err := bufio.NewReader(r).ReadString('\n'); line != "ready\n" {
		t.Errorf("the process says %q, error %v; want that it is ready", line, err)
	}
}

func TestReexecUser(t *testing.T) {
	testenv.NeedUserNS(t)
	checkReexec(t, func(out io.Writer) error {
		cmd := helper(ReexecUser(), "listen")
		cmd.Stdout = out
		if err := Start(cmd); err != nil {
			return err
		}
		return cmd.Wait()
	})
}

// TestNSReexecUserAsNobody does the same from a process of an ordinary user.
func TestNSReexecUserAsNobody(t *testing.T) {
	testenv.NeedRoot(t)
	testenv.NeedUserNS(t)
	checkReexec(t, func(out io.Writer) error {
		cmd := nobody(helper(self(), "listen-nobody"))
		cmd.Stdout = out
		return cmd.Run()
	})
}

func checkReexec(t *testing.T, run func(out io.Writer) error) {
	t.Helper()
	var out strings.Builder
	if err := run(&out); err != nil {
		t.Fatal(err)
	}
	if out.String() != "0 hello" {
		t.Errorf("the helper says %q, want that it is root there, and received hello", &out)
	}
}
