package tcp

import (
	"net/netip"
	"testing"
	"time"

	"github.com/zctap/zctap/internal/buf"
	"github.com/zctap/zctap/internal/wire"
)

// receiver is a connection that is given the same segment again and again, each
// time with the next sequence number, and an application that takes all of it.
type receiver struct {
	*script
	h    wire.TCP
	ids  []uint16
	f    []buf.Frag
	iovs []buf.Iov
	size int // bytes of a frag
	n    int // bytes of a segment
}

func newReceiver(t testing.TB, n, size int) *receiver {
	s := newScript(t, 4096, nil)
	s.opts.HasWindowScale, s.opts.WindowScale = true, 7
	s.opts.HasTimestamps, s.opts.TSVal = true, 1
	s.opts.SACKPermitted = true
	s.establish()
	s.c.rcv.limit = uint32(s.sh.MaxRecvWindow)
	s.sh.Transmit = func(_, _ netip.Addr, _ *wire.TCP, _ [2][]byte, _ int) {}
	r := &receiver{script: s, size: size, n: n}
	r.h = *s.segment(1, 1, wire.ACK, nil).TCP
	frags := (n + size - 1) / size
	r.ids, r.f, r.iovs = make([]uint16, frags), make([]buf.Frag, frags), make([]buf.Iov, frags)
	return r
}

// round is one segment, one ACK, one read, one return.
func (r *receiver) round() {
	r.fill()
	r.input()
	r.flushOnly()
	r.consume()
}

func (r *receiver) fill() {
	r.pool.Alloc(r.ids)
	left := r.n
	for i, b := range r.ids {
		r.f[i] = r.pool.Frag(b, 0, min(left, r.size))
		left -= r.size
	}
}

func (r *receiver) input() {
	r.c.Input(r.now, &Segment{TCP: &r.h, Frags: r.f, Len: r.n})
	r.h.Seq = r.h.Seq.Add(uint32(r.n))
}

func (r *receiver) flushOnly() {
	for c := r.sh.NextDirty(); c != nil; c = r.sh.NextDirty() {
		c.Output(r.now)
	}
}

func (r *receiver) consume() {
	n, _, _, err := r.c.Recv.Poll(r.iovs, 1<<30)
	if n != len(r.iovs) || err != nil {
		r.t.Fatalf("took %d of %d iovs: %v", n, len(r.iovs), err)
	}
	r.pool.Return(r.iovs)
}

// skipInvariants: the checks of that build remember each buffer's last return.
func skipInvariants(t *testing.T) {
	if buf.Invariants {
		t.Skip("built with -tags invariants, whose checks allocate")
	}
}

// The receive path allocates nothing.
func TestReceiveAllocatesNothing(t *testing.T) {
	skipInvariants(t)
	r := newReceiver(t, 60<<10, 4096)
	for range 100 {
		r.round()
	}
	if n := testing.AllocsPerRun(1000, r.round); n > 0.05 {
		t.Errorf("%v allocations a segment", n)
	}
	if r.sh.Stats.ZeroCopyBytes < 1000*60<<10 {
		t.Errorf("%+v", r.sh.Stats)
	}
}

// Nor does losing, holding and filling gaps.
func TestReassemblyAllocatesNothing(t *testing.T) {
	skipInvariants(t)
	r := newReceiver(t, 1448, 4096)
	r.iovs = make([]buf.Iov, 8)
	round := func() {
		first := r.h.Seq
		for i := 1; i < 8; i++ {
			r.h.Seq = first.Add(uint32(i * r.n))
			r.fill()
			r.input()
		}
		r.h.Seq = first
		r.fill()
		r.input()
		r.h.Seq = first.Add(uint32(8 * r.n))
		r.flushOnly()
		r.consume()
	}
	for range 100 {
		round()
	}
	if n := testing.AllocsPerRun(1000, round); n > 0.05 {
		t.Errorf("%v allocations a round", n)
	}
}

