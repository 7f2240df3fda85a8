package shring

import (
	"errors"
	"testing"
)

// newWords makes the words of a ring on the heap, where the race detector sees them, with both indices at start.
func newWords(size, start uint32) Words {
	return Words{Producer: &[]uint32{start}[0], Consumer: &[]uint32{start}[0], Flags: new(uint32), Size: size}
}

// ends makes both sides of one ring: each is the other's peer.
func ends(t *testing.T, size, start uint32) (*Producer, *Consumer, Words) {
	t.Helper()
	w := newWords(size, start)
	p, err := NewProducer(w)
	if err != nil {
		t.Fatal(err)
	}
	c, err := NewConsumer(w)
	if err != nil {
		t.Fatal(err)
	}
	return p, c, w
}

func TestWordsRefused(t *testing.T) {
	word := new(uint32)
	for name, w := range map[string]Words{
		"no producer word":  {Consumer: new(uint32), Size: 8},
		"no consumer word":  {Producer: new(uint32), Size: 8},
		"one word for both": {Producer: word, Consumer: word, Size: 8},
		"size 0":            {Producer: new(uint32), Consumer: new(uint32)},
		"size 6":            {Producer: new(uint32), Consumer: new(uint32), Size: 6},
		"size 1<<31 + 1":    {Producer: new(uint32), Consumer: new(uint32), Size: 1<<31 + 1},
	} {
		if _, err := NewProducer(w); err == nil {
			t.Errorf("%s: NewProducer accepted it", name)
		}
		if _, err := NewConsumer(w); err == nil {
			t.Errorf("%s: NewConsumer accepted it", name)
		}
	}
}

func TestStartingIndices(t *testing.T) {
	for _, tc := range []struct {
		name               string
		producer, consumer uint32
		corrupt            bool
	}{
		{"empty", 7, 7, false},
		{"full", 15, 7, false},
		{"full over the wrap", 3, 1<<32 - 5, false},
		{"one too many", 16, 7, true},
		{"consumer ahead", 7, 8, true},
		{"half the number space apart", 1 << 31, 0, true},
	} {
		w := newWords(8, 0)
		*w.Producer, *w.Consumer = tc.producer, tc.consumer
		p, err := NewProducer(w)
		if got := errors.Is(err, ErrCorrupt); got != tc.corrupt {
			t.Errorf("%s: NewProducer error %v", tc.name, err)
		}
		c, err := NewConsumer(w)
		if got := errors.Is(err, ErrCorrupt); got != tc.corrupt {
			t.Errorf("%s: NewConsumer error %v", tc.name, err)
		}
		if tc.corrupt {
			continue
		}
		if got, want := p.InFlight(), tc.producer-tc.consumer; got != want {
			t.Errorf("%s: InFlight %d, want %d", tc.name, got, want)
		}
		if got, want := c.Ready(), tc.producer-tc.consumer; got != want {
			t.Errorf("%s: Ready %d, want %d", tc.name, got, want)
		}
	}
}
