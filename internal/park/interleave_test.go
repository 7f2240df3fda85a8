//go:build interleave

package park

import (
	"testing"

	"github.com/zctap/zctap/internal/interleave"
	"github.com/zctap/zctap/internal/interleave/atomic"
)

// A loop that has taken all work that there is sleeps until somebody has more, and is unblocked for each
// of its sleeps at most once. A wake that is lost leaves it asleep for good, which fails the schedule.
func TestInterleaveDoze(t *testing.T) {
	for _, producers := range []int{1, 2} {
		interleave.Explore(t, 3, func(x *interleave.Execution) {
			var d Doze
			var work atomic.Uint32
			unblocked, sleeps, wakes := 0, 0, 0 // as a descriptor counts: one Wake ends the sleep that is or the next
			const each = 2
			x.Go("loop", func() {
				for done := 0; done < producers*each; {
					if n := work.Swap(0); n > 0 {
						done += int(n)
						continue
					}
					sleeps++
					d.Begin()
					if work.Load() == 0 {
						interleave.Await(func() bool { return unblocked > 0 })
						unblocked = 0
					}
					d.End()
				}
			})
			for range producers {
				x.Go("producer", func() {
					for range each {
						work.Add(1)
						if d.Wake() {
							unblocked++
							wakes++
						}
					}
				})
			}
			x.Cleanup(func() {
				if wakes > sleeps {
					x.Errorf("%d wakes for %d sleeps", wakes, sleeps)
				}
			})
		})
	}
}
