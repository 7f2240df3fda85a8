//go:build linux

package kernel

import (
	"slices"
	"sync/atomic"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/zctap/zctap/internal/buf"
	"github.com/zctap/zctap/internal/uring"
	"github.com/zctap/zctap/internal/uring/uringtest"
)

// accountant is a backend that only keeps accounts, of what the test says the
// kernel has counted.
func accountant(t *testing.T) (z *zcrx, copied *uint64) {
	t.Helper()
	copied = new(uint64)
	q, err := uring.NewIFQ(uring.IFQParts{Areas: []int{1 << 20}, BufferSize: 4096, Copies: new(uint64), CopiedBytes: copied})
	if err != nil {
		t.Fatal(err)
	}
	z = &zcrx{ifq: q, unit: 4096}
	z.l = &loop{}
	return z, copied
}

// Bytes that the kernel says it copied are never counted as not copied, and no
// others are counted as copied.
func TestZCRXAccounts(t *testing.T) {
	type payload struct {
		off, n    int
		elsewhere bool
		copied    bool
	}
	for _, tc := range []struct {
		name   string
		kernel []uint64 // bytes copied: before the round, and by its end
		round  []payload
		zero   uint64
		copied uint64
	}{
		{"nothing copied", []uint64{0, 0}, []payload{{0, 4096, false, false}, {100, 50, false, false}}, 4146, 0},
		{"the first", []uint64{4096, 4096}, []payload{{0, 4096, false, true}, {0, 4096, false, false}}, 4096, 4096},
		{"what can't be a copy is none", []uint64{4096, 4096}, []payload{{512, 3584, false, false}, {0, 4096, false, true}}, 3584, 4096},
		{"too large to be it", []uint64{100, 100}, []payload{{0, 4096, false, false}, {4096, 100, false, true}}, 4096, 100},
		{"told late", []uint64{0, 1000}, []payload{{0, 4096, false, false}}, 3096, 1000},
		{"by another queue", []uint64{2000, 2000}, []payload{{0, 2000, true, true}, {0, 3000, false, false}}, 3000, 2000},
		{"by another queue, linear", []uint64{0, 0}, []payload{{0, 2000, true, true}}, 0, 2000},
		{"more than there is", []uint64{9000, 9000}, []payload{{0, 4000, false, true}}, 0, 4000},
	} {
		z, kernel := accountant(t)
		z.batch.begin(100)
		*kernel = tc.kernel[0]
		var s socket
		for i, p := range tc.round {
			s.zc.elsewhere = p.elsewhere
			got := z.copied(&s, p.off, p.n)
			if got != p.copied {
				t.Errorf("%s: payload %d counts as copied: %v", tc.name, i, got)
			}
			z.batch.frames++
			if got {
				z.batch.copied += p.n
			} else {
				z.batch.zeroCopy += p.n
			}
		}
		*kernel = tc.kernel[1]
		z.account()
		if zero, copied := z.stats.zeroCopy.Load(), z.l.stats.copied.Load(); zero != tc.zero || copied != tc.copied {
			t.Errorf("%s: %d bytes not copied, %d copied, want %d and %d", tc.name, zero, copied, tc.zero, tc.copied)
		}
	}
}

// A connection whose packets another queue polls counts as copied as a whole,
// though the kernel counts nothing.
func TestZCRXElsewhere(t *testing.T) {
	for _, known := range []bool{false, true} {
		z := device
		if known {
			z.NAPI = func() (uint32, error) { return 4711, nil } // on loopback nothing polls
		}
		w := zcrxOn(t, options{}, z, uringtest.Options{Device: true})
		c, p := w.connect()
		const size = 300_000
		wait := w.sender(p, size)
		w.wantEOF(c, size)
		wait()
		s := w.stats()
		if known != (s.CopiedBytes == size) || known != (s.Events["other-queue"] == 1) {
			t.Errorf("known %v: %+v", known, s)
		}
	}
}

// A flow that moves to another queue and back: how much is counted wrong has the
// bound that is promised.
func TestZCRXMoves(t *testing.T) {
	const ours, other, size, moves = 4711, 12, 1 << 20, 6
	var napi, looks atomic.Uint32
	z := device
	z.NAPI = func() (uint32, error) { return ours, nil }
	z.Incoming = func(int) (uint32, error) {
		looks.Add(1)
		return napi.Load(), nil
	}
	w := zcrxOn(t, options{}, z, uringtest.Options{Device: true})
	c, p := w.connect()
	iovs := make([]buf.Iov, 64)
	off, want := int64(0), [2]uint64{}
	for i := range moves {
		napi.Store([]uint32{ours, other}[i%2])
		sent := make(chan error, 1)
		go func(off int64) { sent <- sendFrom(p, off, size) }(off)
		for end := off + size; off < end; {
			n, err := c.Queue().Recv(iovs, int(end-off))
			w.ok(err)
			off = w.check(iovs[:n], off)
			w.giveBack(iovs[:n])
		}
		w.ok(<-sent)
		w.eventually("it is counted", func() bool { return w.received() == uint64(off) })
		s := w.stats()
		want[i%2] += size
		// Nothing was on its way when it moved, so that each round is of one queue.
		if late := uint64(i/2+i%2) * (locateEvery + 4096); s.CopiedBytes > want[1] || s.CopiedBytes+late < want[1] {
			w.Errorf("after %d moves %d bytes count as copied, %d were", i, s.CopiedBytes, want[1])
		}
	}
	if n := w.event("other-queue"); n != moves/2 {
		w.Errorf("%d events", n)
	}
	// A round may bring little when it is elsewhere.
	if n := looks.Load(); n < moves || n > uint32(w.stats().Batches)+moves*size/locateEvery {
		w.Errorf("looked %d times", n)
	}
}

