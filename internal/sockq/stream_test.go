package sockq

import (
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"slices"
	"syscall"
	"testing"

	"github.com/zctap/zctap/internal/buf"
)

// TestInvariant08_ExactStream takes a stream of random frags, some copied, some
// sharing a buffer, in random ways: with Recv, Poll and Read, of any number of
// iovs and any limit, resuming in mid-fragment. What comes is the stream, and
// the counters agree at each step.
func TestInvariant08_ExactStream(t *testing.T) {
	bytes := 4_000_000
	if testing.Short() {
		bytes /= 20
	}
	e := newEngine(t, 64)
	q, r := NewQueue(e.p), &reader{TB: t, p: e.p}
	rnd := rand.New(rand.NewPCG(1, 1))
	scratch := make([]byte, 5000)
	dst := make([]buf.Iov, 100)
	published := uint64(0)
	for r.got < uint64(bytes) {
		if e.p.Free() > 16 && rnd.IntN(2) == 0 {
			for _, f := range e.packet() {
				q.Push(f)
			}
			if rnd.IntN(2) == 0 {
				q.Publish()
				published = e.sent
			}
		}
		if got, want := q.Buffered(), int(published-r.got); got != want {
			t.Fatalf("Buffered is %d, want %d", got, want)
		}
		before := r.got
		k, limit := 1+rnd.IntN(len(dst)), 1+rnd.IntN(3000)
		n, bytes := 0, 0
		switch way := rnd.IntN(3); {
		case way == 0 && published > r.got: // or it would wait
			var err error
			if n, err = q.Recv(dst[:k], limit); err != nil || n == 0 {
				t.Fatalf("Recv: %d, %v", n, err)
			}
			bytes = r.take(dst[:n])
		case way == 1 && published > r.got:
			m, err := q.Read(scratch[:1+rnd.IntN(len(scratch))])
			if err != nil || m == 0 {
				t.Fatalf("Read: %d, %v", m, err)
			}
			r.bytes(scratch[:m])
		default:
			var more bool
			var err error
			n, bytes, more, err = q.Poll(dst[:k], limit)
			if err != nil || r.take(dst[:n]) != bytes {
				t.Fatalf("Poll: %d iovs, %d bytes, %v", n, bytes, err)
			}
			if more != (r.got < published) {
				t.Fatalf("Poll says more %v at %d of %d", more, r.got, published)
			}
		}
		if n > k || bytes > limit {
			t.Fatalf("%d iovs of %d bytes for a limit of %d and %d", n, bytes, k, limit)
		}
		if q.Taken() != r.got || r.got < before {
			t.Fatalf("Taken is %d, want %d", q.Taken(), r.got)
		}
		if len(r.held) > 0 && (rnd.IntN(3) == 0 || e.p.Free() <= 16) {
			r.giveBack(1 + rnd.IntN(len(r.held)))
		}
		if e.p.Free() <= 16 && len(r.held) == 0 {
			q.Publish()
			published = e.sent
		}
	}
	q.Close()
	q.Drain()
	r.giveBack(len(r.held))
}

// TestInvariant08_CopiedMarksSurvive: what the application counts as copied is
// what was pushed as copied, also when frags are cut.
func TestInvariant08_CopiedMarksSurvive(t *testing.T) {
	e := newEngine(t, 8)
	q := NewQueue(e.p)
	for i, f := range e.frags(10, 20, 30) {
		if i == 1 {
			f = f.AsCopied()
		}
		q.Push(f)
	}
	q.Publish()
	dst := make([]buf.Iov, 10)
	copied := 0
	for q.Buffered() > 0 {
		n, err := q.Recv(dst, 7)
		if err != nil {
			t.Fatal(err)
		}
		for _, v := range dst[:n] {
			if v.Frag().Copied() {
				copied += len(v.Bytes())
			}
		}
		giveBack(t, e.p, dst[:n])
	}
	if copied != 20 {
		t.Fatalf("%d bytes copied, want 20", copied)
	}
}

func TestInvariant09_ExactBoundaries(t *testing.T) {
	for _, c := range []struct {
		iovs, limit int
		want        [][]int // the iovs' lengths, call by call
	}{
		{10, 600, [][]int{{100, 200, 300}}},
		{10, 601, [][]int{{100, 200, 300}}},
		{10, 599, [][]int{{100, 200, 299}, {1}}},
		{10, 301, [][]int{{100, 200, 1}, {299}}},
		{10, 300, [][]int{{100, 200}, {300}}},
		{10, 299, [][]int{{100, 199}, {1, 298}, {2}}},
		{10, 101, [][]int{{100, 1}, {101}, {98, 3}, {101}, {101}, {95}}},
		{10, 100, [][]int{{100}, {100}, {100}, {100}, {100}, {100}}},
		{1, 1 << 30, [][]int{{100}, {200}, {300}}},
		{1, 150, [][]int{{100}, {150}, {50}, {150}, {150}}},
		{2, 1 << 30, [][]int{{100, 200}, {300}}},
		{2, 100, [][]int{{100}, {100}, {100}, {100}, {100}, {100}}},
		{2, 350, [][]int{{100, 200}, {300}}},
		{3, 600, [][]int{{100, 200, 300}}},
		{3, 450, [][]int{{100, 200, 150}, {150}}},
	} {
		t.Run(fmt.Sprintf("%d iovs, %d bytes", c.iovs, c.limit), func(t *testing.T) {
			for _, way := range []string{"Recv", "Poll"} {
				e := newEngine(t, 3)
				q, r := NewQueue(e.p), &reader{TB: t, p: e.p}
				for _, f := range e.frags(100, 200, 300) {
					q.Push(f)
				}
				q.Publish()
				// One more than asked for, to see that it is left alone.
				dst := make([]buf.Iov, c.iovs+1)
				for i, want := range c.want {
					var n int
					var err error
					if way == "Recv" {
						n, err = q.Recv(dst[:c.iovs], c.limit)
					} else {
						n, _, _, err = q.Poll(dst[:c.iovs], c.limit)
					}
					if err != nil || !slices.Equal(lens(dst[:n]), want) {
						t.Fatalf("%s, call %d: %v, %v; want %v", way, i, lens(dst[:n]), err, want)
					}
					if dst[c.iovs].Bytes() != nil {
						t.Fatal("written beyond dst")
					}
					r.take(dst[:n])
				}
				if r.got != 600 || q.Taken() != 600 || q.Buffered() != 0 || q.Frags() != 0 {
					t.Fatalf("got %d, Taken %d, Buffered %d, Frags %d", r.got, q.Taken(), q.Buffered(), q.Frags())
				}
				r.giveBack(len(r.held))
			}
		})
	}
}

