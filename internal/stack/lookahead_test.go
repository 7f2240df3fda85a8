//go:build linux

package stack

import (
	"testing"

	"github.com/zctap/zctap/internal/wire"
)

// TestLookAhead: what is found ahead is each frame's connection, is used, and is not once
// the table has changed or the key is another.
func TestLookAhead(t *testing.T) {
	f := newFlows(t, 300, 3)
	f.round(t)
	s, l := f.r.stack, &f.r.stack.ahead
	key := func(i int) wire.Tuple { return tupleOf(s.ends(&f.frames[i])) }
	l.look(s, 0, f.frames)
	if l.n != lookRuns || l.end != 3*lookRuns {
		t.Fatalf("%d runs, to frame %d", l.n, l.end)
	}
	for i := range l.end {
		k, c := key(i), f.conns[i/3]
		if *c.Tuple() != k {
			t.Fatalf("frame %d is not of connection %d", i, i/3)
		}
		if got := l.conn(i, &k, &s.conns); got != c || l.runs[i/3].conn != c {
			t.Fatalf("frame %d: another connection", i)
		}
	}
	last, other := l.end-1, key(0)
	if got := l.conn(last, &other, &s.conns); got != f.conns[0] {
		t.Error("a guess is taken for another key's connection")
	}
	k := key(last)
	c := s.conns.get(&k)
	s.conns.remove(&k)
	if l.conn(last, &k, &s.conns) != nil {
		t.Error("a connection is found that was forgotten")
	}
	s.conns.put(c.Tuple(), c)
	if l.done(); l.runs[0].conn != nil || l.end != 0 {
		t.Error("connections are remembered behind their batch")
	}
	if s.ends(&f.frames[0]) == nil {
		t.Fatal("no ends")
	}
	for n := range len(f.frames[0].Head) { // cut off anywhere
		g := f.frames[0]
		g.Head, g.Frags = g.Head[:n], nil
		if (s.ends(&g) != nil) != (n >= wire.IPv6HeaderLen+4) {
			t.Errorf("ends of %d bytes", n)
		}
	}
	f.end()
}
