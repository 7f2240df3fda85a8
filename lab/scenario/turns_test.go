//go:build linux

package scenario

import (
	"flag"
	"slices"
	"strconv"
	"sync"
	"testing"
)

// The tests of this package run side by side, as many as -test.parallel says (by itself: as
// many as there are processors, for a machine keeps one busy). The longest begin first: one that
// began as the last would run on alone while the other processors have nothing to do. The
// testing package lets parallel tests go in any order, so it gets to let go all of them, and
// here they wait in line. That is part of the time it says they took.

// A line is the tests that wait.
type line struct {
	mu      sync.Mutex
	free    int // how many more may run
	waiting []turn
}

type turn struct {
	seconds int
	come    chan struct{}
}

var turns line

// openLine sets how many tests run side by side.
func openLine() {
	flag.Parse()
	f := flag.Lookup("test.parallel")
	turns.free, _ = strconv.Atoi(f.Value.String()) // the testing package has checked it
	if err := f.Value.Set("1000"); err != nil {
		panic(err)
	}
}

// inTurn is t.Parallel for a test that takes about so many seconds.
func inTurn(t *testing.T, seconds int) {
	t.Helper()
	mine := turn{seconds, make(chan struct{})}
	turns.join(mine)
	t.Parallel() // returns when all tests have joined
	turns.advance(0)
	<-mine.come
	t.Cleanup(func() { turns.advance(1) })
}

func (l *line) join(mine turn) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.waiting = append(l.waiting, mine)
	slices.SortStableFunc(l.waiting, func(a, b turn) int { return b.seconds - a.seconds })
}

// advance says that so many tests have ended, and lets go who may run.
func (l *line) advance(ended int) {
	l.mu.Lock()
	defer l.mu.Unlock()
	for l.free += ended; l.free > 0 && len(l.waiting) > 0; l.free-- {
		close(l.waiting[0].come)
		l.waiting = l.waiting[1:]
	}
}
