package mono

import (
	"testing"
	"time"
)

// TestEpoch: a Now, by the Epoch of another time, is when it was on the wall.
func TestEpoch(t *testing.T) {
	for range 1000 {
		epoch := Epoch()
		before := time.Now()
		at := time.Unix(0, epoch+int64(Now()))
		after := time.Now()
		// The wall clock of the two is read a little before or after the other one.
		const apart = 10 * time.Millisecond
		if at.Before(before.Add(-apart)) || at.After(after.Add(apart)) {
			t.Fatalf("%v is not between %v and %v", at, before, after)
		}
	}
}

// TestNeverZero: a deadline is never taken for none.
func TestNeverZero(t *testing.T) {
	if Now() <= 0 {
		t.Error(Now())
	}
}
