package impair

import (
	"bytes"
	"fmt"
	"math"
	"slices"
	"testing"

	"github.com/zctap/zctap/internal/buf"
	"github.com/zctap/zctap/internal/driver"
	"github.com/zctap/zctap/internal/driver/mem"
	"github.com/zctap/zctap/internal/mono"
)

// TestRules scripts what happens, and looks at what comes out of each Poll.
func TestRules(t *testing.T) {
	type step struct {
		send []int // first and last
		now  mono.Time
		want []int
	}
	for _, tt := range []struct {
		name   string
		config Config
		steps  []step
	}{
		{"drop", Config{Rules: []Rule{{From: 2, To: 3, Do: Drop}, {From: 6, Do: Drop}}}, []step{
			{[]int{1, 4}, 1, []int{1, 4}},
			{[]int{5, 8}, 1, []int{5, 7, 8}},
		}},
		{"duplicate", Config{Rules: []Rule{{From: 2, To: 3, Do: Duplicate}}}, []step{
			{[]int{1, 4}, 1, []int{1, 2, 2, 3, 3, 4}},
		}},
		{"dropped is not duplicated", Config{Rules: []Rule{{From: 1, Do: Duplicate | Drop | Corrupt}}}, []step{
			{[]int{1, 2}, 1, []int{2}},
		}},
		{"delay", Config{DelayBy: 10, Rules: []Rule{{From: 1, To: 2, Do: Delay}, {From: 4, Do: Delay}}}, []step{
			{[]int{1, 3}, 100, []int{3}},
			{[]int{4, 5}, 105, []int{5}},
			{nil, 109, nil},
			{[]int{6, 6}, 110, []int{1, 2, 6}},
			{nil, 114, nil},
			{nil, 1000, []int{4}},
		}},
		{"delay, all", Config{DelayBy: 10, Rules: []Rule{{From: 1, To: 9, Do: Delay}}}, []step{
			{[]int{1, 2}, 100, nil},
			{[]int{3, 4}, 101, nil},
			{nil, 111, []int{1, 2, 3, 4}},
		}},
		{"delayed, its duplicate not", Config{DelayBy: 10, Rules: []Rule{{From: 1, Do: Delay | Duplicate}}}, []step{
			{[]int{1, 2}, 100, []int{1, 2}},
			{nil, 110, []int{1}},
		}},
		{"reorder", Config{Rules: []Rule{{From: 2, Do: Reorder}}}, []step{
			{[]int{1, 4}, 1, []int{1, 3, 2, 4}},
		}},
		{"reorder by three", Config{ReorderBy: 3, Rules: []Rule{{From: 1, To: 2, Do: Reorder}}}, []step{
			{[]int{1, 4}, 1, []int{3, 4}},
			{[]int{5, 6}, 2, []int{5, 1, 2, 6}},
		}},
		{"reorder, nothing comes", Config{ReorderLimit: 50, Rules: []Rule{{From: 1, Do: Reorder}}}, []step{
			{[]int{1, 1}, 100, nil},
			{nil, 149, nil},
			{[]int{2, 2}, 150, []int{1, 2}},
		}},
		{"reorder, a delayed one overtakes", Config{DelayBy: 10, Rules: []Rule{{From: 1, Do: Delay}, {From: 2, Do: Reorder}}}, []step{
			{[]int{1, 1}, 100, nil},
			{[]int{2, 2}, 101, nil},
			{nil, 110, []int{1, 2}},
		}},
		{"reorder, its duplicate overtakes", Config{Rules: []Rule{{From: 1, Do: Reorder | Duplicate}}}, []step{
			{[]int{1, 1}, 100, []int{1, 1}},
		}},
		{"delayed is not reordered", Config{DelayBy: 10, Rules: []Rule{{From: 1, Do: Delay | Reorder}}}, []step{
			{[]int{1, 3}, 100, []int{2, 3}},
			{nil, 110, []int{1}},
		}},
		{"no room to hold", Config{DelayBy: 10, Hold: 2, Rules: []Rule{{From: 1, To: 3, Do: Delay}, {From: 4, Do: Reorder}}}, []step{
			{[]int{1, 5}, 100, []int{5}},
			{nil, 110, []int{1, 2}},
		}},
		{"all at once", Config{
			DelayBy: 10, ReorderBy: 2,
			Rules: []Rule{{From: 1, To: 2, Do: Drop}, {From: 2, To: 3, Do: Delay}, {From: 4, Do: Reorder}, {From: 6, Do: Duplicate}},
		}, []step{
			{[]int{1, 7}, 100, []int{5, 6, 4, 6, 7}},
			{nil, 110, []int{3}},
		}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			r := newRig(t, tt.config, options{})
			for i, s := range tt.steps {
				if s.send != nil {
					r.send(s.send[0], s.send[1])
				}
				if got := r.numbers(s.now); !slices.Equal(got, s.want) {
					t.Errorf("step %d: %v, want %v", i, got, s.want)
				}
				r.balance()
			}
			if c := r.bad.Counts(); c.Held != 0 || r.bad.NextEvent() != 0 {
				t.Errorf("at the end %d frames are held, until %v", c.Held, r.bad.NextEvent())
			}
			if c := r.bad.Counts(); tt.config.Hold > 0 && c.Overflowed != 2 {
				t.Errorf("%d overflows, want 2", c.Overflowed)
			}
		})
	}
}

