package sockq

import (
	"errors"
	"fmt"
	"syscall"
	"testing"

	"github.com/zctap/zctap/internal/buf"
)

// Datagrams that were put together come apart at every size, wherever in the
// buffers their boundaries lie.
func TestPushSegments(t *testing.T) {
	for _, lens := range [][]int{{1000}, {10, 990}, {100, 100, 800}, {333, 333, 334}, {1, 999}} {
		for _, size := range []int{1, 7, 100, 333, 999, 1000, 5000} {
			t.Run(fmt.Sprintf("%v by %d", lens, size), func(t *testing.T) {
				e := newEngine(t, 16)
				q := NewDatagrams(e.p)
				want := (1000 + size - 1) / size
				pushed, lost := q.PushSegments(Message{Src: peer(1), Len: 1000}, e.frags(lens...), size)
				if pushed != want || lost != 0 {
					t.Fatalf("%d pushed, %d lost; want %d", pushed, lost, want)
				}
				q.Publish()
				r := &reader{TB: t}
				for n := 0; n < want; {
					payload, ms := recv(t, q, e.p, 20, 7)
					r.bytes(payload)
					for _, m := range ms {
						if m.Len != min(size, 1000-n*size) || m.Src != peer(1) || m.Truncated {
							t.Fatalf("datagram %d: %+v", n, m)
						}
						n++
					}
				}
				if r.got != 1000 || e.p.Free() != 16 {
					t.Errorf("%d bytes, %d buffers free", r.got, e.p.Free())
				}
			})
		}
	}
}

// If some of it is missing, the datagram in which it ends says so, and the others
// are counted.
func TestPushSegmentsTruncated(t *testing.T) {
	for _, tt := range []struct{ have, pushed, lost int }{{1000, 10, 10}, {1001, 11, 9}, {99, 1, 19}, {1999, 20, 0}, {0, 0, 20}} {
		e := newEngine(t, 16)
		q := NewDatagrams(e.p)
		var frags []buf.Frag
		if tt.have > 0 {
			frags = e.frags(tt.have)
		}
		pushed, lost := q.PushSegments(Message{Len: 2000}, frags, 100)
		q.Publish()
		if pushed != tt.pushed || lost != tt.lost {
			t.Errorf("%d of 2000 bytes: %d pushed, %d lost", tt.have, pushed, lost)
		}
		for i := range tt.pushed {
			_, ms := recv(t, q, e.p, 1, 1)
			if cut := (i+1)*100 > tt.have; ms[0].Len != 100 || ms[0].Truncated != cut {
				t.Errorf("%d of 2000 bytes: datagram %d: %+v", tt.have, i, ms[0])
			}
		}
	}
}

// A failure is told once, before what waits, to whoever asks first; it wakes who
// waits, and is a completion.
func TestDatagramsFailure(t *testing.T) {
	e := newEngine(t, 16)
	q := NewDatagrams(e.p)
	e.push(q, 1, 10)
	q.Publish()
	q.Fail(syscall.EHOSTUNREACH)
	q.Fail(syscall.ECONNREFUSED)
	if !q.Ready() {
		t.Error("not ready")
	}
	dst, ms := make([]buf.Iov, 1), make([]Message, 1)
	if n, _, err := q.Recv(dst, ms); n != 0 || !errors.Is(err, syscall.ECONNREFUSED) {
		t.Errorf("%d, %v", n, err)
	}
	if n, k, err := q.Recv(dst, ms); n != 1 || k != 1 || err != nil {
		t.Fatalf("%d, %d, %v", n, k, err)
	}
	giveBack(t, e.p, dst)
	if err := q.Failure(); err != nil {
		t.Errorf("told twice: %v", err)
	}

	done := make(chan error)
	go func() {
		_, _, err := q.Recv(dst, ms)
		done <- err
	}()
	q.Fail(syscall.ECONNREFUSED)
	if err := <-done; !errors.Is(err, syscall.ECONNREFUSED) {
		t.Errorf("who waits: %v", err)
	}

	cq := NewCQ()
	q.Arm(cq, 1)
	q.Fail(syscall.ECONNREFUSED)
	cq.Flush()
	err := cq.Next(func(s *Source) (again, more bool) {
		_, _, again, err := q.Poll(dst, ms)
		if !errors.Is(err, syscall.ECONNREFUSED) || again {
			t.Errorf("%v, again %v", err, again)
		}
		return again, true
	})
	if err != nil {
		t.Error(err)
	}
}
