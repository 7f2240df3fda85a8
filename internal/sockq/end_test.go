package sockq

import (
	"errors"
	"io"
	"math/rand/v2"
	"runtime"
	"sync"
	"syscall"
	"testing"

	"github.com/zctap/zctap/internal/buf"
)

// receivers are the ways to take from a queue, of which each must tell the end
// alike: after all payload, and then every time.
var receivers = map[string]func(q *Queue, p *buf.Pool) (bytes int, err error){
	"Recv": func(q *Queue, p *buf.Pool) (bytes int, err error) {
		var dst [2]buf.Iov
		n, err := q.Recv(dst[:], 50)
		return drop(p, dst[:n]), err
	},
	"Poll": func(q *Queue, p *buf.Pool) (bytes int, err error) {
		var dst [2]buf.Iov
		n, bytes, _, err := q.Poll(dst[:], 50)
		drop(p, dst[:n])
		return bytes, err
	},
	"Read": func(q *Queue, _ *buf.Pool) (bytes int, err error) {
		var b [50]byte
		return q.Read(b[:])
	},
}

// drop returns iovs and says how long they were together.
func drop(p *buf.Pool, iovs []buf.Iov) (bytes int) {
	bytes = len(join(iovs))
	_, _ = p.Return(iovs)
	return bytes
}

func TestInvariant10_EndComesOnceAndLast(t *testing.T) {
	for name, receive := range receivers {
		for _, end := range []error{io.EOF, syscall.ECONNRESET} {
			t.Run(name+" "+end.Error(), func(t *testing.T) {
				e := newEngine(t, 4)
				q := NewQueue(e.p)
				for _, f := range e.frags(30, 60, 20) {
					q.Push(f)
				}
				q.End(end)
				q.End(errors.New("a second end")) // changes nothing
				q.Publish()
				got := 0
				for got < 110 { // partial progress beats the error
					n, err := receive(q, e.p)
					if err != nil || n < 1 || n > 50 {
						t.Fatalf("at byte %d: %d, %v", got, n, err)
					}
					got += n
				}
				if got != 110 || q.Buffered() != 0 {
					t.Fatalf("%d bytes, %d buffered", got, q.Buffered())
				}
				for range 3 { // the error repeats
					if n, err := receive(q, e.p); n != 0 || !errors.Is(err, end) {
						t.Fatalf("at the end: %d, %v; want %v", n, err, end)
					}
				}
				if errors.Is(end, io.EOF) != (end == io.EOF) {
					t.Fatal("IsEnd")
				}
			})
		}
	}
}

// TestInvariant10_NoRoomIsNoEnd: a poll without room finds neither payload nor
// the end behind it.
func TestInvariant10_NoRoomIsNoEnd(t *testing.T) {
	e := newEngine(t, 1)
	q := NewQueue(e.p)
	q.Push(e.frag(10))
	q.End(io.EOF)
	q.Publish()
	var dst [1]buf.Iov
	for _, c := range []struct{ room, limit int }{{0, 100}, {1, 0}} {
		if n, bytes, more, err := q.Poll(dst[:c.room], c.limit); n != 0 || bytes != 0 || !more || err != nil {
			t.Fatalf("Poll(%d iovs, %d): %d, %d, %v, %v", c.room, c.limit, n, bytes, more, err)
		}
	}
	q.Close()
	q.Drain()
}

