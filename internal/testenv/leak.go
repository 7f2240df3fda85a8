package testenv

import (
	"fmt"
	"io"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"testing"
	"time"
)

const (
	// leakGrace bounds how long Main waits for what is on its way out: a
	// goroutine that has been told to end, a descriptor whose last user is
	// about to let go.
	leakGrace = 30 * time.Second
	leakPoll  = 5 * time.Millisecond
)

// Main runs the tests of a package and exits, like os.Exit(m.Run()), and fails
// a run that passed but left file descriptors or goroutines behind. Use it as
//
//	func TestMain(m *testing.M) { testenv.Main(m) }
//
// Descriptors are compared only where /proc/self/fd exists.
func Main(m *testing.M) {
	before := takeCensus()
	code := m.Run()
	if code == 0 && !leakFree(os.Stderr, before, leakGrace) {
		code = 1
	}
	os.Exit(code)
}

// leakFree waits, for grace at most, until nothing is open or running that was
// not in before, and says what is left to w.
func leakFree(w io.Writer, before census, grace time.Duration) bool {
	deadline := time.Now().Add(grace)
	for {
		left := takeCensus().since(before)
		if len(left) == 0 {
			return true
		}
		if time.Now().After(deadline) {
			fmt.Fprintf(w, "testenv: the tests left behind:\n%s\n", strings.Join(left, "\n"))
			return false
		}
		time.Sleep(leakPoll)
	}
}

// A census is what a process holds at one time: one line to print for each
// open descriptor and each goroutine, keyed by what identifies it.
type census map[string]string

func takeCensus() census {
	c := make(census)
	countFDs(c)
	countGoroutines(c)
	return c
}

// since returns the lines of what is in c and not in before, in order.
func (c census) since(before census) []string {
	var left []string
	for id, line := range c {
		if _, ok := before[id]; !ok {
			left = append(left, line)
		}
	}
	slices.Sort(left)
	return left
}

// countFDs adds the open descriptors. One is identified by its number and what
// it refers to ("socket:[4711]", "anon_inode:[io_uring]", a path).
func countFDs(c census) {
	// The runtime opens its epoll and eventfd at the first use of its poller
	// and keeps them; have that behind us at the first census.
	if r, w, err := os.Pipe(); err == nil {
		r.Close()
		w.Close()
	}
	const dir = "/proc/self/fd"
	entries, err := os.ReadDir(dir)
	if err != nil {
		return
	}
	for _, e := range entries {
		// The descriptor of the directory itself is closed again by now, and
		// has no target any more.
		target, err := os.Readlink(filepath.Join(dir, e.Name()))
		if err != nil {
			continue
		}
		line := fmt.Sprintf("descriptor %s: %s", e.Name(), target)
		c[line] = line
	}
}

// keepers are functions whose goroutines the standard library starts once and
// never ends.
var keepers = []string{
	"os/signal.loop",          // first signal.Notify
	"os/signal.signal_recv",   //
	"testing.(*M).startAlarm", // -timeout
}

// countGoroutines adds the goroutines but the calling one, identified by
// number.
func countGoroutines(c census) {
	for i, dump := range goroutineDumps() {
		// runtime.Stack begins with the calling goroutine.
		if i == 0 || slices.ContainsFunc(keepers, func(fn string) bool { return strings.Contains(dump, fn) }) {
			continue
		}
		head, _, _ := strings.Cut(dump, " [")
		c[head] = dump
	}
}

// goroutineDumps returns the stack of each goroutine, as text.
func goroutineDumps() []string {
	buf := make([]byte, 64<<10)
	for {
		n := runtime.Stack(buf, true)
		if n < len(buf) {
			return strings.Split(strings.TrimSpace(string(buf[:n])), "\n\n")
		}
		buf = make([]byte, 2*len(buf))
	}
}
