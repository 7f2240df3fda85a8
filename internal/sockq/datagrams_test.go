package sockq

import (
	"bytes"
	"errors"
	"fmt"
	"math/rand/v2"
	"net"
	"net/netip"
	"os"
	"slices"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"github.com/zctap/zctap/internal/buf"
)

// peer is the source address of test datagram i.
func peer(i int) netip.AddrPort {
	return netip.AddrPortFrom(netip.AddrFrom4([4]byte{192, 0, 2, byte(i)}), uint16(1000+i))
}

// push pushes datagram i, of frags of the given lengths.
func (e *engine) push(q *Datagrams, i int, lens ...int) {
	e.Helper()
	total := 0
	for _, n := range lens {
		total += n
	}
	q.Push(Message{Src: peer(i), Dst: peer(0), Len: total}, e.frags(lens...))
}

// recv is one call that must succeed; what it takes is returned to the pool.
func recv(t *testing.T, q *Datagrams, p *buf.Pool, iovs, msgs int) (payload []byte, ms []Message) {
	t.Helper()
	dst, ms := make([]buf.Iov, iovs), make([]Message, msgs)
	n, k, err := q.Recv(dst, ms)
	if err != nil || n < 1 || n > msgs || k > iovs {
		t.Fatalf("Recv: %d messages, %d iovs, %v", n, k, err)
	}
	sum := 0
	for _, m := range ms[:n] {
		sum += m.Iovs
	}
	if sum != k {
		t.Fatalf("the messages have %d iovs, %d were filled", sum, k)
	}
	payload = join(dst[:k])
	giveBack(t, p, dst[:k])
	return payload, ms[:n]
}

func TestInvariant18_Boundaries(t *testing.T) {
	// Datagrams of 2, 1, 0, 3 and 1 frags, whole, with one call or several.
	for _, c := range []struct {
		iovs, msgs int
		want       []int // messages, call by call
	}{
		{10, 10, []int{5}},
		{7, 5, []int{5}},
		{6, 10, []int{4, 1}},
		{5, 10, []int{3, 2}},
		{4, 10, []int{3, 2}},
		{3, 10, []int{3, 1, 1}},
		{10, 2, []int{2, 2, 1}},
		{10, 1, []int{1, 1, 1, 1, 1}},
	} {
		t.Run(fmt.Sprintf("%d iovs, %d messages", c.iovs, c.msgs), func(t *testing.T) {
			e := newEngine(t, 16)
			q := NewDatagrams(e.p)
			frags := [][]int{{10, 20}, {30}, {}, {1, 2, 3}, {40}}
			for i, lens := range frags {
				e.push(q, i, lens...)
			}
			if q.Len() != 0 {
				t.Fatal("seen before Publish")
			}
			q.Publish()
			r := &reader{TB: t}
			i := 0
			for _, want := range c.want {
				if q.Len() != 5-i {
					t.Fatalf("Len is %d, want %d", q.Len(), 5-i)
				}
				payload, ms := recv(t, q, e.p, c.iovs, c.msgs)
				if len(ms) != want {
					t.Fatalf("%d messages at %d, want %d", len(ms), i, want)
				}
				r.bytes(payload)
				for _, m := range ms {
					if m.Src != peer(i) || m.Dst != peer(0) || m.Iovs != len(frags[i]) || m.Len != sum(frags[i]) || m.Truncated {
						t.Fatalf("message %d: %+v", i, m)
					}
					i++
				}
			}
			if r.got != e.sent || q.Len() != 0 {
				t.Fatalf("%d bytes of %d, %d left", r.got, e.sent, q.Len())
			}
		})
	}
}

// TestInvariant18_Truncation: a datagram of more iovs than there is room for
// loses its tail, says so, and nothing else is lost.
func TestInvariant18_Truncation(t *testing.T) {
	for room := 1; room <= 5; room++ {
		e := newEngine(t, 16)
		q := NewDatagrams(e.p)
		e.push(q, 1, 10, 20, 30, 40)
		e.push(q, 2, 50)
		q.Publish()
		free := e.p.Free()
		dst, ms := make([]buf.Iov, room), make([]Message, 1)
		n, k, err := q.Recv(dst, ms)
		fit := min(room, 4)
		if n != 1 || k != fit || err != nil {
			t.Fatalf("room for %d: %d messages, %d iovs, %v", room, n, k, err)
		}
		if m := ms[0]; m.Iovs != fit || m.Len != 100 || m.Truncated != (room < 4) || m.Src != peer(1) {
			t.Fatalf("room for %d: %+v", room, m)
		}
		if want := []int{10, 20, 30, 40}[:fit]; !slices.Equal(lens(dst[:k]), want) {
			t.Fatalf("room for %d: iovs of %v", room, lens(dst[:k]))
		}
		(&reader{TB: t}).bytes(join(dst[:k]))
		if got := e.p.Free() - free; got != 4-fit {
			t.Fatalf("room for %d: %d buffers of the tail are free, want %d", room, got, 4-fit)
		}
		giveBack(t, e.p, dst[:k])
		payload, ms := recv(t, q, e.p, 1, 1)
		if m := ms[0]; m.Truncated || m.Len != 50 || m.Src != peer(2) {
			t.Fatalf("the datagram behind: %+v", m)
		}
		(&reader{TB: t, got: 100}).bytes(payload)
	}
}

