package sockq

import (
	"runtime"
	"sync"
	"testing"

	"github.com/zctap/zctap/internal/reuse"
)

func newFIFO() *fifo[int] { return &fifo[int]{chunks: new(reuse.Pool[chunk[int]])} }

// TestFIFOOrder pushes and takes runs of all lengths around the chunks' edges.
func TestFIFOOrder(t *testing.T) {
	for _, run := range []int{1, chunkLen - 1, chunkLen, chunkLen + 1, 2 * chunkLen, 5*chunkLen + 3} {
		q := newFIFO()
		next, want := 0, 0
		for range 20 {
			for range run {
				q.push(next)
				next++
			}
			if q.len() != 0 || q.peek() != nil {
				t.Fatal("an item is seen before publish")
			}
			if !q.publish() || q.publish() {
				t.Fatal("publish does not tell whether there was anything")
			}
			for left := run; left > 0; left-- {
				if q.len() != left {
					t.Fatalf("run %d: %d items, want %d", run, q.len(), left)
				}
				// Peeking twice is the same item.
				if a, b := q.peek(), q.peek(); a == nil || *a != want || a != b {
					t.Fatalf("run %d: peeked %v and %v, want %d", run, a, b, want)
				}
				q.drop()
				q.settle()
				want++
			}
			if q.peek() != nil {
				t.Fatal("an item is left")
			}
		}
	}
}

// TestFIFOKeepsABacklog takes one item for two pushed, then all.
func TestFIFOKeepsABacklog(t *testing.T) {
	q := newFIFO()
	const n = 10 * chunkLen
	want := 0
	takeOne := func() {
		t.Helper()
		if p := q.peek(); p == nil || *p != want {
			t.Fatalf("peeked %v, want %d", p, want)
		}
		q.drop()
		q.settle()
		want++
	}
	for i := range n {
		q.push(i)
		q.publish()
		if i%2 == 1 {
			takeOne()
		}
	}
	if q.len() != n/2 {
		t.Fatalf("%d items, want %d", q.len(), n/2)
	}
	for q.len() > 0 {
		takeOne()
	}
}

// TestFIFOConcurrent has a producer that publishes in batches and a consumer
// that takes as it comes; a third goroutine reads the length.
func TestFIFOConcurrent(t *testing.T) {
	n := 500_000
	if testing.Short() {
		n /= 20
	}
	q := newFIFO()
	var others sync.WaitGroup
	others.Go(func() {
		for i := range n {
			q.push(i)
			if i%7 == 0 || i == n-1 {
				q.publish()
			}
		}
	})
	others.Go(func() {
		for q.taken.Load() < uint64(n) {
			if l := q.len(); l < 0 || l > n {
				t.Errorf("length %d", l)
				return
			}
			runtime.Gosched()
		}
	})
	for want := 0; want < n; {
		p := q.peek()
		if p == nil {
			runtime.Gosched()
			continue
		}
		if *p != want {
			t.Fatalf("item %d, want %d", *p, want)
		}
		q.drop()
		q.settle()
		want++
	}
	others.Wait()
}

// TestFIFOReusesChunks: in a steady state chunks go round between consumer and
// producer, also when a backlog grew and shrank again.
func TestFIFOReusesChunks(t *testing.T) {
	q := newFIFO()
	if n := testing.AllocsPerRun(100, func() {
		for i := range 3 * chunkLen {
			q.push(i)
			q.publish()
			q.peek()
			q.drop()
			q.settle()
		}
	}); n != 0 {
		t.Errorf("%v allocations", n)
	}
}

// TestFIFORuns pushes and takes several items at a time, mixed with single ones: in
// order, and never beyond what is published.
func TestFIFORuns(t *testing.T) {
	q := newFIFO()
	pushed, published, taken := 0, 0, 0
	for i := range 5000 {
		vs := make([]int, i%(2*chunkLen+5))
		for k := range vs {
			vs[k] = pushed
			pushed++
		}
		q.pushAll(vs)
		if i%3 == 0 {
			q.push(pushed)
			pushed++
		}
		if i%2 == 0 {
			q.publish()
			published = pushed
		}
		for left := i % (3 * chunkLen); left > 0 && taken < published; {
			run := q.peekAll()
			if len(run) == 0 || taken+len(run) > published {
				t.Fatalf("%d items of %d published and %d taken", len(run), published, taken)
			}
			run = run[:min(len(run), left)]
			for _, v := range run {
				if v != taken {
					t.Fatalf("%d is item %d", v, taken)
				}
				taken++
			}
			q.dropN(len(run))
			left -= len(run)
		}
		q.settle()
		if q.len() != published-taken {
			t.Fatalf("%d items, want %d", q.len(), published-taken)
		}
	}
	if taken == 0 || pushed-taken < chunkLen {
		t.Fatalf("%d items pushed, %d taken", pushed, taken)
	}
}
