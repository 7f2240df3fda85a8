//go:build linux

package uring

import (
	"errors"
	"slices"
	"strings"
	"testing"

	"golang.org/x/sys/unix"
)

func TestBufRingRefused(t *testing.T) {
	r := newRing(t, 8, Params{})
	mem := memory(t, 1<<16)
	for _, tc := range []struct {
		name string
		cfg  BufRingConfig
	}{
		{"no entries", BufRingConfig{}},
		{"not a power of two", BufRingConfig{Entries: 6}},
		{"too many", BufRingConfig{Entries: 2 * MaxBufRing}},
		{"memory too small", BufRingConfig{Entries: 8, Memory: mem[:BufRingSize(8)-1]}},
		{"memory not on a page", BufRingConfig{Entries: 8, Memory: mem[16:]}},
	} {
		if b, err := r.NewBufRing(tc.cfg); err == nil {
			b.Close()
			t.Errorf("%s: went through", tc.name)
		}
	}
	b, err := r.NewBufRing(BufRingConfig{Group: 3, Entries: MaxBufRing, Memory: memory(t, BufRingSize(MaxBufRing))})
	must(t, err)
	if _, err := r.NewBufRing(BufRingConfig{Group: 3, Entries: 8}); !errors.Is(err, unix.EEXIST) {
		t.Errorf("a second ring of the group: %v", err)
	}
	must(t, b.Close())
	b, err = r.NewBufRing(BufRingConfig{Group: 3, Entries: 8})
	must(t, err)
	if b.Group() != 3 || b.Entries() != 8 {
		t.Errorf("group %d, %d entries", b.Group(), b.Entries())
	}
}

func TestBufRingAdd(t *testing.T) {
	r := newRing(t, 8, Params{})
	b, err := r.NewBufRing(BufRingConfig{Entries: 4})
	must(t, err)
	mem := memory(t, 4096)
	for bid := range uint16(4) {
		must(t, b.Add(AddrOf(mem), 100, bid))
	}
	for _, tc := range []struct {
		name string
		bid  uint16
		size uint32
		want string
	}{
		{"twice", 2, 100, "already"},
		{"id too large", 4, 100, "ring of 4"},
	} {
		if err := b.Add(AddrOf(mem), tc.size, tc.bid); err == nil || !strings.Contains(err.Error(), tc.want) {
			t.Errorf("%s: %v", tc.name, err)
		}
	}
	if n := b.Posted(); n != 4 {
		t.Errorf("%d posted, want 4", n)
	}
	if _, err := b.Consume(nil, CQE{Res: 100, Flags: CQEBuffer | 1<<cqeBufferShift}); err != nil {
		t.Fatal(err)
	}
	if err := b.Add(AddrOf(mem), 0, 1); err == nil || b.Posted() != 3 {
		t.Errorf("a buffer of no size: %v, %d posted", err, b.Posted())
	}
	must(t, b.Add(AddrOf(mem), 100, 1))
	if head, err := b.Head(); err != nil || head != 0 {
		t.Errorf("the kernel has taken %d buffers (%v), want none", head, err)
	}
	must(t, b.Close())
	must(t, b.Close())
	if err := b.Add(AddrOf(mem), 100, 1); !errors.Is(err, ErrClosed) {
		t.Errorf("Add after Close: %v", err)
	}
	if _, err := b.Head(); !errors.Is(err, ErrClosed) {
		t.Errorf("Head after Close: %v", err)
	}
}

// heapBufRing is a ring of which the kernel knows nothing, over memory that the race detector watches.
func heapBufRing(entries int, incremental bool) *BufRing {
	b := &BufRing{ring: new(Ring), inc: incremental, last: -1, bufs: make([]bufState, entries)}
	b.attach(heapMemory(BufRingSize(uint32(entries))))
	return b
}

func completion(res int32, bid uint16, flags CQEFlags) CQE {
	return CQE{Res: res, Flags: CQEBuffer | flags | CQEFlags(bid)<<cqeBufferShift}
}

