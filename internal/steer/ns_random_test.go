//go:build linux

package steer

import (
	"testing"
)

// TestNSRandom runs 100,000 generated frames through the program, with its short cut
// and without, and through the reference matcher: they must agree on the
// action for each, and on the number of each verdict.
func TestNSRandom(t *testing.T) {
	b := newBench(t)
	b.withSocket(t)
	const chunks, size = 100, 1000
	var total Counters
	for chunk := range chunks {
		g := newGenerator(uint64(chunk))
		var frames [][]byte
		var want Counters
		before := countersOf(t, b.Program)
		for range size {
			frame := g.frame()
			v := b.rules.verdict(frame)
			frames = append(frames, frame)
			want[v]++
			for name, p := range b.programs() {
				if got := action(t, p, frame); got != actionOf(v) {
					t.Fatalf("chunk %d, %s: action %d for a frame that the reference calls %v: %x", chunk, name, got, v, frame)
				}
			}
		}
		got := countersOf(t, b.Program)
		for v := range got {
			got[v] = (got[v] - before[v]) / uint64(len(b.programs()))
			total[v] += want[v]
		}
		if got != want {
			b.blame(t, frames)
			t.Fatalf("chunk %d: verdicts %v, want %v", chunk, got, want)
		}
	}
	for v, n := range total {
		// All of them are to be tried, and not just once.
		if Verdict(v) != PassNoSocket && n < chunks*size/1000 {
			t.Errorf("of %d frames only %d have the verdict %v", chunks*size, n, Verdict(v))
		}
	}
	t.Logf("verdicts: %v", total)
}

// blame fails the test with the frame for which a verdict is wrong.
func (b *bench) blame(t *testing.T, frames [][]byte) {
	t.Helper()
	for _, frame := range frames {
		for name, p := range b.programs() {
			if got, want := b.verdict(t, p, frame), b.rules.verdict(frame); got != want {
				t.Fatalf("%s: %v, the reference says %v: %x", name, got, want, frame)
			}
		}
	}
}

// FuzzVerdict has the program and the reference matcher agree on any frame.
func FuzzVerdict(f *testing.F) {
	b := newBench(f)
	b.withSocket(f)
	for _, c := range cases {
		f.Add(c.frame)
	}
	f.Fuzz(func(t *testing.T, frame []byte) {
		// The kernel runs no shorter frames, and allocates longer ones slowly.
		if len(frame) < 14 || len(frame) > 9014 {
			return
		}
		want := b.rules.verdict(frame)
		for name, p := range b.programs() {
			if got := b.verdict(t, p, frame); got != want {
				t.Errorf("%s: %v, the reference says %v", name, got, want)
			}
		}
	})
}
