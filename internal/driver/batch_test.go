package driver

import "testing"

// A batch is full by frames or by bytes, and empty again after Reset.
func TestBatchFull(t *testing.T) {
	for _, c := range []struct {
		name     string
		frames   int
		maxBytes int
		lens     []int
		full     []bool
	}{
		{"frames", 3, 0, []int{1000, 1000, 1000}, []bool{false, false, true}},
		{"bytes", 9, 2000, []int{1000, 999, 1}, []bool{false, false, true}},
		{"one frame over", 9, 2000, []int{60000}, []bool{true}},
	} {
		b := NewBatch(c.frames, 0)
		b.MaxBytes = c.maxBytes
		for round := range 2 {
			if b.Full() {
				t.Errorf("%s: full when empty", c.name)
			}
			for i, n := range c.lens {
				b.Add(Frame{Len: n})
				if b.Full() != c.full[i] {
					t.Errorf("%s, round %d: full is %v after %d frames", c.name, round, b.Full(), i+1)
				}
			}
			if len(b.Frames) != len(c.lens) {
				t.Errorf("%s: %d frames", c.name, len(b.Frames))
			}
			b.Reset()
		}
	}
}