// TestInvariant10_EndRacesWithConsumer publishes payload and end in one go, or
// one right after the other, while a consumer polls: whenever it sees the end it
// has seen every byte.
func TestInvariant10_EndRacesWithConsumer(t *testing.T) {
	rounds := 20_000
	if testing.Short() {
		rounds /= 20
	}
	for name, receive := range receivers {
		t.Run(name, func(t *testing.T) {
			e := newEngine(t, 8)
			start := make(chan *Queue)
			got := make(chan int)
			go func() {
				defer close(got)
				for q := range start {
					sum := 0
					for {
						n, err := receive(q, e.p)
						sum += n
						if err != nil {
							if !errors.Is(err, io.EOF) {
								t.Errorf("end: %v", err)
							}
							break
						}
						if n == 0 {
							runtime.Gosched()
						}
					}
					got <- sum
				}
			}()
			for i := range rounds {
				q := NewQueue(e.p)
				frags := e.frags(20, 30, 40)
				start <- q
				for k, f := range frags {
					q.Push(f)
					if (i+k)%3 == 0 {
						q.Publish()
					}
				}
				if i%2 == 0 {
					q.Publish()
				}
				q.End(io.EOF)
				q.Publish()
				if sum := <-got; sum != 90 {
					t.Fatalf("round %d: the end came after %d bytes of 90", i, sum)
				}
				q.Close()
				q.Drain()
			}
			close(start)
			<-got
		})
	}
}

// TestInvariant10_OverflowAfterProgress takes a stream byte by byte until its
// buffer has all the references that it can count: what was taken stands, the
// error comes with zero progress, and when references come back nothing is lost.
func TestInvariant10_OverflowAfterProgress(t *testing.T) {
	r, err := buf.NewRegion(buf.RegionConfig{Buffers: 1, BufferSize: 1 << 17, Heap: true})
	if err != nil {
		t.Fatal(err)
	}
	p := buf.NewPool(r)
	e := &engine{TB: t, p: p, rnd: rand.New(rand.NewPCG(1, 1))}
	const limit = 1<<16 - 1
	q, rd := NewQueue(p), &reader{TB: t, p: p}
	q.Push(e.frag(limit + 10))
	q.Publish()
	dst := make([]buf.Iov, 4)
	for range limit {
		n, err := q.Recv(dst, 1)
		if n != 1 || err != nil {
			t.Fatalf("byte %d: %d, %v", rd.got, n, err)
		}
		rd.take(dst[:1])
	}
	for range 2 {
		if n, err := q.Recv(dst, 1); n != 0 || !errors.Is(err, buf.ErrOverflow) {
			t.Fatalf("at the limit: %d, %v", n, err)
		}
		if n, err := q.Recv(dst, 1<<20); n != 0 || !errors.Is(err, buf.ErrOverflow) {
			t.Fatalf("hand-over at the limit: %d, %v", n, err)
		}
	}
	if q.Taken() != limit || q.Buffered() != 10 {
		t.Fatalf("Taken %d, Buffered %d", q.Taken(), q.Buffered())
	}
	rd.giveBack(1)
	n, err := q.Recv(dst, 1<<20)
	if n != 1 || err != nil {
		t.Fatalf("after a return: %d, %v", n, err)
	}
	if got := rd.take(dst[:1]); got != 10 {
		t.Fatalf("%d bytes, want the last 10", got)
	}
	rd.giveBack(len(rd.held))
	p.Close()
	if c, err := p.Census(); err != nil || c.Out() != 0 || !p.Remove() {
		t.Fatalf("%+v, %v", c, err)
	}
}

// TestDrainLeavesNothing drains a queue that is partly taken, partly published
// and partly pushed, at the engine's end, as often as it likes.
func TestDrainLeavesNothing(t *testing.T) {
	e := newEngine(t, 8)
	q := NewQueue(e.p)
	var dst [1]buf.Iov
	for _, f := range e.frags(100, 200) {
		q.Push(f)
	}
	q.Publish()
	if _, err := q.Recv(dst[:], 40); err != nil { // in mid-fragment
		t.Fatal(err)
	}
	q.Push(e.frag(300))
	q.Close()
	if n := q.Drain(); n != 60+200+300 {
		t.Fatalf("Drain dropped %d bytes, want 560", n)
	}
	if n := q.Drain(); n != 0 {
		t.Fatalf("a second Drain dropped %d bytes", n)
	}
	if q.Buffered() != 0 || q.Frags() != 0 || q.Taken() != 600 {
		t.Fatalf("Buffered %d, Frags %d, Taken %d", q.Buffered(), q.Frags(), q.Taken())
	}
	if c, err := e.p.Census(); err != nil || c.User != 1 || c.Out() != 1 {
		t.Fatalf("%+v, %v: only the view that is out may be held", c, err)
	}
	if got := (&reader{TB: t}).take(dst[:]); got != 40 {
		t.Fatalf("the view has %d bytes", got)
	}
	giveBack(t, e.p, dst[:])
}