func TestInvariant09_DegenerateArguments(t *testing.T) {
	e := newEngine(t, 1)
	q := NewQueue(e.p)
	q.Push(e.frag(10))
	q.Publish()
	dst := make([]buf.Iov, 1)
	for _, c := range []struct {
		dst   []buf.Iov
		limit int
	}{{nil, 10}, {dst[:0], 10}, {dst, 0}, {dst, -1}} {
		if n, err := q.Recv(c.dst, c.limit); n != 0 || !errors.Is(err, syscall.EINVAL) {
			t.Errorf("Recv(%d iovs, %d): %d, %v; want EINVAL", len(c.dst), c.limit, n, err)
		}
	}
	if n, err := q.Read(nil); n != 0 || err != nil {
		t.Errorf("Read(nil): %d, %v", n, err)
	}
	if q.Buffered() != 10 {
		t.Fatalf("Buffered is %d, want 10: nothing may be taken", q.Buffered())
	}
	n, err := q.Recv(dst, 10)
	if n != 1 || err != nil {
		t.Fatal(n, err)
	}
	giveBack(t, e.p, dst)
}

// TestPublishShowsAll: nothing is seen before Publish, empty frags never.
func TestPublishShowsAll(t *testing.T) {
	e := newEngine(t, 4)
	q := NewQueue(e.p)
	q.Push(e.frag(0))
	q.Push(e.frag(5))
	q.End(io.EOF)
	dst := make([]buf.Iov, 4)
	if n, _, more, err := q.Poll(dst, 100); n != 0 || more || err != nil || q.Ended() || q.Frags() != 0 {
		t.Fatalf("before Publish: %d, %v, %v", n, more, err)
	}
	q.Push(e.frag(0))
	q.Publish()
	n, bytes, more, err := q.Poll(dst, 100)
	if n != 1 || bytes != 5 || !more || err != nil || !q.Ended() {
		t.Fatalf("after Publish: %d iovs, %d bytes, %v, %v", n, bytes, more, err)
	}
	giveBack(t, e.p, dst[:n])
	if n, _, more, err := q.Poll(dst, 100); n != 0 || more || !errors.Is(err, io.EOF) {
		t.Fatalf("at the end: %d, %v, %v", n, more, err)
	}
}

// TestInvariant11_OtherQueuesPool: iovs of one queue's region are refused by
// another's pool.
func TestInvariant11_OtherQueuesPool(t *testing.T) {
	a, b := newEngine(t, 2), newEngine(t, 2)
	q := NewQueue(a.p)
	q.Push(a.frag(10))
	q.Publish()
	dst := make([]buf.Iov, 1)
	if _, err := q.Recv(dst, 10); err != nil {
		t.Fatal(err)
	}
	if n, err := b.p.Return(dst); n != 0 || !errors.Is(err, buf.ErrForeign) {
		t.Fatalf("return to the wrong pool: %d, %v", n, err)
	}
	giveBack(t, a.p, dst)
}

// TestInvariant12_OneReturnPerIov: of a buffer that two calls were served from,
// copied or not, neither call's return frees what the other holds.
func TestInvariant12_OneReturnPerIov(t *testing.T) {
	for _, copied := range []bool{false, true} {
		e := newEngine(t, 1)
		q := NewQueue(e.p)
		f := e.frag(100)
		if copied {
			f = f.AsCopied()
		}
		q.Push(f)
		q.Publish()
		var first, second [2]buf.Iov
		if n, err := q.Recv(first[:], 40); n != 1 || err != nil {
			t.Fatal(n, err)
		}
		if n, err := q.Recv(second[:], 100); n != 1 || err != nil {
			t.Fatal(n, err)
		}
		r := &reader{TB: t, p: e.p}
		r.take(first[:1])
		r.take(second[:1])
		r.giveBack(1)
		if e.p.Free() != 0 {
			t.Fatal("the buffer is free while the second call's iov is out")
		}
		r.giveBack(1)
		if e.p.Free() != 1 {
			t.Fatal("the buffer is not free")
		}
	}
}
