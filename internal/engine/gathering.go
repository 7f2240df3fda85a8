package engine

import (
	"time"

	"github.com/zctap/zctap/internal/mono"
)

// Who receives datagrams one by one as they come sleeps and wakes for each, and that
// costs more than all else. When they come fast enough an engine lets them gather
// instead, as a NIC that moderates its interrupts.
const (
	// MaxGather is how long datagrams may gather.
	MaxGather = 500 * time.Microsecond
	// minGather is what is not worth a sleep: timers of threads are 50 us late
	// (PR_SET_TIMERSLACK).
	minGather = 50 * time.Microsecond

	// Datagrams come fast if so many come in that time.
	fastCount = 8
	fastTime  = 200 * time.Microsecond
)

// A Gathering decides when datagrams may gather, and for how long. One goroutine's; it
// is ready when Target is set.
type Gathering struct {
	// Target is how many datagrams should come meanwhile, where they come fast enough
	// for that: far fewer than there is room for. 0: none may gather.
	Target int

	since mono.Time // when they began to be counted; 0: they are not
	count int
}

// Received notes that n more datagrams have come.
func (g *Gathering) Received(now mono.Time, n int) {
	if age := now.Sub(g.since); g.since == 0 || age > fastTime && !fast(g.count+n, age) {
		g.since, g.count = now, 0
	}
	g.count += n
}

// fast reports whether n datagrams in d is at the rate that lets them gather.
func fast(n int, d time.Duration) bool { return time.Duration(n)*fastTime >= fastCount*d }

// Interrupt notes that something else happened, for which nobody may have to wait.
func (g *Gathering) Interrupt() { g.since, g.count = 0, 0 }

// Take returns for how long to let datagrams gather now; 0: wait for the next one. They
// have to come for it to say so again.
func (g *Gathering) Take(now mono.Time) time.Duration {
	n := g.count
	if n < fastCount || g.Target == 0 {
		return 0
	}
	d := min(now.Sub(g.since)*time.Duration(g.Target)/time.Duration(n), MaxGather)
	g.since, g.count = now, 0
	if d < minGather {
		return 0
	}
	return d
}
