package buf

import (
	"errors"
	"testing"
)

// TestTurnOfReturns: a batch's returns are one update of a turn word for each group,
// whatever the order in it.
func TestTurnOfReturns(t *testing.T) {
	p := newPool(t, 3*turnGroup)
	var iovs [3 * turnGroup]Iov
	for _, b := range alloc(t, p, len(iovs)) {
		iovs[b^5] = handOver(t, p, b, 0, 1)
	}
	giveBack(t, p, iovs[:]...)
	for i := range p.turns {
		if w := p.turns[i].Load(); w != turnVersion+turnVersion-1 {
			t.Errorf("turn word %d is %#x, want version 1 and all turns flipped", i, w)
		}
	}
	if c := census(t, p); c.FillRing != len(iovs) {
		t.Fatalf("%+v", c)
	}
}

// TestTurnTwiceInOneBatch: of two copies of an iov in one batch the second is refused.
func TestTurnTwiceInOneBatch(t *testing.T) {
	if Invariants {
		t.Log("panics: see debug_on_test.go")
		return
	}
	p := newPool(t, 2)
	ids := alloc(t, p, 2)
	a, b := handOver(t, p, ids[0], 0, 1), handOver(t, p, ids[1], 0, 1)
	batch := []Iov{a, b, a}
	n, err := p.Return(batch)
	if n != 2 || !errors.Is(err, ErrStale) || err.Error()[:5] != "iov 2" || batch[2].frag != a.frag {
		t.Fatalf("%d accepted, %v, %+v", n, err, batch)
	}
	if c := census(t, p); c.FillRing != 2 {
		t.Fatalf("%+v", c)
	}
}

// TestTurnBeforeWord: between the two steps of a return another one of the same iov
// finds the buffer's word as it was, and is refused.
func TestTurnBeforeWord(t *testing.T) {
	p := newPool(t, 1)
	v := handOver(t, p, alloc(t, p, 1)[0], 0, 1)
	p.turns[0].Add(turnVersion + 1) // the first step
	if !Invariants {
		refused(t, p, v, ErrStale)
	}
	p.turns[0].Add(turnVersion - 1)
	giveBack(t, p, v)
}
