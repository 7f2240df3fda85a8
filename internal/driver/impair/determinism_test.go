package impair

import (
	"slices"
	"testing"

	"github.com/zctap/zctap/internal/mono"
)

var everything = Config{
	Drop: 0.05, Duplicate: 0.1, Corrupt: 0.1, Delay: 0.2, Reorder: 0.1,
	DelayBy: 5, DelayJitter: 30, ReorderBy: 2, ReorderLimit: 9, Hold: 16,
}

// history is what comes out of each of many Polls.
func history(t *testing.T, c Config) (h [][]int, counts Counts) {
	r := newRig(t, c, options{frames: 12, frags: 12})
	for i := range 150 {
		r.send(10*i+1, 10*i+10)
		h = append(h, r.numbers(mono.Time(3*i)))
	}
	return h, r.bad.Counts()
}

func TestDeterminism(t *testing.T) {
	c := everything
	c.Seed = 1
	first, counts := history(t, c)
	again, countsAgain := history(t, c)
	if !slices.EqualFunc(first, again, slices.Equal) || counts != countsAgain {
		t.Error("the same seed gives two outcomes")
	}
	for _, n := range []uint64{
		counts.Dropped, counts.Duplicated, counts.Corrupted, counts.Delayed, counts.Reordered, counts.Overflowed, counts.Held,
	} {
		if n == 0 {
			t.Errorf("not everything has happened: %+v", counts)
		}
	}
	c.Seed = 2
	if other, _ := history(t, c); slices.EqualFunc(first, other, slices.Equal) {
		t.Error("two seeds give the same outcome")
	}
}

// TestIndependence: which frames one kind hits does not depend on the others.
func TestIndependence(t *testing.T) {
	lost := func(c Config) (ns []int) {
		r := newRig(t, c, options{})
		came := map[int]bool{}
		for i := range 40 {
			r.send(10*i+1, 10*i+10)
			for _, n := range r.numbers(mono.Time(i)) {
				came[n] = true
			}
		}
		for _, n := range r.numbers(1000) {
			came[n] = true
		}
		for n := 1; n <= 400; n++ {
			if !came[n] {
				ns = append(ns, n)
			}
		}
		return ns
	}
	alone := lost(Config{Seed: 5, Drop: 0.1})
	among := lost(Config{Seed: 5, Drop: 0.1, Duplicate: 0.5, Delay: 0.3, DelayBy: 3, DelayJitter: 9, Reorder: 0.2})
	if len(alone) == 0 || !slices.Equal(alone, among) {
		t.Errorf("dropped alone %v, among others %v", alone, among)
	}
}