// TestConsume walks completions of every kind over a ring of four buffers of 100 bytes, added in the order 2 0 3 1.
func TestConsume(t *testing.T) {
	for _, tc := range []struct {
		name        string
		incremental bool
		steps       []CQE
		want        [][]Segment // nil: refused
		posted      int
	}{
		{"one each, in order", false,
			[]CQE{completion(100, 2, 0), completion(1, 0, 0), completion(7, 3, 0), completion(100, 1, 0)},
			[][]Segment{{{2, 0, 100, true}}, {{0, 0, 1, true}}, {{3, 0, 7, true}}, {{1, 0, 100, true}}}, 0},
		{"one each, in another order", false,
			[]CQE{completion(5, 1, 0), completion(6, 2, 0)},
			[][]Segment{{{1, 0, 5, true}}, {{2, 0, 6, true}}}, 2},
		{"no buffer", false,
			[]CQE{{Res: -int32(unix.ENOBUFS)}, {Res: 0}},
			[][]Segment{{}, {}}, 4},
		{"a buffer and nothing in it", false,
			[]CQE{completion(0, 2, 0), completion(-int32(unix.ECANCELED), 0, 0)},
			[][]Segment{{{2, 0, 0, true}}, {{0, 0, 0, true}}}, 2},
		{"bundles", false,
			[]CQE{completion(200, 2, 0), completion(101, 3, 0)},
			[][]Segment{{{2, 0, 100, true}, {0, 0, 100, true}}, {{3, 0, 100, true}, {1, 0, 1, true}}}, 0},
		{"bundles out of order", false,
			[]CQE{completion(101, 3, 0), completion(150, 2, 0)},
			[][]Segment{{{3, 0, 100, true}, {1, 0, 1, true}}, {{2, 0, 100, true}, {0, 0, 50, true}}}, 0},
		{"buffer not there", false,
			[]CQE{completion(10, 2, 0), completion(10, 2, 0), completion(10, 9, 0)},
			[][]Segment{{{2, 0, 10, true}}, nil, nil}, 3},
		{"more than the buffers hold", false,
			[]CQE{completion(401, 2, 0), completion(201, 3, 0), completion(400, 2, 0)},
			[][]Segment{nil, nil, {{2, 0, 100, true}, {0, 0, 100, true}, {3, 0, 100, true}, {1, 0, 100, true}}}, 0},
		{"incremental", true,
			[]CQE{completion(30, 2, CQEBufMore), completion(60, 2, CQEBufMore), completion(10, 2, 0), completion(1, 0, CQEBufMore)},
			[][]Segment{{{2, 0, 30, false}}, {{2, 30, 60, false}}, {{2, 90, 10, true}}, {{0, 0, 1, false}}}, 3},
		{"incremental, given back early", true,
			[]CQE{completion(30, 2, 0), completion(10, 2, 0)},
			[][]Segment{{{2, 0, 30, true}}, nil}, 3},
		{"incremental bundle", true,
			[]CQE{completion(30, 2, CQEBufMore), completion(120, 2, CQEBufMore), completion(50, 0, 0), completion(100, 3, 0)},
			[][]Segment{{{2, 0, 30, false}}, {{2, 30, 70, true}, {0, 0, 50, false}}, {{0, 50, 50, true}}, {{3, 0, 100, true}}}, 1},
	} {
		t.Run(tc.name, func(t *testing.T) {
			b := heapBufRing(4, tc.incremental)
			for _, bid := range []uint16{2, 0, 3, 1} {
				must(t, b.Add(0x1000, 100, bid))
			}
			prefix := Segment{BID: 99}
			for i, c := range tc.steps {
				before := slices.Clone(b.bufs)
				got, err := b.Consume([]Segment{prefix}, c)
				if got[0] != prefix {
					t.Fatalf("step %d: what was in dst is gone", i)
				}
				if tc.want[i] == nil {
					if err == nil || len(got) != 1 || !slices.Equal(before, b.bufs) {
						t.Errorf("step %d: refused with %v, gave %+v", i, err, got[1:])
					}
					continue
				}
				if err != nil || !slices.Equal(got[1:], tc.want[i]) {
					t.Errorf("step %d: got %+v (%v), want %+v", i, got[1:], err, tc.want[i])
				}
			}
			if b.Posted() != tc.posted {
				t.Errorf("%d posted, want %d", b.Posted(), tc.posted)
			}
		})
	}
}

// TestConsumeKeepsUpWithReuse adds buffers again in the order they come back and bundles over the seam, many times
// around the ring and around the 16 bits of the tail.
func TestConsumeKeepsUpWithReuse(t *testing.T) {
	b := heapBufRing(8, false)
	order := []uint16{5, 1, 7, 0, 3, 2, 6, 4} // the kernel's view: what is in the ring, oldest first
	for _, bid := range order {
		must(t, b.Add(0x1000, 10, bid))
	}
	b.Publish()
	var segs []Segment
	for round := range 20_000 {
		n := 1 + round%5
		var err error
		segs, err = b.Consume(segs[:0], completion(int32(10*n-3), order[0], 0))
		if err != nil || len(segs) != n {
			t.Fatalf("round %d: %d segments, want %d (%v)", round, len(segs), n, err)
		}
		for i, s := range segs {
			if s.BID != order[i] {
				t.Fatalf("round %d: segment %d is of buffer %d, want %d", round, i, s.BID, order[i])
			}
		}
		back := slices.Clone(order[:n])
		if round%3 == 0 {
			slices.Reverse(back)
		}
		order = append(order[n:], back...)
		for _, bid := range back {
			must(t, b.Add(0x1000, 10, bid))
		}
		b.Publish()
		if tail := sharedTail(b); tail != b.tail {
			t.Fatalf("round %d: the shared tail is %d, want %d", round, tail, b.tail)
		}
		for i, bid := range order { // what the kernel finds in the entries behind its head
			at := (int(b.tail) - len(order) + i) & 7
			if b.entries[at].bid != bid {
				t.Fatalf("round %d: entry %d holds buffer %d, want %d", round, at, b.entries[at].bid, bid)
			}
		}
	}
	if n := testing.AllocsPerRun(100, func() {
		segs, _ = b.Consume(segs[:0], completion(5, order[0], 0))
		b.Add(0x1000, 10, order[0])
		order = append(order[1:], order[0])
		b.Publish()
	}); n > 1 { // the append of this test itself
		t.Errorf("%v allocations a round", n)
	}
}