// TestRates runs many frames through one kind of impairment each. What came out
// has to agree with the counts exactly, and the counts with the probability as
// well as chance allows: this seed's are within four standard deviations.
func TestRates(t *testing.T) {
	const frames, p = 5000, 0.05
	inside := func(t *testing.T, n uint64) {
		t.Helper()
		if d := math.Abs(float64(n) - frames*p); d > 4*math.Sqrt(frames*p*(1-p)) {
			t.Errorf("%d of %d frames, at a probability of %v", n, frames, p)
		}
	}
	run := func(t *testing.T, c Config) (got []int, counts Counts) {
		c.Seed = 2
		r := newRig(t, c, options{})
		for n := 1; n <= frames; n += 20 {
			r.send(n, n+19)
			got = append(got, r.numbers(mono.Time(n))...)
		}
		got = append(got, r.numbers(math.MaxInt64)...)
		counts = r.bad.Counts()
		if counts.Received != frames || counts.Delivered != uint64(len(got)) || counts.Held != 0 {
			t.Errorf("%d frames delivered: %+v", len(got), counts)
		}
		return got, counts
	}
	// occurrences counts the frames that came n times.
	occurrences := func(got []int, n int) (k uint64) {
		times := map[int]int{}
		for i := 1; i <= frames; i++ {
			times[i] = 0
		}
		for _, g := range got {
			times[max(g, -g)]++
		}
		for _, m := range times {
			if m == n {
				k++
			}
		}
		return k
	}
	t.Run("drop", func(t *testing.T) {
		got, c := run(t, Config{Drop: p})
		inside(t, c.Dropped)
		if c.Dropped != occurrences(got, 0) || !slices.IsSorted(got) {
			t.Errorf("%d dropped, %d do not come", c.Dropped, occurrences(got, 0))
		}
	})
	t.Run("duplicate", func(t *testing.T) {
		got, c := run(t, Config{Duplicate: p})
		inside(t, c.Duplicated)
		if c.Duplicated != occurrences(got, 2) || occurrences(got, 1)+occurrences(got, 2) != frames || !slices.IsSorted(got) {
			t.Errorf("%d duplicated, %d come twice", c.Duplicated, occurrences(got, 2))
		}
	})
	t.Run("corrupt", func(t *testing.T) {
		got, c := run(t, Config{Corrupt: p})
		inside(t, c.Corrupted)
		n := uint64(0)
		for i, g := range got {
			// A flip in the number itself makes another of it.
			if g != i+1 {
				n++
			}
		}
		if c.Corrupted != n || len(got) != frames {
			t.Errorf("%d corrupted, %d arrive otherwise than sent", c.Corrupted, n)
		}
	})
	t.Run("delay", func(t *testing.T) {
		got, c := run(t, Config{Delay: p, DelayBy: 20, DelayJitter: 200})
		inside(t, c.Delayed)
		if occurrences(got, 1) != frames || slices.IsSorted(got) {
			t.Error("frames were lost, or nothing was delayed")
		}
	})
	t.Run("reorder", func(t *testing.T) {
		got, c := run(t, Config{Reorder: p, ReorderLimit: math.MaxInt32})
		inside(t, c.Reordered)
		late, highest := uint64(0), 0
		for _, g := range got {
			if g < highest {
				late++
			}
			highest = max(highest, g)
		}
		// Several in a row wait for the same frame, and all but the last of the
		// sequence were overtaken.
		if occurrences(got, 1) != frames || c.Reordered-late > 1 {
			t.Errorf("%d reordered, %d late", c.Reordered, late)
		}
	})
	t.Run("never", func(t *testing.T) {
		for k := Drop; k <= Reorder; k <<= 1 {
			got, _ := run(t, Config{DelayBy: 1, Rules: []Rule{{From: frames + 1, Do: k}}})
			if occurrences(got, 1) != frames || !slices.IsSorted(got) {
				t.Errorf("kind %#x hit frames that it should not", k)
			}
		}
	})
	t.Run("always", func(t *testing.T) {
		got, c := run(t, Config{Drop: 1})
		if len(got) != 0 || c.Dropped != frames {
			t.Errorf("%d of %d frames came through", len(got), frames)
		}
	})
}