// TestInvariant18_TruncatedByTheEngine: what the engine could not receive is
// told as well.
func TestInvariant18_TruncatedByTheEngine(t *testing.T) {
	e := newEngine(t, 2)
	q := NewDatagrams(e.p)
	q.Push(Message{Src: peer(1), Len: 9000, Truncated: true}, e.frags(100))
	q.Publish()
	payload, ms := recv(t, q, e.p, 4, 4)
	if m := ms[0]; !m.Truncated || m.Len != 9000 || m.Iovs != 1 || len(payload) != 100 {
		t.Fatalf("%+v, %d bytes", m, len(payload))
	}
}

// TestInvariant18_RandomTraffic compares random traffic with what was sent.
func TestInvariant18_RandomTraffic(t *testing.T) {
	e := newEngine(t, 64)
	rnd := rand.New(rand.NewPCG(3, 3))
	q := NewDatagrams(e.p)
	var sent [][]byte
	pushed := 0
	rounds := 100_000
	if testing.Short() {
		rounds /= 20
	}
	for range rounds {
		if e.p.Free() > 8 && rnd.IntN(2) == 0 {
			frags := e.packet()
			if rnd.IntN(3) == 0 {
				frags = append(frags, e.packet()...)
			}
			m := Message{Src: peer(pushed % 250)}
			var whole []byte
			for _, f := range frags {
				m.Len += f.Len()
				whole = append(whole, e.p.Region().View(f)...)
			}
			q.Push(m, frags)
			q.Publish()
			sent = append(sent, whole)
			pushed++
			continue
		}
		dst, ms := make([]buf.Iov, 1+rnd.IntN(9)), make([]Message, 1+rnd.IntN(4))
		n, k, more, err := q.Poll(dst, ms)
		if err != nil || more != (len(sent) > n) {
			t.Fatalf("Poll: %d, more %v with %d there, %v", n, more, len(sent), err)
		}
		at := 0
		for i, m := range ms[:n] {
			got := join(dst[at : at+m.Iovs])
			at += m.Iovs
			want := sent[i]
			if m.Len != len(want) || m.Truncated != (len(got) < len(want)) || !bytes.Equal(got, want[:len(got)]) {
				t.Fatalf("datagram of %d bytes: %+v with %d bytes", len(want), m, len(got))
			}
			if m.Truncated && (i > 0 || m.Iovs != len(dst)) {
				t.Fatalf("datagram %d of the call was cut with room for %d iovs", i, len(dst))
			}
			if m.Src != peer((pushed-len(sent)+i)%250) {
				t.Fatalf("datagram of another source: %v", m.Src)
			}
		}
		if at != k {
			t.Fatalf("%d iovs, the messages have %d", k, at)
		}
		giveBack(t, e.p, dst[:k])
		sent = sent[n:]
	}
	q.Close()
	if n := q.Drain(); n != len(sent) {
		t.Fatalf("Drain dropped %d datagrams, want %d", n, len(sent))
	}
}

// TestInvariant18_Overflow: a buffer that has all the references it can count
// costs the datagram its tail, not the queue its order.
func TestInvariant18_Overflow(t *testing.T) {
	e := newEngine(t, 4)
	q := NewDatagrams(e.p)
	frags := e.frags(10, 20, 30)
	held := make([]buf.Iov, 1<<16-1)
	for i := range held {
		if err := e.p.GiveUser(frags[1], &held[i]); err != nil {
			t.Fatal(err)
		}
	}
	q.Push(Message{Len: 60}, frags)
	e.push(q, 2, 5)
	q.Publish()
	dst, ms := make([]buf.Iov, 4), make([]Message, 4)
	n, k, err := q.Recv(dst, ms)
	if n != 1 || k != 1 || err != nil || !ms[0].Truncated || ms[0].Iovs != 1 || ms[0].Len != 60 {
		t.Fatalf("%d messages, %d iovs, %v: %+v", n, k, err, ms[0])
	}
	giveBack(t, e.p, dst[:1])
	if _, ms := recv(t, q, e.p, 4, 4); len(ms) != 1 || ms[0].Truncated || ms[0].Len != 5 {
		t.Fatalf("the datagram behind: %+v", ms)
	}
	giveBack(t, e.p, held)
}

