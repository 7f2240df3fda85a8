package engine

import (
	"testing"
	"time"

	"github.com/zctap/zctap/internal/mono"
)

// TestTimeSlice: a goroutine that sleeps every 500 us is scheduled anew every 5 ms.
func TestTimeSlice(t *testing.T) {
	n, now := 0, mono.Time(1e9)
	s := TimeSlice{Yield: func() { n++ }}
	for range 200 {
		s.Renew(now)
		now = now.Add(500 * time.Microsecond)
	}
	if n != 20 {
		t.Errorf("scheduled anew %d times in 100 ms, want 20", n)
	}
}