// What the kernel says that it copied makes the round's connections be looked at.
func TestZCRXMovesWithCopies(t *testing.T) {
	z, kernel := accountant(t)
	z.pollers.ours[0], z.rounds = 1, 7
	z.o.NAPI = func() (uint32, error) { return 1, nil }
	z.o.Incoming = func(int) (uint32, error) { return 2, nil }
	var s socket
	s.zc.unlocated = locateEvery
	z.batch.begin(100)
	z.followUp(&s)
	if z.copied(&s, 0, 4096) || s.zc.elsewhere {
		t.Error("it counts as copied without a sign of it")
	}
	*kernel = 1000
	z.rounds++
	z.batch.begin(100)
	z.followUp(&s)
	if !z.copied(&s, 0, 4096) || !s.zc.elsewhere || z.stats.elsewhere.Load() != 1 {
		t.Errorf("it counts as not copied, elsewhere %v", s.zc.elsewhere)
	}
}

// All buffers of the area are held: one episode of exhaustion, however long it
// lasts, another one after buffers have come back, and everything goes on.
func TestZCRXExhaustion(t *testing.T) {
	w := zcrxOn(t, options{buffers: 16, options: func(o *Options) { o.ZCRX.Reserve = 1 }}, device, uringtest.Options{Device: true})
	const n, size = 40, 50_000
	for range 2 {
		episodes := w.pool.Exhaustions()
		conns, wait := w.crowd(n, size) // each may take one
		w.settle("the area is used up", func() bool { return w.pool.FreeLent() == 0 })
		if got := w.pool.Exhaustions(); got != episodes+1 {
			w.Errorf("%d episodes, %d before", got, episodes)
		}
		w.receiveAll(conns, size)
		wait()
	}
	w.wantReturned()
}

// armed notes which events are armed again.
type armed struct{ events []uring.ZCRXEvents }

func (a *armed) FlushRefill(uint32) error                   { return nil }
func (a *armed) Export(uint32) (int, error)                 { return -1, unix.EINVAL }
func (a *armed) AddArea(uint32, uring.Area) (uint64, error) { return 0, unix.EINVAL }
func (a *armed) ArmEvent(_ uint32, e uring.ZCRXEvents) error {
	a.events = append(a.events, e)
	if len(a.events) > 1 {
		return unix.EINVAL // it is armed
	}
	return nil
}

// An allocation failure is told again when half of the area is free, copies
// after a round without, and not before.
func TestZCRXEvents(t *testing.T) {
	ops := &armed{}
	q, err := uring.NewIFQ(uring.IFQParts{Ops: ops, Areas: []int{4 * 4096}, BufferSize: 4096})
	if err != nil {
		t.Fatal(err)
	}
	cfg := newConfig(t, 5)
	z := &zcrx{ifq: q, rq: new(uring.RQ), unit: 4096, per: 1, total: 4}
	z.l = newLoop(cfg, defaults(cfg, Options{}))
	z.l.back = z
	z.records.init(4, 12)
	cfg.Pool.Lend(4)
	for b := range uint16(3) {
		if _, err := cfg.Pool.Land([]buf.Frag{buf.Landed(b, 0, 1)}); err != nil {
			t.Fatal(err)
		}
		z.records.add(b, uint64(b)<<12, token{})
	}
	tell := func(e int32) { z.event(&uring.CQE{Res: e, UserData: uint64(reqEvent) << opShift}) }
	rearm := func(want ...uring.ZCRXEvents) {
		t.Helper()
		ops.events = nil
		if err := z.rearmEvents(); err != nil {
			t.Error(err)
		}
		if !slices.Equal(ops.events, want) {
			t.Errorf("armed %v, want %v", ops.events, want)
		}
	}
	rearm()
	tell(0)
	tell(1)
	tell(7) // of a kernel yet to come
	if z.stats.allocFails.Load() != 1 || z.stats.copyEvents.Load() != 1 || cfg.Pool.Exhaustions() != 1 || !z.flush {
		t.Errorf("%d failures, %d copies, %d episodes, flush %v", z.stats.allocFails.Load(), z.stats.copyEvents.Load(), cfg.Pool.Exhaustions(), z.flush)
	}
	z.batch.copied = 1
	rearm()
	z.batch.copied = 0
	rearm(uring.ZCRXCopied)
	rearm()
	for b := range uint16(3) {
		cfg.Pool.Put(b)
	}
	z.collect()
	tell(1)
	rearm(uring.ZCRXAllocFailed, uring.ZCRXCopied)
	rearm()
}
