package sockq

import (
	"runtime"
	"sync"
	"testing"

	"github.com/zctap/zctap/internal/reuse"
)

func newFIFO() *fifo[int] {
	q := new(fifo[int])
	q.init(new(reuse.Pool[chunk[int]]))
	return q
}

// edges are numbers of items that end before, at or behind the end of a fifo's own room, or of
// a chunk.
var edges = []int{1, ownLen - 1, ownLen, ownLen + 1, ownLen + chunkLen - 1, ownLen + chunkLen, ownLen + chunkLen + 1, 2 * chunkLen, 5*chunkLen + 3}

// TestFIFOOrder pushes and takes runs of all lengths around the chunks' edges.
func TestFIFOOrder(t *testing.T) {
	for _, run := range edges {
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

// What is pushed many at a time comes in order, in runs that miss nothing.
func TestFIFORuns(t *testing.T) {
	for _, n := range edges {
		q := newFIFO()
		next, want := 0, 0
		for range 20 {
			vs := make([]int, n)
			for i := range vs {
				vs[i] = next
				next++
			}
			q.pushAll(vs)
			if q.run() != nil {
				t.Fatal("an item is seen before publish")
			}
			q.publish()
			for run := q.run(); len(run) > 0; run = q.run() {
				if len(run) > chunkLen {
					t.Fatalf("a run of %d", len(run))
				}
				run = run[:(len(run)+1)/2] // the rest comes again
				for _, v := range run {
					if v != want {
						t.Fatalf("%d at a time: item %d, want %d", n, v, want)
					}
					want++
				}
				q.dropN(len(run))
				q.settle()
			}
			if want != next || q.len() != 0 {
				t.Fatalf("%d at a time: %d of %d items came", n, want, next)
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
		for q.taken.Load() < uint32(n) {
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

// TestFIFORestarts: a queue that was emptied goes on where it began, and has given
// back all other chunks.
func TestFIFORestarts(t *testing.T) {
	q := newFIFO()
	next := 0
	for _, n := range []int{1, 1, ownLen, 2, 4*chunkLen + 1, 3, ownLen + 1, ownLen + chunkLen, ownLen + chunkLen + 1, ownLen + 1, 1} {
		for range n {
			q.push(next)
			next++
		}
		q.publish()
		if q.own[0] != next-n {
			t.Fatalf("the first of %d does not lie in front", n)
		}
		for want := next - n; want < next; want++ {
			if p := q.peek(); p == nil || *p != want {
				t.Fatalf("peeked %v, want %d", p, want)
			}
			q.drop()
		}
		if q.peek() != nil {
			t.Fatal("an item is left")
		}
		q.push(next) // nobody was told of what was taken
		if q.own[0] == next {
			t.Fatal("an item was overwritten that the consumer may read")
		}
		q.publish()
		next++
		q.peek()
		q.drop()
		q.settle()
	}
	if q.tail != nil || q.head != nil || q.beyond != nil {
		t.Error("another chunk is kept")
	}
}
