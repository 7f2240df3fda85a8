//go:build linux

package stack

import (
	"encoding/binary"
	"math/rand/v2"
	"net/netip"
	"testing"

	"github.com/zctap/zctap/internal/driver"
	"github.com/zctap/zctap/internal/wire"
)

// TestLookAhead: what is found ahead is each frame's connection, early enough, is used, and
// is not once the table has changed or the key is another.
func TestLookAhead(t *testing.T) {
	const flows, burst = 300, 3
	f := newFlows(t, flows, burst)
	f.round(t)
	s, l := f.r.stack, &f.r.stack.ahead
	const runs = (flowBatch + burst - 1) / burst // the last is shorter
	key := func(i int) wire.Tuple { return tupleOf(s.ends(&f.frames[i])) }
	l.begin(s, f.frames)
	for i := range f.frames {
		k, c := key(i), f.conns[i/burst]
		if *c.Tuple() != k {
			t.Fatalf("frame %d is not of connection %d", i, i/burst)
		}
		if got := l.conn(s, i, &k); got != c {
			t.Fatalf("frame %d: another connection", i)
		}
		if r := &l.runs[(l.reached-1)&lookMask]; l.reached != i/burst+1 || r.conn != c || r.first != i/burst*burst {
			t.Fatalf("frame %d: %d runs were reached, of which the last begins at %d with connection %p", i, l.reached, r.first, r.conn)
		}
		for _, step := range []struct {
			name       string
			got, ahead int
		}{{"hashed", l.hashed, slotAhead}, {"found", l.found, connAhead}, {"queued", l.queued, queueAhead}} {
			if want := min(l.reached+step.ahead, runs); step.got != want {
				t.Fatalf("frame %d: %d runs %s, want %d", i, step.got, step.name, want)
			}
		}
	}

	l.done()
	l.begin(s, f.frames)
	const last = 2 * burst
	other := key(0)
	if got := l.conn(s, last, &other); got != f.conns[0] {
		t.Error("a guess is taken for another key's connection")
	}
	k := key(last)
	c := s.conns.get(&k)
	s.conns.remove(&k)
	if l.conn(s, last, &k) != nil {
		t.Error("a connection is found that was forgotten")
	}
	s.conns.put(c.Tuple(), c)
	if got := l.conn(s, last, &k); got != c || l.runs[(l.reached-1)&lookMask].conn != c {
		t.Error("a connection is not found ahead once the table has changed")
	}
	l.done()
	for i := range l.runs {
		if l.runs[i].conn != nil || l.frames != nil {
			t.Fatal("something is remembered behind its batch")
		}
	}
	if got := l.conn(s, last, &k); got != c {
		t.Error("a connection is not found without a look ahead")
	}
	f.end()
}

// TestLookAheadEnds: of what is cut off anywhere nothing is read that is not there.
func TestLookAheadEnds(t *testing.T) {
	f := newFlows(t, 1, 1)
	f.round(t)
	s := f.r.stack
	if s.ends(&f.frames[0]) == nil {
		t.Fatal("no ends")
	}
	for n := range len(f.frames[0].Head) {
		g := f.frames[0]
		g.Head, g.Frags = g.Head[:n], nil
		if (s.ends(&g) != nil) != (n >= wire.IPv6HeaderLen+4) {
			t.Errorf("ends of %d bytes", n)
		}
	}
	f.end()
}

// TestLookAheadSkips: frames that were taken in are not looked at any more, though nothing was
// looked up for them.
func TestLookAheadSkips(t *testing.T) {
	f := newFlows(t, 300, 1)
	f.round(t)
	s, l := f.r.stack, &f.r.stack.ahead
	l.begin(s, f.frames)
	const at = 100
	for i := range at {
		f.frames[i].Head = f.frames[flowBatch-1].Head[:0:0]
		f.frames[i].Frags = nil
	}
	k := tupleOf(s.ends(&f.frames[at]))
	if got := l.conn(s, at, &k); got != f.conns[at] || l.runs[(l.reached-1)&lookMask].first != at {
		t.Errorf("frame %d is not found ahead", at)
	}
	l.done()
	f.end()
}

// TestLookAheadRuns: runs of any length are told apart, also where something lies between
// them that is no TCP, or where that lies between the frames of one.
func TestLookAheadRuns(t *testing.T) {
	f := newFlows(t, 2, 1)
	f.round(t)
	s, l := f.r.stack, &f.r.stack.ahead
	a, b, none := f.frames[0], f.frames[1], f.frames[0]
	none.Head, none.Frags = nil, nil
	for n := 1; n < 20; n++ {
		frames := f.frames[:0:0]
		frames = append(frames, none)
		for range n {
			frames = append(frames, a)
		}
		frames = append(frames, b, none)
		for range n {
			frames = append(frames, b)
		}
		frames = append(frames, a)
		l.begin(s, frames)
		for i, want := range map[int]int{1: 0, n + 1: 1, n + 3: 1, 2*n + 3: 0} {
			l.done()
			l.begin(s, frames)
			k := tupleOf(s.ends(&frames[i]))
			if got := l.conn(s, i, &k); got != f.conns[want] || l.reached == 0 || l.runs[(l.reached-1)&lookMask].conn != got {
				t.Errorf("runs of %d, frame %d: not found ahead", n, i)
			}
		}
		l.done()
	}
	f.end()
}

// tupleOf is the key of the flow with ends, as they came.
func tupleOf(ends []byte) wire.Tuple {
	var src, dst netip.Addr
	if len(ends) == ends4Len {
		src, dst = netip.AddrFrom4([4]byte(ends)), netip.AddrFrom4([4]byte(ends[4:]))
	} else {
		src, dst = netip.AddrFrom16([16]byte(ends)), netip.AddrFrom16([16]byte(ends[16:]))
	}
	ports := ends[len(ends)-4:]
	return wire.Tuple{
		Local:  netip.AddrPortFrom(dst, binary.BigEndian.Uint16(ports[2:])),
		Remote: netip.AddrPortFrom(src, binary.BigEndian.Uint16(ports)),
		Proto:  wire.ProtoTCP,
	}
}

// TestLookAheadRunsBegin: runs of any length are found to begin where they do.
func TestLookAheadRunsBegin(t *testing.T) {
	f := newFlows(t, flowBatch, 1)
	s, l := f.r.stack, &f.r.stack.ahead
	rnd := rand.New(rand.NewPCG(3, 3))
	for range 200 {
		var frames []driver.Frame
		var firsts []int
		for most := 1 + rnd.IntN(40); len(frames) < flowBatch; {
			k := len(firsts)
			firsts = append(firsts, len(frames))
			for range 1 + rnd.IntN(most) {
				frames = append(frames, driver.Frame{Head: f.heads[k*f.head:][:f.head]})
			}
		}
		l.begin(s, frames)
		for i := range frames {
			l.reach(s, i)
			if r := &l.runs[(l.reached-1)&lookMask]; r.first != firsts[l.reached-1] || r.first > i || l.reached < len(firsts) && firsts[l.reached] <= i {
				t.Fatalf("frame %d: run %d begins at %d; they begin at %d", i, l.reached-1, r.first, firsts)
			}
		}
		if l.hashed != len(firsts) {
			t.Fatalf("%d runs, want %d", l.hashed, len(firsts))
		}
		l.done()
	}
	f.end()
}
