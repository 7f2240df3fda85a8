//go:build interleave

package interleave

import "testing"

// Search explores, and returns how many schedules it ran, what failed, and the schedule of that.
func Search(t testing.TB, preemptions int, body func(x *Execution)) (schedules int, failure, schedule string) {
	r := search(t, preemptions, body)
	if r.failed == nil {
		return r.schedules, "", ""
	}
	return r.schedules, r.failed.failure, r.failed.path.String()
}

// Replay runs one schedule.
func Replay(t testing.TB, schedule string, body func(x *Execution)) (failure, trace string) {
	p, err := parsePath(schedule)
	if err != nil {
		t.Fatal(err)
	}
	out := execute(t, p, true, body)
	return out.failure, out.trace
}
