//go:build linux

package stack

import (
	"encoding/binary"
	"testing"
	"time"

	"github.com/zctap/zctap/internal/mono"
	"github.com/zctap/zctap/internal/stack/tcp"
	"github.com/zctap/zctap/internal/wire"
)

// tick has the stack do what is due.
func (f *flows) tick(t *testing.T) {
	t.Helper()
	f.r.wire.sent = nil
	f.r.stack.Advance(f.r.now)
	if err := f.r.stack.Flush(f.r.now); err != nil {
		t.Fatal(err)
	}
}

// settled makes flows that have acknowledged all that they have received, and whose windows
// have grown.
func settled(t *testing.T, n int) *flows {
	t.Helper()
	f := newFlows(t, n, 1)
	f.warm(t)
	f.r.wire.quiet = false
	f.r.now = f.r.now.Add(time.Second)
	f.tick(t)
	return f
}

// some has flow i receive a few bytes, whose ACK is to wait, and the application take them.
func (f *flows) some(t *testing.T, i int) {
	t.Helper()
	next := f.heads[i*f.head:][:f.head][wire.IPv6HeaderLen:]
	seq := binary.BigEndian.Uint32(next[4:])
	h := wire.TCP{
		SrcPort: uint16(1000 + i), DstPort: ourPort, Flags: wire.ACK, Window: 65535,
		Seq: wire.Seq(seq), Ack: wire.Seq(binary.BigEndian.Uint32(next[8:])), Options: wire.TCPOptions{HasTimestamps: true, TSVal: 1},
	}
	b := pattern(i, 100)
	if out := f.r.deliver(tcpPacket(t, peer6, us6.Addr(), h, b), whole); len(out) != 0 {
		t.Fatalf("flow %d: an ACK went out at once", i)
	}
	binary.BigEndian.PutUint32(next[4:], seq+uint32(len(b)))
	if got, _, err := f.r.take(f.conns[i]); len(got) != len(b) || err != nil {
		t.Fatalf("flow %d: %d bytes, %v", i, len(got), err)
	}
}

// TestDelayedAcks: each of many delayed ACKs goes out when it is due, and none of those that
// have become needless; what was due is forgotten.
func TestDelayedAcks(t *testing.T) {
	const n, delay = 100, 40 * time.Millisecond
	f := settled(t, n)
	s := f.r.stack
	start := f.r.now
	for i := range n {
		f.r.now = start.Add(time.Duration(i) * 100 * time.Microsecond)
		f.some(t, i)
	}
	// Every second one's ACK goes out with data.
	for i := 0; i < n; i += 2 {
		if k, err := f.conns[i].Send.Write([]byte("x")); k != 1 || err != nil {
			t.Fatal(k, err)
		}
		f.conns[i].Kick()
	}
	f.tick(t)
	if got := len(f.r.wire.sent); got != n/2 {
		t.Fatalf("%d segments with data, want %d", got, n/2)
	}
	acks := s.Stats().TCP.DelayedAcks
	for i := range n {
		at := start.Add(time.Duration(i)*100*time.Microsecond + delay)
		f.r.now = at - 1
		f.tick(t)
		if got := s.Stats().TCP.DelayedAcks - acks; got != 0 {
			t.Fatalf("flow %d: %d ACKs before their time", i, got)
		}
		if next := s.delayed.next(); i%2 == 1 && next != at {
			t.Fatalf("flow %d: next is %d, want %d", i, next, at)
		}
		f.r.now = at
		f.tick(t)
		if got, want := s.Stats().TCP.DelayedAcks-acks, uint64(i%2); got != want {
			t.Fatalf("flow %d: %d ACKs when it is due, want %d", i, got, want)
		}
		acks += uint64(i % 2)
	}
	if s.delayed.next() != 0 || s.delayed.head != len(s.delayed.list) {
		t.Error("something is left")
	}
	for _, e := range s.delayed.list[:cap(s.delayed.list)] {
		if e.conn != nil {
			t.Fatal("a connection is remembered")
		}
	}
	f.end()
}

// TestKeepAliveOfCalm: of a connection that only receives, to which Output has nothing to say, a keep-alive
// that is asked for is due all the same.
func TestKeepAliveOfCalm(t *testing.T) {
	const idle = time.Hour
	f := settled(t, 1)
	f.conns[0].SetKeepAlive(f.r.now, true, idle)
	f.tick(t)
	if next, want := f.r.stack.Next(), f.r.now.Add(idle); next == 0 || next > want {
		t.Errorf("next at %d, want %d at the latest", next, want)
	}
	f.r.now = f.r.now.Add(idle)
	f.tick(t)
	if n := len(f.r.wire.sent); n != 1 {
		t.Errorf("%d probes, want 1", n)
	}
	f.end()
}

// TestDelayedOrder: what would not come last is not taken, and what is dropped makes room.
func TestDelayedOrder(t *testing.T) {
	var d delayed
	c := &tcp.Conn{}
	for i := range 10_000 {
		at := mono.Time(i + 1)
		for range 2 { // two of the same time
			if !d.add(c, at) {
				t.Fatal("what comes last is not taken")
			}
		}
		if i > 0 && d.add(c, at-1) {
			t.Fatal("not in order")
		}
		if i >= 10 && d.due(at-10) != nil { // c's ACK is not armed
			t.Fatal("due")
		}
	}
	if got := cap(d.list); got > 100 {
		t.Errorf("room for %d", got)
	}
	if d.next() != 0 {
		t.Error("an ACK that is not armed is next")
	}
}

// TestDelayedOutOfOrder: a delayed ACK that would not come last goes out in time all the same.
func TestDelayedOutOfOrder(t *testing.T) {
	f := settled(t, 2)
	s := f.r.stack
	due := f.r.now.Add(40 * time.Millisecond)
	s.delayed.add(f.conns[1], due+1)
	acks := s.Stats().TCP.DelayedAcks
	f.some(t, 0)
	if next := s.Next(); next != due {
		t.Errorf("next is %d, want %d", next, due)
	}
	f.r.now = due
	f.tick(t)
	if got := s.Stats().TCP.DelayedAcks - acks; got != 1 || len(f.r.wire.sent) != 1 {
		t.Errorf("%d delayed ACKs, %d segments", got, len(f.r.wire.sent))
	}
	f.end()
}

// A connection that is over takes its delayed ACK with it.
func TestDelayedAckOfTheDead(t *testing.T) {
	f := settled(t, 1)
	f.some(t, 0)
	f.conns[0].Abort(f.r.now)
	f.tick(t)
	if got := f.r.wire.sent; len(got) != 1 || !parse(t, got[0]).tcp.Flags.Has(wire.RST) {
		t.Fatalf("%d segments, want a reset", len(got))
	}
	f.r.now = f.r.now.Add(time.Second)
	f.tick(t)
	if len(f.r.wire.sent) != 0 || f.r.stack.Next() != 0 {
		t.Errorf("%d segments, next at %d", len(f.r.wire.sent), f.r.stack.Next())
	}
	f.end()
}
