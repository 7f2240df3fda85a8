package engine

import (
	"testing"
	"time"

	"github.com/zctap/zctap/internal/mono"
)

// TestGathering: what comes fast may gather, once for each time that shows it, for as long
// as the target takes to come.
func TestGathering(t *testing.T) {
	const us = time.Microsecond
	type batch struct {
		after  time.Duration
		n      int // -1: something else
		gather time.Duration
	}
	for name, batches := range map[string][]batch{
		"one by one, fast":  {{0, 1, 0}, {25 * us, 1, 0}, {25 * us, 2, 0}, {100 * us, 4, 500 * us}, {550 * us, 22, 500 * us}},
		"as many as wanted": {{0, 10, 0}, {60 * us, 100, 60 * us}, {100 * us, 50, 200 * us}, {250 * us, 125, 200 * us}},
		"too fast":          {{0, 64, 0}, {10 * us, 64, 0}, {49 * us, 100, 0}, {51 * us, 100, 51 * us}},
		"too slow":          {{0, 4, 0}, {201 * us, 3, 0}, {201 * us, 3, 0}, {201 * us, 4, 0}},
		"slower in the end": {{0, 4, 0}, {100 * us, 4, 500 * us}, {550 * us, 21, 0}, {10 * us, 7, 0}},
		"few in the end":    {{0, 4, 0}, {100 * us, 4, 500 * us}, {550 * us, 7, 0}, {250 * us, 1, 0}},
		"interrupted":       {{0, 4, 0}, {50 * us, 3, 0}, {0, -1, 0}, {0, 7, 0}, {100 * us, 1, 500 * us}},
	} {
		g := Gathering{Target: 100}
		now := mono.Time(1e9)
		for i, b := range batches {
			now = now.Add(b.after)
			if b.n < 0 {
				g.Interrupt()
			} else {
				g.Received(now, b.n)
			}
			if got := g.Take(now); got != b.gather {
				t.Errorf("%s: batch %d: gather for %v, want %v", name, i, got, b.gather)
			}
			if b.gather > 0 && g.Take(now) != 0 {
				t.Errorf("%s: batch %d: gather twice", name, i)
			}
		}
	}
	var g Gathering
	g.Received(1e9, 100)
	if d := g.Take(2e9); d != 0 {
		t.Errorf("without a target: gather for %v", d)
	}
}
