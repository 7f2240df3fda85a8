// Package mono is zctap's clock: one monotonic reading, taken by an engine's
// loop and passed down as now.
//
// The protocol stack and the buffer core never read a clock (rule 3 of the
// design: time is an argument), so that a test can run a whole connection, its
// retransmissions and its TIME_WAIT included, in no time and always alike.
// Only engines, drivers that block, and the root package call Now.
package mono

import "time"

// Time is a monotonic instant in nanoseconds since an arbitrary origin, fixed
// for the life of the process. The zero Time is that origin; as a deadline it
// means "none".
type Time int64

// origin carries Go's monotonic reading; wall-clock steps don't move it.
var origin = time.Now()

// Now reads the monotonic clock. It never returns zero, so that a deadline
// taken from it is never mistaken for "none".
func Now() Time { return Time(time.Since(origin)) + 1 }

// Epoch is what the wall clock says that it was at Time 0, in nanoseconds since 1970: it changes when that
// clock is set. Both clocks are read at once. The difference between a time on the wall and a Now
// of before would be off by however long the caller did not run in between, and what is dated by it would lie
// in the future.
func Epoch() int64 {
	t := time.Now()
	return t.UnixNano() - int64(t.Sub(origin)) - 1 // as Now counts
}

// Add returns t moved by d.
func (t Time) Add(d time.Duration) Time { return t + Time(d) }

// Sub returns the time from u to t, negative if t is earlier.
func (t Time) Sub(u Time) time.Duration { return time.Duration(t - u) }

// Before reports whether t is earlier than u.
func (t Time) Before(u Time) bool { return t < u }
