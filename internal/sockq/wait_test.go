package sockq

import (
	"errors"
	"io"
	"net"
	"os"
	"sync"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"github.com/zctap/zctap/internal/buf"
)

// A result is what a receiver returned.
type result struct {
	bytes int
	err   error
}

// blocked starts a receiver that must wait, inside a synctest bubble.
func blocked(t *testing.T, q *Queue, p *buf.Pool, way string) <-chan result {
	t.Helper()
	c := make(chan result, 1)
	go func() {
		n, err := receivers[way](q, p)
		c <- result{n, err}
	}()
	synctest.Wait()
	select {
	case r := <-c:
		t.Fatalf("%s did not wait: %+v", way, r)
	default:
	}
	return c
}

// TestBlockedReceivers lets each blocking call wait, and ends the wait in each
// way.
func TestBlockedReceivers(t *testing.T) {
	for _, c := range []struct {
		name  string
		event func(q *Queue, e *engine)
		bytes int
		want  error
	}{
		{"payload", func(q *Queue, e *engine) { q.Push(e.frag(10)); q.Publish() }, 10, nil},
		{"end", func(q *Queue, _ *engine) { q.End(io.EOF); q.Publish() }, 0, io.EOF},
		{"payload and end", func(q *Queue, e *engine) { q.Push(e.frag(10)); q.End(io.EOF); q.Publish() }, 10, nil},
		{"close", func(q *Queue, _ *engine) { q.Close() }, 0, net.ErrClosed},
		{"deadline", func(q *Queue, _ *engine) { time.Sleep(time.Hour) }, 0, os.ErrDeadlineExceeded},
		{"deadline moved to the past", func(q *Queue, _ *engine) { q.SetDeadline(time.Now().Add(-1)) }, 0, os.ErrDeadlineExceeded},
		{"nothing new, then payload", func(q *Queue, e *engine) {
			q.Publish()
			q.Push(e.frag(0))
			q.Publish()
			q.Push(e.frag(10))
			q.Publish()
		}, 10, nil},
	} {
		for _, way := range []string{"Recv", "Read"} {
			t.Run(way+", "+c.name, func(t *testing.T) {
				synctest.Test(t, func(t *testing.T) {
					e := newEngine(t, 2)
					q := NewQueue(e.p)
					q.SetDeadline(time.Now().Add(time.Hour))
					ch := blocked(t, q, e.p, way)
					c.event(q, e)
					if got := <-ch; got.bytes != c.bytes || !errors.Is(got.err, c.want) {
						t.Fatalf("%+v; want %d, %v", got, c.bytes, c.want)
					}
					q.Close()
					q.Drain()
				})
			})
		}
	}
}

// TestDeadlineBeatsPayload: as with net.Conn, an expired deadline fails calls
// even though there is payload, which is there still when it is taken away.
func TestDeadlineBeatsPayload(t *testing.T) {
	e := newEngine(t, 1)
	q := NewQueue(e.p)
	q.Push(e.frag(10))
	q.Publish()
	q.SetDeadline(time.Now().Add(-time.Second))
	for _, way := range []string{"Recv", "Read"} {
		if n, err := receivers[way](q, e.p); n != 0 || !errors.Is(err, os.ErrDeadlineExceeded) {
			t.Fatalf("%s: %d, %v", way, n, err)
		}
	}
	q.SetDeadline(time.Time{})
	if n, err := receivers["Recv"](q, e.p); n != 10 || err != nil {
		t.Fatalf("Recv: %d, %v", n, err)
	}
}

func TestClosedQueue(t *testing.T) {
	e := newEngine(t, 1)
	q := NewQueue(e.p)
	q.Push(e.frag(10))
	q.Publish()
	q.Arm(NewCQ(), 1)
	q.Close()
	q.Close()
	if q.Armed() {
		t.Fatal("armed after Close")
	}
	for way, receive := range receivers {
		if n, err := receive(q, e.p); n != 0 || !errors.Is(err, net.ErrClosed) {
			t.Fatalf("%s: %d, %v", way, n, err)
		}
	}
	q.Drain()
}

// TestArmedQueueIsBusy: a queue that completes on a CQ is not received from
// directly; polling it is how its completions are made.
func TestArmedQueueIsBusy(t *testing.T) {
	e := newEngine(t, 1)
	q := NewQueue(e.p)
	q.Push(e.frag(10))
	q.Publish()
	q.Arm(NewCQ(), 1)
	for _, way := range []string{"Recv", "Read"} {
		if n, err := receivers[way](q, e.p); n != 0 || !errors.Is(err, syscall.EBUSY) {
			t.Fatalf("%s: %d, %v", way, n, err)
		}
	}
	if n, err := receivers["Poll"](q, e.p); n != 10 || err != nil {
		t.Fatalf("Poll: %d, %v", n, err)
	}
	if !q.Disarm() || q.Disarm() {
		t.Fatal("Disarm does not tell whether it was armed")
	}
}

// TestNoLostWake has an engine that publishes frag by frag and a consumer that
// waits each time that it has taken all. A lost wake would stop both; the
// deadline is the watchdog.
func TestNoLostWake(t *testing.T) {
	for _, way := range []string{"Recv", "Read"} {
		t.Run(way, func(t *testing.T) {
			n := 60_000
			if testing.Short() {
				n /= 20
			}
			e := newEngine(t, 8)
			e.waitForBuffers()
			q := NewQueue(e.p)
			q.SetDeadline(time.Now().Add(2 * time.Minute))
			defer q.SetDeadline(time.Time{})
			var consumer sync.WaitGroup
			got := 0
			consumer.Go(func() {
				for {
					k, err := receivers[way](q, e.p)
					if got += k; err != nil {
						if !errors.Is(err, io.EOF) {
							t.Errorf("after %d bytes: %v", got, err)
						}
						return
					}
				}
			})
			for range n {
				q.Push(e.frag(1))
				q.Publish()
			}
			q.End(io.EOF)
			q.Publish()
			consumer.Wait()
			if got != n {
				t.Fatalf("%d bytes of %d", got, n)
			}
		})
	}
}
