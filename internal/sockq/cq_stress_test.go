package sockq

import (
	"io"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/zctap/zctap/internal/buf"
)

// TestCQManyConnections has engines that publish to 1,000 queues, flushing once
// a batch, and one consumer that drains the CQ into small arrays: each stream
// comes whole and ends once.
func TestCQManyConnections(t *testing.T) {
	queues, rounds := 1000, 30
	if testing.Short() {
		queues = 100
	}
	e := newEngine(t, 256)
	e.waitForBuffers()
	cq := NewCQ()
	cq.SetDeadline(time.Now().Add(2 * time.Minute)) // watchdog
	defer cq.SetDeadline(time.Time{})
	qs := make([]*Queue, queues)
	for i := range qs {
		qs[i] = NewQueue(e.p)
		qs[i].Owner = i
		qs[i].Arm(cq, uint64(i))
	}
	var consumer sync.WaitGroup
	got := make([]int, queues)
	ends := make([]int, queues)
	consumer.Go(func() {
		var dst [4]buf.Iov
		for open := queues; open > 0; {
			room := 16
			err := cq.Next(func(s *Source) (again, more bool) {
				i := s.Owner.(int)
				n, bytes, left, err := qs[i].Poll(dst[:], 700)
				if _, err := e.p.Return(dst[:n]); err != nil {
					t.Error(err)
				}
				got[i] += bytes
				if err != nil {
					ends[i]++
					open--
					s.Disarm()
				}
				room--
				return left, room > 0
			})
			if err != nil {
				t.Errorf("Next: %v, %d streams open", err, open)
				return
			}
		}
	})
	sent := make([]int, queues)
	published := 0
	for r := range rounds {
		for i, q := range qs {
			for _, f := range e.packet() {
				q.Push(f)
				sent[i] += f.Len()
			}
			if r == rounds-1 {
				q.End(io.EOF)
			}
			q.Publish()
			if published++; published%64 == 0 {
				cq.Flush()
			}
		}
	}
	cq.Flush()
	consumer.Wait()
	for i := range qs {
		if got[i] != sent[i] || ends[i] != 1 {
			t.Fatalf("stream %d: %d bytes of %d, %d ends", i, got[i], sent[i], ends[i])
		}
	}
}

// TestCQConcurrentRaise has several goroutines raise the same sources, each
// after it counted something, and a consumer that sleeps whenever it can: what
// was counted last is seen, of every source.
func TestCQConcurrentRaise(t *testing.T) {
	const sources, producers = 50, 4
	events := 40_000
	if testing.Short() {
		events /= 20
	}
	cq := NewCQ()
	cq.SetDeadline(time.Now().Add(2 * time.Minute)) // watchdog
	defer cq.SetDeadline(time.Time{})
	s := newSources(cq, sources)
	var counted [sources]atomic.Int64
	var wg sync.WaitGroup
	for k := range producers {
		wg.Go(func() {
			for i := range events {
				n := (i*13 + k) % sources
				counted[n].Add(1)
				s[n].Raise()
				if i%8 == 7 || i == events-1 {
					cq.Flush()
				}
			}
		})
	}
	var seen [sources]int64
	for total := int64(0); total < int64(producers*events); {
		if err := cq.Next(func(s *Source) (again, more bool) {
			n := s.Owner.(int)
			c := counted[n].Load()
			total += c - seen[n]
			seen[n] = c
			return false, true
		}); err != nil {
			t.Fatalf("%v after %d events of %d", err, total, producers*events)
		}
	}
	wg.Wait()
}