// TestCloseRacesWithConsumers closes queues under consumers of all kinds: when
// Close has returned the engine owns the queue alone.
func TestCloseRacesWithConsumers(t *testing.T) {
	rounds := 3000
	if testing.Short() {
		rounds /= 20
	}
	e := newEngine(t, 64)
	for range rounds {
		q := NewQueue(e.p)
		var consumers sync.WaitGroup
		for _, receive := range receivers {
			consumers.Go(func() {
				for {
					if _, err := receive(q, e.p); err != nil {
						return
					}
					runtime.Gosched()
				}
			})
		}
		for range 1 + e.rnd.IntN(6) {
			for _, f := range e.packet() {
				q.Push(f)
			}
			q.Publish()
		}
		q.Close()
		q.Drain()
		consumers.Wait() // for what they took and have not returned yet
		if c, err := e.p.Census(); err != nil || c.Out() != 0 {
			t.Fatalf("%+v, %v", c, err)
		}
	}
}

// The producer may learn of the end while a consumer is still at the queue: it
// drops nothing from under it.
func TestDrainWaitsForTheConsumer(t *testing.T) {
	e := newEngine(t, 8)
	q := NewQueue(e.p)
	q.Push(e.frag(100))
	q.Publish()
	q.mu.Lock() // as Read does while it copies
	closed := make(chan struct{})
	go func() {
		defer close(closed)
		q.Close()
	}()
	for !q.Closed() {
		runtime.Gosched()
	}
	if n := q.Drain(); n != 0 || q.Buffered() != 100 {
		t.Errorf("Drain dropped %d bytes under a consumer, and left %d", n, q.Buffered())
	}
	q.mu.Unlock()
	<-closed
	if n := q.Drain(); n != 100 {
		t.Errorf("Drain dropped %d bytes, want 100", n)
	}
}

// Frags that lie together are handed over together: up to one that can't be, which
// stays, and is handed over later.
func TestRunStopsAtOverflow(t *testing.T) {
	e := newEngine(t, 4)
	q := NewQueue(e.p)
	frags := []buf.Frag{e.frag(100), e.frag(200), e.frag(300)}
	others := make([]buf.Iov, 1<<16-1)
	for i := range others {
		if err := e.p.GiveUser(frags[1], &others[i]); err != nil {
			t.Fatal(err)
		}
	}
	q.PushAll(frags, 600)
	q.Publish()
	dst := make([]buf.Iov, 4)
	n, err := q.Recv(dst, 1<<20)
	if n != 1 || err != nil || q.Taken() != 100 || q.Buffered() != 500 {
		t.Fatalf("%d iovs, %v; %d bytes taken, %d left", n, err, q.Taken(), q.Buffered())
	}
	giveBack(t, e.p, dst[:1])
	if n, err := q.Recv(dst, 1<<20); n != 0 || !errors.Is(err, buf.ErrOverflow) || q.Taken() != 100 {
		t.Fatalf("%d iovs, %v; %d bytes taken", n, err, q.Taken())
	}
	giveBack(t, e.p, others)
	n, err = q.Recv(dst, 1<<20)
	if n != 2 || err != nil || q.Taken() != 600 || len(dst[0].Bytes()) != 200 || len(dst[1].Bytes()) != 300 {
		t.Fatalf("%d iovs, %v; %d bytes taken", n, err, q.Taken())
	}
	giveBack(t, e.p, dst[:2])
}
