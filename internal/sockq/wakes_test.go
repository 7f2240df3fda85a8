package sockq

import (
	"runtime"
	"testing"

	"github.com/zctap/zctap/internal/buf"
)

// parked starts a consumer of q that blocks, and returns where it reports how
// many iovs it got. It returns iovs at once, so that the pool is clean.
func parked(t *testing.T, p *buf.Pool, q *Queue) <-chan int {
	t.Helper()
	got := make(chan int, 1)
	go func() {
		iovs := make([]buf.Iov, 4)
		n, err := q.Recv(iovs, 1<<20)
		if err != nil {
			t.Error(err)
		}
		if _, err := p.Return(iovs[:n]); err != nil {
			t.Error(err)
		}
		got <- n
	}()
	for !q.Waiting() {
		runtime.Gosched() // the consumer is on its way
	}
	return got
}

func wakesPool(t *testing.T) *buf.Pool {
	t.Helper()
	r, err := buf.NewRegion(buf.RegionConfig{Buffers: 8, Heap: true})
	if err != nil {
		t.Fatal(err)
	}
	p := buf.NewPool(r)
	t.Cleanup(func() {
		if p.Close(); !p.Remove() {
			t.Error("buffers are out")
		}
	})
	return p
}

func pushOne(t *testing.T, p *buf.Pool, q *Queue) {
	t.Helper()
	var id [1]uint16
	if p.Alloc(id[:]) != 1 {
		t.Fatal("no buffer")
	}
	q.Push(p.Frag(id[0], 0, 10))
}

// A consumer whose wake was gathered sleeps on until Wake, and finds by then
// what came since.
func TestWakesGather(t *testing.T) {
	p := wakesPool(t)
	q := NewQueue(p)
	var w Wakes
	got := parked(t, p, q)
	for range 3 {
		pushOne(t, p, q)
		q.PublishTo(&w)
	}
	if !w.Waiting() || len(w.late) != 1 {
		t.Fatalf("%d wakes gathered for one consumer", len(w.late))
	}
	select {
	case n := <-got:
		t.Fatalf("woken before Wake, with %d iovs", n)
	default:
	}
	w.Wake()
	if n := <-got; n != 3 || w.Waiting() {
		t.Errorf("%d iovs after Wake, want 3; still waiting: %v", n, w.Waiting())
	}
	// Again: the queue is not forgotten because it was gathered before.
	got = parked(t, p, q)
	pushOne(t, p, q)
	q.PublishTo(&w)
	w.Wake()
	if n := <-got; n != 1 {
		t.Errorf("%d iovs the second time, want 1", n)
	}
}

// Nobody waits: nothing is gathered, and a consumer that comes finds payload.
func TestWakesNobodyWaits(t *testing.T) {
	p := wakesPool(t)
	q := NewQueue(p)
	var w Wakes
	pushOne(t, p, q)
	q.PublishTo(&w)
	if w.Waiting() {
		t.Error("a wake for nobody")
	}
	iovs := make([]buf.Iov, 1)
	if n, err := q.Recv(iovs, 100); n != 1 || err != nil {
		t.Fatalf("%d, %v", n, err)
	}
	if _, err := p.Return(iovs); err != nil {
		t.Error(err)
	}
}

// After Stop nobody calls Wake any more: consumers are woken at once, those that
// were gathered too.
func TestWakesStop(t *testing.T) {
	p := wakesPool(t)
	q := NewQueue(p)
	var w Wakes
	got := parked(t, p, q)
	pushOne(t, p, q)
	q.PublishTo(&w)
	w.Stop()
	if n := <-got; n != 1 {
		t.Errorf("%d iovs at Stop, want 1", n)
	}
	got = parked(t, p, q)
	pushOne(t, p, q)
	q.PublishTo(&w)
	if n := <-got; n != 1 {
		t.Errorf("%d iovs after Stop, want 1", n)
	}
}

// A UDP socket's consumer is woken likewise: late, once, and finds all of it.
func TestWakesDatagrams(t *testing.T) {
	e := newEngine(t, 16)
	q := NewDatagrams(e.p)
	var w Wakes
	got := make(chan int)
	go func() {
		dst, ms := make([]buf.Iov, 4), make([]Message, 4)
		n, k, err := q.Recv(dst, ms)
		if err != nil {
			t.Error(err)
		}
		giveBack(t, e.p, dst[:k])
		got <- n
	}()
	for !q.Waiting() {
		runtime.Gosched()
	}
	for i := range 3 {
		e.push(q, i, 10)
		q.PublishTo(&w)
		if len(w.late) != 1 {
			t.Fatalf("%d wakes gathered after %d datagrams", len(w.late), i+1)
		}
	}
	w.Wake()
	if n := <-got; n != 3 || w.Waiting() {
		t.Errorf("woken for %d datagrams, want 3; somebody is still to be woken: %v", n, w.Waiting())
	}
}
