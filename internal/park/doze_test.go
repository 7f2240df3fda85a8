package park

import "testing"

// One of those who come while the loop sleeps wakes it; while it is awake nobody does.
func TestDoze(t *testing.T) {
	var d Doze
	if d.Wake() {
		t.Error("a loop that never slept is woken")
	}
	for range 2 {
		if d.Begin(); d.End() || d.Wake() {
			t.Error("nobody woke the loop, and it is awake")
		}
		if d.Begin(); !d.Wake() || d.Wake() || !d.End() || d.Wake() {
			t.Error("want one to wake the loop, and it to know")
		}
	}
}
