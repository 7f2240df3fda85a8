package engine

import (
	"testing"
	"time"

	"github.com/zctap/zctap/internal/mono"
)

// A goroutine that sleeps at an interval is scheduled anew before Go's monitor wants it to
// be, every 10 ms, and no more often than that takes.
func TestTimeSlice(t *testing.T) {
	for _, c := range []struct{ interval, want time.Duration }{
		{10 * time.Microsecond, 8990 * time.Microsecond},
		{500 * time.Microsecond, 8500 * time.Microsecond},
		{1500 * time.Microsecond, 7500 * time.Microsecond},
		{4 * time.Millisecond, 8 * time.Millisecond},
		{5 * time.Millisecond, 5 * time.Millisecond},
		{7 * time.Millisecond, 7 * time.Millisecond},
	} {
		now := mono.Time(1e9)
		var renewed []mono.Time
		s := TimeSlice{Yield: func() { renewed = append(renewed, now) }}
		for len(renewed) < 10 {
			s.Renew(now)
			now = now.Add(c.interval)
		}
		for i := range renewed[1:] {
			if d := renewed[i+1].Sub(renewed[i]); d != c.want {
				t.Errorf("sleeping every %v: scheduled anew after %v, want %v", c.interval, d, c.want)
				break
			}
		}
	}
}

// After a long sleep, in which the monitor has taken the P, it is scheduled anew at once.
func TestTimeSliceOfSleeper(t *testing.T) {
	n, now := 0, mono.Time(1e9)
	s := TimeSlice{Yield: func() { n++ }}
	for range 3 {
		s.Renew(now)
		s.Renew(now.Add(time.Microsecond))
		now = now.Add(20 * time.Millisecond)
	}
	if n != 3 {
		t.Errorf("scheduled anew %d times after 3 long sleeps", n)
	}
}
