package buf

import (
	"errors"
	"slices"
	"strings"
	"testing"
)

// Iovs of lent buffers are given back in one batch, whether they hold the only
// reference to their buffer, one of several, or none any more, and beside those of
// other buffers.
func TestReturnsOfLentBuffersMixed(t *testing.T) {
	const lent = 2*refillBatch + 10
	p := newPool(t, lent+2)
	p.Lend(lent)
	var iovs []Iov
	for b := range uint16(lent) {
		land(t, p, b)
		iovs = append(iovs, handOver(t, p, b, 0, 1))
	}
	// Two references to 3, which ends a run in its batch; in the next, one of another
	// queue, one that is not lent, and one that was given back.
	land(t, p, 3)
	const at = refillBatch + 5
	foreign := iovs[at]
	foreign.frag.region++
	own := handOver(t, p, alloc(t, p, 1)[0], 0, 1)
	iovs = slices.Insert(iovs, at, foreign, own)
	bad := []int{at}
	if !Invariants { // where that panics
		stale := iovs[at+6]
		giveBack(t, p, stale)
		bad = append(bad, at+6)
	}
	total := len(iovs)
	n, err := p.Return(iovs)
	if n != total-len(bad) || !errors.Is(err, ErrForeign) || !strings.HasPrefix(err.Error(), "iov 69:") {
		t.Fatalf("%d of %d were taken, %v", n, total, err)
	}
	for i, v := range iovs {
		if zero := v.view == nil && v.frag == (Frag{}); zero == slices.Contains(bad, i) {
			t.Errorf("iov %d is %+v", i, v.frag)
		}
	}
	var want []uint16
	for b := range uint16(lent) {
		if b != 3 {
			want = append(want, b)
		}
	}
	got := takeBack(p)
	if slices.Sort(got); !slices.Equal(got, want) || p.FreeLent() != lent-1 || p.Free() != 2 || p.Rejected() != uint64(len(bad)) {
		t.Errorf("%d came back, %d lent and %d others are free, %d were refused", len(got), p.FreeLent(), p.Free(), p.Rejected())
	}
	p.Put(3)
	if got := takeBack(p); !slices.Equal(got, []uint16{3}) {
		t.Errorf("%v came back", got)
	}
}

// Frags of lent buffers are handed over in one batch, whoever else has a reference to
// their buffers, and beside those of other buffers.
func TestHandOverOfLentBuffersMixed(t *testing.T) {
	p := newPool(t, 6)
	p.Lend(5)
	b := alloc(t, p, 1)[0]
	frags := []Frag{Landed(0, 0, 10), Landed(1, 20, 30), Landed(1, 50, 7), Landed(2, 0, 4)}
	if n, err := p.Land(frags); n != len(frags) || err != nil {
		t.Fatal(n, err)
	}
	frags = slices.Insert(frags, 3, p.Frag(b, 5, 6))
	iovs := make([]Iov, len(frags))
	if n, bytes, err := p.HandOverAll(frags, iovs, 57); n != len(frags) || bytes != 57 || err != nil {
		t.Fatal(n, bytes, err)
	}
	for i := range iovs {
		v, f := &iovs[i], frags[i]
		if v.Frag() != f || len(v.Bytes()) != f.Len() || cap(v.Bytes()) != f.Len() ||
			&v.Bytes()[0] != &p.Region().Buffer(f.Buffer())[f.Offset()] {
			t.Errorf("iov %d is %+v, want %+v", i, v.Frag(), f)
		}
	}
	if c := census(t, p); c.User != 4 || c.Stack != 0 {
		t.Errorf("%+v", c)
	}
	if n, err := p.Return(iovs); n != len(frags) || err != nil {
		t.Fatal(n, err)
	}
	got := takeBack(p)
	if slices.Sort(got); !slices.Equal(got, []uint16{0, 1, 2}) {
		t.Errorf("%v came back", got)
	}
}

// Not more is handed over than a limit of bytes allows, whoever else has references.
func TestHandOverOfLentBuffersWithinALimit(t *testing.T) {
	for name, shared := range map[string]uint16{"sole": 4, "shared": 1} {
		t.Run(name, func(t *testing.T) {
			p := newPool(t, 5)
			p.Lend(5)
			frags := []Frag{Landed(0, 0, 10), Landed(1, 0, 10), Landed(2, 0, 10)}
			if n, err := p.Land(frags); n != 3 || err != nil {
				t.Fatal(n, err)
			}
			land(t, p, shared)
			iovs := make([]Iov, 3)
			for _, c := range []struct{ limit, n int }{{29, 2}, {9, 0}, {10, 1}} {
				n, bytes, err := p.HandOverAll(frags, iovs, c.limit)
				if n != c.n || bytes != 10*c.n || err != nil {
					t.Errorf("limit %d: %d of %d bytes, %v", c.limit, n, bytes, err)
				}
				frags = frags[n:]
				if k, err := p.Return(iovs[:n]); k != n || err != nil {
					t.Error(k, err)
				}
			}
			p.Put(shared)
		})
	}
}
