package netstack

import (
	"container/heap"
	"sync"
	"time"

	"gvisor.dev/gvisor/pkg/tcpip"

	"github.com/zctap/zctap/internal/mono"
)

// A Clock is simulated time for a stack. Any goroutine may read it and set timers;
// their functions run in Advance, one after the other.
type Clock struct {
	mu     sync.Mutex
	now    mono.Time
	timers timerHeap
	number uint64 // of timers ever set: those of one time run in that order
}

var _ tcpip.Clock = (*Clock)(nil)

// NewClock makes a clock that stands at now.
func NewClock(now mono.Time) *Clock { return &Clock{now: now} }

// Now is a tcpip.Clock's.
func (c *Clock) Now() time.Time {
	c.mu.Lock()
	defer c.mu.Unlock()
	return time.Unix(0, int64(c.now))
}

// NowMonotonic is a tcpip.Clock's.
func (c *Clock) NowMonotonic() (t tcpip.MonotonicTime) {
	c.mu.Lock()
	defer c.mu.Unlock()
	return t.Add(time.Duration(c.now))
}

// AfterFunc is a tcpip.Clock's.
func (c *Clock) AfterFunc(d time.Duration, f func()) tcpip.Timer {
	t := &timer{clock: c, f: f, index: -1}
	t.Reset(d)
	return t
}

// Next is when Advance has something to do, 0 if never.
func (c *Clock) Next() mono.Time {
	c.mu.Lock()
	defer c.mu.Unlock()
	if len(c.timers) == 0 {
		return 0
	}
	return c.timers[0].when
}

// Advance makes it now, and runs the timers that are due, also those that a timer
// sets. settle is called after each. busy says that there was one.
func (c *Clock) Advance(now mono.Time, settle func()) (busy bool) {
	for {
		c.mu.Lock()
		c.now = max(c.now, now)
		if len(c.timers) == 0 || now < c.timers[0].when {
			c.mu.Unlock()
			return busy
		}
		t := heap.Pop(&c.timers).(*timer)
		c.mu.Unlock()
		t.f()
		settle()
		busy = true
	}
}

// timer is set while it is in its clock's heap.
type timer struct {
	clock  *Clock
	f      func()
	when   mono.Time
	number uint64
	index  int // in the heap; -1: not there
}

// Stop is a tcpip.Timer's.
func (t *timer) Stop() bool {
	t.clock.mu.Lock()
	defer t.clock.mu.Unlock()
	if t.index < 0 {
		return false
	}
	heap.Remove(&t.clock.timers, t.index)
	return true
}

// Reset is a tcpip.Timer's.
func (t *timer) Reset(d time.Duration) {
	c := t.clock
	c.mu.Lock()
	defer c.mu.Unlock()
	c.number++
	// Not before the next instant: what sets itself again at once must not keep
	// Advance from returning.
	t.when, t.number = c.now.Add(max(d, 1)), c.number
	if t.index >= 0 {
		heap.Fix(&c.timers, t.index)
		return
	}
	heap.Push(&c.timers, t)
}

// timerHeap is a heap.Interface: the earliest first.
type timerHeap []*timer

func (h timerHeap) Len() int { return len(h) }

func (h timerHeap) Less(i, j int) bool {
	return h[i].when < h[j].when || h[i].when == h[j].when && h[i].number < h[j].number
}

func (h timerHeap) Swap(i, j int) {
	h[i], h[j] = h[j], h[i]
	h[i].index, h[j].index = i, j
}

func (h *timerHeap) Push(x any) {
	t := x.(*timer)
	t.index = len(*h)
	*h = append(*h, t)
}

func (h *timerHeap) Pop() any {
	t := (*h)[len(*h)-1]
	(*h)[len(*h)-1] = nil
	*h = (*h)[:len(*h)-1]
	t.index = -1
	return t
}
