package driver

import (
	"math"
	"reflect"
	"testing"

	"github.com/zctap/zctap/internal/buf"
)

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

// AddFrags makes the frame that Add would be given, whatever lay in its place before, and
// counts as much.
func TestBatchAddFrags(t *testing.T) {
	b := NewBatch(2, 4)
	b.MaxBytes = 2000
	b.Add(Frame{Head: []byte{1}, Len: 1, Checksum: Vouched, GSOSize: GSOUnknown})
	b.Reset()
	b.Frags = append(b.Frags, buf.Landed(7, 0, 999), buf.Landed(8, 0, 1000))
	first := b.AddFrags(0, 1999, Unverified)
	if b.Full() || first != &b.Frames[0] || first.Head != nil || len(first.Frags) != 2 || cap(first.Frags) != 2 ||
		first.Frags[1].Buffer() != 8 || first.Len != 1999 || first.Checksum != Unverified || first.GSOSize != 0 {
		t.Errorf("%+v", first)
	}
	b.Frags = append(b.Frags, buf.Landed(9, 0, 1))
	second := b.AddFrags(2, 1, Vouched)
	if !b.Full() || len(b.Frames) != 2 || len(second.Frags) != 1 || second.Frags[0].Buffer() != 9 || second.Checksum != Vouched {
		t.Errorf("%+v", second)
	}
}

// TestBatchAddEach: Room is as much as there is, and AddEach adds what AddFrags would.
func TestBatchAddEach(t *testing.T) {
	for _, c := range []struct {
		frames, frags, maxBytes int
		have                    int // frames of 100 bytes
		room, bytes             int
	}{
		{4, 4, 0, 0, 4, math.MaxInt},
		{4, 8, 0, 1, 3, math.MaxInt},
		{8, 4, 0, 1, 3, math.MaxInt},
		{4, 4, 250, 1, 3, 150},
		{4, 4, 200, 2, 2, 0},
		{2, 4, 0, 2, 0, math.MaxInt},
		{4, 2, 0, 2, 0, math.MaxInt},
	} {
		b, want := NewBatch(c.frames, c.frags), NewBatch(c.frames, c.frags)
		b.MaxBytes, want.MaxBytes = c.maxBytes, c.maxBytes
		for i := range b.Frames[:c.frames] { // whatever lay there before
			b.Frames[:c.frames][i] = Frame{Head: []byte{1}, Len: 1, GSOSize: GSOUnknown}
		}
		add := func(b *Batch, id uint16, n int) {
			b.Frags = append(b.Frags, buf.Landed(id, 0, n))
			b.AddFrags(len(b.Frags)-1, n, Vouched)
		}
		for i := range c.have {
			add(b, uint16(i), 100)
			add(want, uint16(i), 100)
		}
		frags, bytes := b.Room()
		if len(frags) != c.room || bytes != c.bytes {
			t.Errorf("%+v: room for %d frags and %d bytes", c, len(frags), bytes)
			continue
		}
		for i := range frags {
			frags[i] = buf.Landed(uint16(i), 0, 10+i)
			add(want, uint16(i), 10+i)
		}
		if all := cap(b.Frames); len(b.AddEach(len(frags), Vouched)) != c.room || cap(b.Frames) != all {
			t.Errorf("%+v: %d frames", c, len(b.Frames))
		}
		if !reflect.DeepEqual(b, want) {
			t.Errorf("%+v: %+v, want %+v", c, b, want)
		}
		for i := range b.Frames {
			if f := &b.Frames[i]; cap(f.Frags) != 1 || &f.Frags[0] != &b.Frags[i] {
				t.Errorf("%+v: frame %d has other frags, or room for more", c, i)
			}
		}
	}
}

func TestFrameFitsCacheLine(t *testing.T) {
	if n := reflect.TypeFor[Frame]().Size(); n > 64 {
		t.Errorf("a Frame has %d bytes", n)
	}
}