// Sending allocates nothing but blocks, which come from a pool.
func TestSendAllocatesNothing(t *testing.T) {
	skipInvariants(t)
	r := newReceiver(t, 1, 1)
	p := make([]byte, 10_000)
	round := func() {
		if _, err := r.c.Send.TryWrite(p); err != nil {
			r.t.Fatal(err)
		}
		r.c.Kick()
		r.flushOnly()
		seg := Segment{TCP: &r.h}
		r.h.Ack = r.c.snd.max
		r.c.Input(r.now, &seg)
		r.flushOnly()
	}
	for range 100 {
		round()
	}
	if n := testing.AllocsPerRun(1000, round); n > 0.05 {
		t.Errorf("%v allocations a round", n)
	}
}

// Nor does repairing what is lost.
func TestRepairAllocatesNothing(t *testing.T) {
	skipInvariants(t)
	r := newReceiver(t, 1, 1)
	p := make([]byte, 30_000)
	round := func() {
		r.c.cc.cwnd, r.c.cc.ssthresh = 100_000, 100_000
		if _, err := r.c.Send.TryWrite(p); err != nil {
			r.t.Fatal(err)
		}
		r.c.Kick()
		r.flushOnly()
		// Every other segment is lost.
		seg, mss := Segment{TCP: &r.h}, r.c.snd.mss
		o := &r.h.Options
		for i := uint32(1); i < 20; i += 2 {
			r.now++
			o.SACKCount = 1
			o.SACK[0] = wire.SACKBlock{Start: r.c.snd.una.Add(i * mss), End: r.c.snd.una.Add((i + 1) * mss)}
			r.c.Input(r.now, &seg)
			r.flushOnly()
		}
		o.SACKCount = 0
		r.now = r.now.Add(time.Millisecond)
		r.h.Ack = r.c.snd.max
		r.c.Input(r.now, &seg)
		r.flushOnly()
	}
	for range 100 {
		round()
	}
	retransmits := r.sh.Stats.Retransmits
	if n := testing.AllocsPerRun(1000, round); n > 0.05 {
		t.Errorf("%v allocations a round", n)
	}
	if n := r.sh.Stats.Retransmits - retransmits; n < 9000 {
		t.Errorf("only %d segments sent again", n)
	}
}

func benchmarkInOrder(b *testing.B, n, size int) {
	r := newReceiver(b, n, size)
	for range 100 {
		r.round()
	}
	b.SetBytes(int64(n))
	b.ReportAllocs()
	for b.Loop() {
		r.round()
	}
}

// With the driver's allocation, the application's take and return: a buffer's
// whole round.
func BenchmarkRound60K(b *testing.B)  { benchmarkInOrder(b, 60<<10, 4096) }
func BenchmarkRound1448(b *testing.B) { benchmarkInOrder(b, 1448, 4096) }

// TCP alone: Input and Output, with 64 segments a batch.
func benchmarkInput(b *testing.B, n, size int) {
	const batch = 64
	r := newReceiver(b, n, size)
	for range 100 {
		r.round()
	}
	frags := len(r.f)
	f := make([]buf.Frag, batch*frags)
	r.iovs = make([]buf.Iov, batch*frags)
	b.SetBytes(int64(n))
	b.ReportAllocs()
	b.ResetTimer()
	for i := 0; i < b.N; i += batch {
		b.StopTimer()
		for k := range batch {
			r.fill()
			copy(f[k*frags:], r.f)
		}
		b.StartTimer()
		for k := range batch {
			r.c.Input(r.now, &Segment{TCP: &r.h, Frags: f[k*frags : (k+1)*frags], Len: n})
			r.h.Seq = r.h.Seq.Add(uint32(n))
		}
		r.flushOnly()
		b.StopTimer()
		r.consume()
		r.c.acks.now = true // the window opens again
		r.c.touch()
		r.flushOnly()
		b.StartTimer()
	}
}

func BenchmarkInOrder60K(b *testing.B)  { benchmarkInput(b, 60<<10, 4096) }
func BenchmarkInOrder1448(b *testing.B) { benchmarkInput(b, 1448, 4096) }
