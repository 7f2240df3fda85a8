package buf

import (
	"errors"
	"slices"
	"strings"
	"testing"
)

// What a handler gives back on the engine's own thread comes back at once, each buffer once,
// and not by the fill ring; what is not lent, or refused, is treated as by Return.
func TestReturnHere(t *testing.T) {
	const lent = 300
	p := newPool(t, lent+2)
	p.Lend(lent)
	var got []uint16
	p.OneThread(func(ids []uint16) { got = append(got, ids...) })
	told, calls := 0, 0
	p.OnNotice(func() { told++ })
	p.OnReturn(func() { calls++ })
	p.WantReturn()
	p.Starved()
	if n, ok := p.TakeNotice(); !ok || !n.Empty {
		t.Fatalf("%+v", n)
	}
	var iovs []Iov
	for b := range uint16(lent) {
		land(t, p, b)
		iovs = append(iovs, handOver(t, p, b, 0, 1))
	}
	// Two references to 7, one of them the application's; an own one, and a foreign one.
	land(t, p, 7)
	foreign := iovs[100]
	foreign.frag.region++
	iovs = slices.Insert(iovs, 200, foreign, handOver(t, p, alloc(t, p, 1)[0], 0, 1))
	n, err := p.ReturnHere(iovs)
	if n != len(iovs)-1 || !errors.Is(err, ErrForeign) || !strings.HasPrefix(err.Error(), "iov 200:") {
		t.Fatalf("%d of %d were taken, %v", n, len(iovs), err)
	}
	for i, v := range iovs {
		if zero := v.view == nil && v.frag == (Frag{}); zero == (i == 200) {
			t.Errorf("iov %d is %+v", i, v.frag)
		}
	}
	// What comes behind the refused one goes by the ring.
	if got := p.fill.len(); got != lent-200+1 {
		t.Errorf("%d in the fill ring", got)
	}
	if calls != 1 || told != 2 {
		t.Errorf("the engine was told %d times that buffers came back, the application %d times", calls, told)
	}
	if n, ok := p.TakeNotice(); !ok || n.Drained != 199 {
		t.Errorf("%+v of 199 that did not go by the ring", n)
	}
	var want []uint16
	for b := range uint16(lent) {
		if b != 7 {
			want = append(want, b)
		}
	}
	if !slices.Equal(got, want[:199]) {
		t.Errorf("%v came back at once", got)
	}
	got = append(got, takeBack(p)...)
	if slices.Sort(got); !slices.Equal(got, want) {
		t.Errorf("%d came back, want %d", len(got), len(want))
	}
	p.Put(7)
	if got := takeBack(p); !slices.Equal(got, []uint16{7}) || p.FreeLent() != lent || p.Free() != 2 {
		t.Errorf("%v came back; %d lent and %d others are free", got, p.FreeLent(), p.Free())
	}
	p.Starved()
	if p.Exhaustions() != 2 {
		t.Error("what came back has not ended the episode")
	}
	census(t, p)
}

// A buffer is in the fill ring, and what lands there again is given back on the engine's
// thread, or the other way about: it comes back at once where it does not wait in the ring,
// and once from there.
func TestReturnHereOfQueued(t *testing.T) {
	type give = func(p *Pool, iovs []Iov) (int, error)
	for name, c := range map[string]struct {
		gives        []give
		here, queued int // times that it comes back
	}{
		"ring, then here": {[]give{(*Pool).Return, (*Pool).ReturnHere}, 0, 1},
		"here, then ring": {[]give{(*Pool).ReturnHere, (*Pool).Return}, 1, 1},
		"here twice":      {[]give{(*Pool).ReturnHere, (*Pool).ReturnHere}, 2, 0},
		// The ring has one slot for each buffer.
		"ring, here, ring": {[]give{(*Pool).Return, (*Pool).ReturnHere, (*Pool).Return}, 0, 1},
	} {
		t.Run(name, func(t *testing.T) {
			p := newPool(t, 4)
			p.Lend(3)
			here := 0
			p.OneThread(func(ids []uint16) {
				if !slices.Equal(ids, []uint16{2}) || p.Held(2) {
					t.Errorf("%v came back; held: %v", ids, p.Held(2))
				}
				here++
			})
			for _, give := range c.gives {
				land(t, p, 2)
				if n, err := give(p, []Iov{handOver(t, p, 2, 0, 1)}); n != 1 || err != nil {
					t.Fatal(n, err)
				}
			}
			if got := takeBack(p); len(got) != c.queued || here != c.here || p.FreeLent() != 3 {
				t.Errorf("%v came back from the ring, %d times at once; %d are free", got, here, p.FreeLent())
			}
		})
	}
}

// What lands again, or is given back in part, does not come back.
func TestReturnHereOfHeld(t *testing.T) {
	for name, give := range map[string]func(p *Pool, iovs []Iov) (int, error){"ring": (*Pool).Return, "here": (*Pool).ReturnHere} {
		t.Run(name, func(t *testing.T) {
			p := newPool(t, 4)
			p.Lend(3)
			p.OneThread(func(ids []uint16) { t.Errorf("%v came back, and is held", ids) })
			land(t, p, 2)
			v := handOver(t, p, 2, 0, 1)
			land(t, p, 2)
			if n, err := give(p, []Iov{v}); n != 1 || err != nil {
				t.Fatal(n, err)
			}
			if got := takeBack(p); len(got) != 0 {
				t.Errorf("%v came back, and is held", got)
			}
			p.Put(2)
			if got := takeBack(p); !slices.Equal(got, []uint16{2}) || p.FreeLent() != 3 {
				t.Errorf("%v came back in the end, %d are free", got, p.FreeLent())
			}
		})
	}
}

// The generation wraps into what says that a buffer is queued: it is not, and comes back.
func TestReturnHereInTheLastGeneration(t *testing.T) {
	p := newPool(t, 2)
	p.Lend(2)
	var got []uint16
	p.OneThread(func(ids []uint16) { got = append(got, ids...) })
	p.words[1].Store(genMask)
	for range 2 {
		land(t, p, 1)
		if n, err := p.ReturnHere([]Iov{handOver(t, p, 1, 0, 1)}); n != 1 || err != nil {
			t.Fatal(n, err)
		}
	}
	if !slices.Equal(got, []uint16{1, 1}) || p.words[1].Load() != genOne {
		t.Errorf("%v came back, and the word is %#x", got, p.words[1].Load())
	}
}

// With several threads in the engine it is Return.
func TestReturnHereOfSeveralThreads(t *testing.T) {
	p := newPool(t, 4)
	p.Lend(3)
	land(t, p, 2)
	if n, err := p.ReturnHere([]Iov{handOver(t, p, 2, 0, 1)}); n != 1 || err != nil || p.fill.len() != 1 {
		t.Errorf("%d, %v, and %d in the fill ring", n, err, p.fill.len())
	}
}