// TestJitter: delays are from DelayBy to DelayBy+DelayJitter, both included,
// and nothing comes a nanosecond early or late.
func TestJitter(t *testing.T) {
	r := newRig(t, Config{Delay: 1, DelayBy: 10, DelayJitter: 3, Seed: 3}, options{})
	r.send(1, 60)
	if got := r.numbers(100); got != nil {
		t.Fatalf("not delayed: %v", got)
	}
	total := 0
	for now := mono.Time(110); now <= 113; now++ {
		if next := r.bad.NextEvent(); next != now {
			t.Errorf("NextEvent %v, want %v", next, now)
		}
		got := r.numbers(now)
		if len(got) < 3 || !slices.IsSorted(got) {
			t.Errorf("delayed by %v: %v", now-100, got)
		}
		total += len(got)
	}
	if total != 60 {
		t.Errorf("%d frames in time, want 60", total)
	}
}

// TestDuplicate: a duplicate is alike in all respects, but shares no buffer with
// its original.
func TestDuplicate(t *testing.T) {
	for _, noSplit := range []bool{false, true} {
		t.Run(fmt.Sprintf("nosplit=%v", noSplit), func(t *testing.T) {
			r := newRig(t, Config{Duplicate: 1}, options{
				sender: mem.Config{MTU: 9000, MaxGSO: 65535}, receiver: mem.Config{NoSplit: noSplit},
			})
			r.send(1, 2)
			r.sendFrame(driver.TxFrame{Head: tcpFrame(src6, dst6, nil)})
			r.sendFrame(driver.TxFrame{Head: tcpFrame(src4, dst4, pattern(3, 60000))[:40], GSOSize: 1448,
				Payload: [2][]byte{pattern(3, 60000), nil}})
			got := r.poll(1)
			if len(got) != 8 {
				t.Fatalf("%d frames, want 8", len(got))
			}
			owners := make([]buf.Account, len(got))
			for i := range got {
				for _, g := range got[i].Frags {
					r.pool.Charge(g.Buffer(), &owners[i]) // panics if charged before
				}
			}
			for i := 0; i < 8; i += 2 {
				f, d := &got[i], &got[i+1]
				if f.Len != d.Len || f.Checksum != d.Checksum || f.GSOSize != d.GSOSize || len(f.Frags) != len(d.Frags) ||
					!bytes.Equal(f.Head, d.Head) || !bytes.Equal(r.contents(f), r.contents(d)) {
					t.Errorf("frame %d and its duplicate differ", i/2)
				}
				for j := range f.Frags {
					if f.Frags[j].Copied() || !d.Frags[j].Copied() {
						t.Error("what was copied is not what is marked so")
					}
				}
				// Even the heads: one may be corrupted.
				if len(f.Head) > 0 && &f.Head[0] == &d.Head[0] {
					t.Error("frame and duplicate share their head")
				}
			}
			r.put()
		})
	}
}

// TestDuplicateInPlace: payload in the middle of a buffer has its duplicate
// there, too.
func TestDuplicateInPlace(t *testing.T) {
	r := newRig(t, Config{}, options{})
	ids := make([]uint16, 1)
	if r.pool.Alloc(ids) != 1 {
		t.Fatal("no buffer")
	}
	defer r.pool.Put(ids[0])
	f := driver.Frame{Head: []byte("head"), Len: 104, Frags: []buf.Frag{r.pool.Frag(ids[0], 1234, 100)}}
	copy(r.pool.Region().View(f.Frags[0]), pattern(1, 100))
	h := r.bad.duplicate(&f)
	if h == nil || len(h.frame.Frags) != 1 {
		t.Fatalf("duplicate: %+v", h)
	}
	defer r.pool.PutFrags(h.frame.Frags)
	g := h.frame.Frags[0]
	if g.Buffer() == ids[0] || g.Offset() != 1234 || g.Len() != 100 || !bytes.Equal(r.contents(&h.frame), r.contents(&f)) {
		t.Errorf("duplicate at %d, %d bytes, of a frag at 1234", g.Offset(), g.Len())
	}
}

// TestDuplicateWithoutBuffers: the frame is delivered, the duplicate is not, and
// nobody is told that the pool ran out.
func TestDuplicateWithoutBuffers(t *testing.T) {
	r := newRig(t, Config{Duplicate: 1}, options{sender: mem.Config{MTU: 9000}, buffers: 4})
	r.sendFrame(driver.TxFrame{Head: tcpFrame(src4, dst4, pattern(1, 8900))})
	if n := len(r.poll(1)); n != 1 {
		t.Errorf("%d frames, want 1", n)
	}
	if c := r.bad.Counts(); c.Uncopied != 1 || c.Duplicated != 0 {
		t.Errorf("%d duplicates, %d without buffers", c.Duplicated, c.Uncopied)
	}
	if n := r.pool.Exhaustions(); n != 0 || r.pool.Free() != 1 {
		t.Errorf("%d exhaustions, %d buffers free; want 1", n, r.pool.Free())
	}
	r.put()
	r.sendFrame(driver.TxFrame{Head: tcpFrame(src4, dst4, pattern(1, 100))})
	if n := len(r.poll(1)); n != 2 {
		t.Errorf("%d frames when buffers are back, want 2", n)
	}
	r.put()
}