func TestDatagramsErrors(t *testing.T) {
	e := newEngine(t, 4)
	q := NewDatagrams(e.p)
	e.push(q, 1, 10, 20)
	q.Publish()
	dst, ms := make([]buf.Iov, 2), make([]Message, 2)
	for _, c := range []struct{ iovs, msgs int }{{0, 1}, {1, 0}, {0, 0}} {
		if _, _, err := q.Recv(dst[:c.iovs], ms[:c.msgs]); !errors.Is(err, syscall.EINVAL) {
			t.Fatalf("Recv with room for %d iovs and %d messages: %v", c.iovs, c.msgs, err)
		}
	}
	q.Arm(NewCQ(), 1)
	if _, _, err := q.Recv(dst, ms); !errors.Is(err, syscall.EBUSY) {
		t.Fatalf("Recv while armed: %v", err)
	}
	q.Disarm()
	q.SetDeadline(time.Now().Add(-1))
	if _, _, err := q.Recv(dst, ms); !errors.Is(err, os.ErrDeadlineExceeded) {
		t.Fatalf("Recv after the deadline: %v", err)
	}
	if q.Len() != 1 {
		t.Fatal("an error took a datagram")
	}
	q.SetDeadline(time.Time{})
	e.push(q, 2, 30) // pushed, never published
	q.Close()
	if _, _, err := q.Recv(dst, ms); !errors.Is(err, net.ErrClosed) {
		t.Fatalf("Recv after Close: %v", err)
	}
	if _, _, _, err := q.Poll(dst, ms); !errors.Is(err, net.ErrClosed) {
		t.Fatalf("Poll after Close: %v", err)
	}
	if n := q.Drain(); n != 2 || q.Len() != 0 {
		t.Fatalf("Drain dropped %d, want 2, and left %d", n, q.Len())
	}
	if n := q.Drain(); n != 0 {
		t.Fatalf("a second Drain dropped %d", n)
	}
}

// TestDatagramsWait: Recv waits for a datagram, of no payload too, and for
// Close; a queue that is armed raises its CQ instead.
func TestDatagramsWait(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		e := newEngine(t, 4)
		q := NewDatagrams(e.p)
		results := make(chan error)
		receive := func() {
			n, k, err := q.Recv(make([]buf.Iov, 1), make([]Message, 1))
			if err == nil && (n != 1 || k != 0) {
				err = fmt.Errorf("%d messages, %d iovs", n, k)
			}
			results <- err
		}
		go receive()
		synctest.Wait()
		q.Publish() // nothing
		synctest.Wait()
		e.push(q, 1)
		q.Publish()
		if err := <-results; err != nil {
			t.Fatal(err)
		}
		cq := NewCQ()
		q.Owner = 3
		q.Arm(cq, 3)
		e.push(q, 1)
		q.Publish()
		if got := next(t, cq, 10); !slices.Equal(got, []int{3}) {
			t.Fatalf("visited %v", got)
		}
		q.Disarm()
		recv(t, q, e.p, 1, 1)
		go receive()
		synctest.Wait()
		q.Close()
		if err := <-results; !errors.Is(err, net.ErrClosed) {
			t.Fatal(err)
		}
	})
}

// A failure wakes who waits, raises the source of who has armed it, is told once, and
// before what has come.
func TestDatagramsFail(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		e := newEngine(t, 4)
		q := NewDatagrams(e.p)
		results := make(chan error)
		receive := func() {
			_, _, err := q.Recv(make([]buf.Iov, 1), make([]Message, 1))
			results <- err
		}
		go receive()
		synctest.Wait()
		q.Fail(syscall.ECONNREFUSED)
		if err := <-results; err != syscall.ECONNREFUSED {
			t.Fatal(err)
		}
		e.push(q, 1)
		q.Publish()
		q.Fail(syscall.EACCES)
		q.Fail(syscall.EMSGSIZE)
		if n, _, more, err := q.Poll(make([]buf.Iov, 1), make([]Message, 1)); n != 0 || !more || err != syscall.EMSGSIZE {
			t.Fatalf("%d messages, more %v, %v", n, more, err)
		}
		recv(t, q, e.p, 1, 1)
		// Somebody else is told of it, and the receiver waits on.
		go receive()
		synctest.Wait()
		q.failure.Store(uint32(syscall.EACCES))
		if err := q.Failure(); err != syscall.EACCES {
			t.Fatal(err)
		}
		q.Unpark()
		synctest.Wait()
		q.Close()
		if err := <-results; !errors.Is(err, net.ErrClosed) {
			t.Fatal(err)
		}
		cq := NewCQ()
		q = NewDatagrams(e.p)
		q.Owner = 3
		q.Arm(cq, 3)
		q.Fail(syscall.ECONNREFUSED)
		cq.Flush()
		if got := next(t, cq, 10); !slices.Equal(got, []int{3}) {
			t.Fatalf("visited %v", got)
		}
		q.Close()
	})
}
