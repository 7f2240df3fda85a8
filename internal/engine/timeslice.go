package engine

import (
	"runtime"
	"time"

	"github.com/zctap/zctap/internal/mono"
)

// timeSlice is a little less than what Go's scheduler gives a goroutine before it is
// preempted (10 ms: forcePreemptNS in runtime/proc.go).
const timeSlice = 9 * time.Millisecond

// A TimeSlice has an engine's goroutine scheduled anew before Go's monitor thread wants it
// to be. That counts the time since a goroutine was put on its P, and system calls do not
// end it: a thread that sleeps again and again, for less than 10 ms each time, is over it
// for good. Then the monitor signals it, takes its P away in each of its sleeps, which it
// has to get back, and keeps looking every 20 us, all of which took a quarter of the CPU
// where datagrams gather.
//
// To be scheduled anew costs a goroutine that is locked to its thread two or three wakes
// of others, which hand it its P. So it is done as late as may be.
//
// Where there is but one P (GOMAXPROCS) the monitor takes it in each sleep all the same,
// and nothing is done.
//
// The zero TimeSlice is ready. It belongs to the goroutine.
type TimeSlice struct {
	since  mono.Time // when it began
	before mono.Time // when Renew was called last
	Yield  func()    // has the goroutine scheduled anew; for tests; nil: runtime.Gosched
}

// Renew lets the goroutine be scheduled anew if its time slice will be over by the next
// call, should that come as long after this one as this one after the last. To be called when
// there is nothing to do: whatever else can run may do so first.
func (s *TimeSlice) Renew(now mono.Time) {
	next := now.Add(now.Sub(s.before))
	s.before = now
	if next.Sub(s.since) < timeSlice {
		return
	}
	s.since = now
	switch {
	case s.Yield != nil:
		s.Yield()
	case runtime.GOMAXPROCS(0) > 1:
		runtime.Gosched()
	}
}
