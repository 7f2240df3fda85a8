//go:build !invariants

package sockq

import (
	"testing"

	"github.com/zctap/zctap/internal/buf"
)

// TestNoAllocations: in a steady state nothing on the way through a socket queue
// is allocated (but in builds that remember stacks).
func TestNoAllocations(t *testing.T) {
	e := newEngine(t, 256)
	var (
		cq    = NewCQ()
		q     = NewQueue(e.p)
		armed = NewQueue(e.p)
		d     = NewDatagrams(e.p)
		ids   [64]uint16
		frags [64]buf.Frag
		iovs  [64]buf.Iov
		msgs  [64]Message
		bytes [100]byte
	)
	armed.Arm(cq, 1)
	make64 := func() []buf.Frag {
		for i, b := range ids[:e.p.Alloc(ids[:])] {
			frags[i] = e.p.Frag(b, 0, 100)
		}
		return frags[:]
	}
	visit := func(*Source) (again, more bool) {
		n, _, more, _ := armed.Poll(iovs[:], 1<<20)
		_, _ = e.p.Return(iovs[:n])
		return more, true
	}
	for _, c := range []struct {
		name string
		f    func()
	}{
		{"Push, Publish, Recv, Return", func() {
			for _, f := range make64() {
				q.Push(f)
			}
			q.Publish()
			n, _ := q.Recv(iovs[:], 1<<20)
			_, _ = e.p.Return(iovs[:n])
		}},
		{"in pieces", func() {
			for _, f := range make64() {
				q.Push(f)
				q.Publish()
			}
			for q.Buffered() > 0 {
				n, _ := q.Recv(iovs[:], 150)
				_, _ = e.p.Return(iovs[:n])
			}
		}},
		{"Read", func() {
			for _, f := range make64() {
				q.Push(f)
			}
			q.Publish()
			for q.Buffered() > 0 {
				_, _ = q.Read(bytes[:])
			}
		}},
		{"by completion", func() {
			for _, f := range make64() {
				armed.Push(f)
			}
			armed.Publish()
			cq.Flush()
			_ = cq.Next(visit)
		}},
		{"datagrams", func() {
			fs := make64()
			for i := range fs {
				d.Push(Message{Len: 100}, fs[i:i+1])
			}
			d.Publish()
			_, n, _ := d.Recv(iovs[:], msgs[:])
			_, _ = e.p.Return(iovs[:n])
		}},
	} {
		if n := testing.AllocsPerRun(200, c.f); n != 0 {
			t.Errorf("%s: %v allocations a run of 64 frags", c.name, n)
		}
	}
}
