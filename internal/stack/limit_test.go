package stack

import (
	"testing"
	"time"

	"github.com/zctap/zctap/internal/mono"
)

// TestLimiter: a burst, and then so many a second, however the time between them is cut.
func TestLimiter(t *testing.T) {
	for _, step := range []time.Duration{time.Millisecond, 7 * time.Millisecond, 70 * time.Millisecond, 99 * time.Millisecond} {
		l := newLimiter(10, 5)
		now := mono.Time(time.Hour)
		for range 5 {
			if !l.take(now) {
				t.Fatal("no burst")
			}
		}
		taken := 0
		for end := now.Add(20 * time.Second); now.Before(end); {
			if now = now.Add(step); l.take(now) {
				taken++
			}
		}
		if taken < 199 || taken > 201 {
			t.Errorf("asked each %v: %d in 20 s, want 200", step, taken)
		}
	}
}

// TestLimiterBurst: when the bucket has filled, be it just now or long ago, between half of the
// burst and all of it may be taken, as chance has it.
func TestLimiterBurst(t *testing.T) {
	const burst = 10
	for _, after := range []time.Duration{time.Second, 1050 * time.Millisecond, time.Hour} {
		for chance, want := range map[uint32]int{0: burst, 1: burst - 1, burst / 2: burst / 2, burst/2 + 1: burst} {
			l := newLimiter(10, burst).random(func() uint32 { return chance })
			now := mono.Time(time.Hour)
			for l.take(now) {
			}
			now = now.Add(after)
			n := 0
			for l.take(now) {
				n++
			}
			if n != want {
				t.Errorf("%v after it was empty, by chance %d: %d taken, want %d", after, chance, n, want)
			}
		}
	}
}
