//go:build linux

package kernel

import (
	"sync/atomic"
	"syscall"
	"testing"

	"github.com/zctap/zctap/internal/buf"
	"github.com/zctap/zctap/internal/uring"
	"github.com/zctap/zctap/internal/uring/uringtest"
)

// The refill ring holds far less than the application returns at once: the rest
// waits, and none is dropped or given back twice.
func TestZCRXPendingReturns(t *testing.T) {
	for _, tc := range []struct {
		name string
		z    ZCRXOptions
		k    uringtest.Options
	}{
		{"no-device", ZCRXOptions{NoDevice: true, RefillEntries: 1}, uringtest.Options{}},
		{"device", ZCRXOptions{Interface: 1, Queue: 1, RefillEntries: 2}, uringtest.Options{Device: true}},
		{"packed", ZCRXOptions{Interface: 1, Queue: 1, RefillEntries: 4}, uringtest.Options{Device: true, Chunk: 100}},
	} {
		t.Run(tc.name, func(t *testing.T) {
			w := zcrxOn(t, options{}, tc.z, tc.k)
			c, p := w.connect()
			const size = 8 << 20
			wait := w.sender(p, size)
			off := int64(0)
			for range 3 {
				held := w.hoard(c, 100)
				if len(held) < 100 {
					w.Errorf("only %d views to return", len(held))
				}
				off = w.check(held, off)
				w.giveBack(held)
			}
			if got, _ := w.receive(c, off); got != size {
				w.Errorf("received %d of %d", got, size)
			}
			wait()
			w.wantReturned()
		})
	}
}

// Several completions in one buffer: each is due an entry of its own, whatever
// the order in which the application gives them back, and the buffer stays
// readable until the last.
func TestZCRXSharedBuffers(t *testing.T) {
	w := zcrxOn(t, options{buffers: 1024}, device, uringtest.Options{Device: true, Chunk: 500})
	a, pa := w.connect()
	b, pb := w.connect()
	const size = 20_000
	for off := 0; off < size; off += 1000 {
		w.ok(second(pa.Write(at(int64(off), 1000))))
		w.eventually("it came", func() bool { return a.Queue().Buffered() == off+1000 })
		w.ok(second(pb.Write(at(int64(off), 1000))))
		w.eventually("it came", func() bool { return b.Queue().Buffered() == off+1000 })
	}
	hold := w.hoard(a, 1)
	w.check(hold, 0)
	// All of b goes back, and what came before stays as it is.
	others := w.hoard(b, 1)
	w.check(others, 0)
	w.giveBack(others)
	w.poke()
	w.check(hold, 0)
	// Every other one, then the rest.
	var odd, even []buf.Iov
	for i, v := range hold {
		if i%2 == 1 {
			odd = append(odd, v)
		} else {
			even = append(even, v)
		}
	}
	w.giveBack(odd)
	w.poke()
	for i := range even {
		if string(even[i].Bytes()) != string(at(int64(2*i*500), len(even[i].Bytes()))) {
			w.Fatalf("view %d changed while it was out", 2*i)
		}
	}
	w.giveBack(even)
	w.wantReturned()
}

// What is given back while the loop sleeps reaches a NIC that has run dry.
func TestZCRXReturnsWakeTheLoop(t *testing.T) {
	eachZCRX(t, options{buffers: 32}, func(w *world) {
		c, p := w.connect()
		const size = 1 << 20
		wait := w.sender(p, size)
		off := int64(0)
		for off < size {
			held := w.hoard(c, 1) // and the loop sleeps
			w.eventually("the loop sleeps", func() bool { return w.asleep() })
			off = w.check(held, off)
			w.giveBack(held)
			if len(held) == 0 {
				w.Fatalf("nothing comes after %d bytes: %+v", off, w.stats())
			}
			if off > size/4 {
				break
			}
		}
		if got, _ := w.receive(c, off); got != size {
			w.Errorf("received %d of %d", got, size)
		}
		wait()
	})
}

// The NIC's part of the region in several areas: payload comes in all of them,
// and goes back to where it came from.
func TestZCRXAreas(t *testing.T) {
	z := ZCRXOptions{NoDevice: true, Areas: 7}
	for name, v := range map[string]variant{
		"fake": fakeVariant("zcrx", z, uringtest.Options{}),
		"real": noDeviceVariant("zcrx", z),
	} {
		if name == "real" && !inLab() && (noDeviceWorks() != nil || uring.Have(uring.ZCRXAddArea) != nil) {
			continue
		}
		w := newWorld(t, v, options{buffers: 128})
		z := w.loop.back.(*zcrx)
		if z.ifq.Areas() != 7 || w.pool.Lent() != 112 {
			w.Fatalf("%d areas, %d buffers are lent", z.ifq.Areas(), w.pool.Lent())
		}
		const n, size = 30, 100_000
		conns, wait := w.crowd(n, size)
		w.settle("most of the region is used", func() bool { return w.pool.FreeLent() < 40 })
		w.receiveAll(conns, size)
		wait()
		w.wantReturned()
	}
}

// flushed is a kernel that looks into a refill ring when it is told to, and then only.
type flushed struct {
	armed
	ring  uring.IFQParts
	times int
}

func (f *flushed) FlushRefill(uint32) error {
	f.times++
	atomic.StoreUint32(f.ring.Words.Consumer, atomic.LoadUint32(f.ring.Words.Producer))
	return nil
}

// flushing gives z a queue of such a kernel's, on a device.
func flushing(t *testing.T, z *zcrx) *flushed {
	t.Helper()
	f := &flushed{}
	f.ring = uring.IFQParts{Ops: f, Areas: []int{z.total * 4096}, BufferSize: 4096, Refill: make([]uring.RefillEntry, z.total)}
	w := &f.ring.Words
	w.Producer, w.Consumer, w.Size = new(uint32), new(uint32), uint32(z.total)
	q, err := uring.NewIFQ(f.ring)
	if err != nil {
		t.Fatal(err)
	}
	z.ifq, z.rq, z.o, z.canFlush = q, q.Refill(), device, true
	return f
}

// Payload of a request that is over, which nobody waits for any more, goes back.
func TestZCRXPayloadOfNobody(t *testing.T) {
	z, c, _ := alone(t, 16)
	flushing(t, z)
	gone := userData(reqRecv, &c.socket)
	z.l.table.remove(&c.socket)
	z.handle([]uring.CQE{
		{UserData: gone, Res: 4096, Flags: uring.CQEMore, Extra: [2]uint64{3 << 12}},
		{UserData: gone, Res: 100, Flags: uring.CQEMore, Extra: [2]uint64{5 << 12}},
	})
	if err := z.giveBack(); err != nil || z.rq.InFlight() != 2 || z.records.out != 0 {
		t.Errorf("%v: %d entries in the refill ring, %d buffers out", err, z.rq.InFlight(), z.records.out)
	}
}

// To copy, the kernel takes a buffer that it knows to be free, and looks into the refill
// ring for none: when it finds none there it has to be told of those that wait in the ring,
// on a device, too, which it would not have to be for the NIC's sake.
func TestZCRXNoBufferToCopyToFlushes(t *testing.T) {
	z, c, _ := alone(t, 16)
	f := flushing(t, z)
	z.dues.add(7 << 12)
	if err := z.giveBack(); err != nil || z.rq.InFlight() != 1 || f.times != 0 {
		t.Fatalf("%v: %d entries in the refill ring, flushed %d times", err, z.rq.InFlight(), f.times)
	}
	z.received(c, &uring.CQE{Res: -int32(syscall.ENOMEM)})
	if err := z.giveBack(); err != nil || z.rq.InFlight() != 0 || f.times != 1 {
		t.Errorf("%v: %d entries in the refill ring, flushed %d times", err, z.rq.InFlight(), f.times)
	}
	if c.ending || z.l.stats.rearmed.Load() != 1 || z.stats.exhausted.Load() != 1 {
		t.Errorf("ending %v, armed again %d times, counted %d times", c.ending, z.l.stats.rearmed.Load(), z.stats.exhausted.Load())
	}
}

// What a handler gives back is due at once, in the refill ring as far as there is room, and
// behind what waits for room there.
func TestZCRXSettlesAtOnce(t *testing.T) {
	z, c, consumed := alone(t, 16)
	var cqes []uring.CQE
	for b := range uint64(8) {
		cqes = append(cqes, uring.CQE{UserData: userData(reqRecv, &c.socket), Res: 4096, Flags: uring.CQEMore, Extra: [2]uint64{b << 12}})
	}
	z.batch.begin(z.free())
	z.handle(cqes)
	z.l.publish()
	iovs := make([]buf.Iov, len(cqes))
	if n, err := c.queue.Recv(iovs, 1<<20); n != len(cqes) || err != nil {
		t.Fatal(n, err)
	}
	z.rq.Wrote(copy(z.rq.Room(13), make([]uring.RefillEntry, 13)))
	z.rq.Publish()
	giveBack := func(iovs []buf.Iov, inRing, waiting int) {
		t.Helper()
		if n, err := z.l.pool.ReturnHere(iovs); n != len(iovs) || err != nil {
			t.Fatal(n, err)
		}
		if z.rq.InFlight() != inRing || z.dues.len() != waiting {
			t.Errorf("%d in the refill ring, %d wait for room, want %d, %d", z.rq.InFlight(), z.dues.len(), inRing, waiting)
		}
	}
	giveBack(iovs[:5], 16, 2)
	consumed()
	giveBack(iovs[5:], 0, 5)
	for i, e := range z.dues.tokens {
		if e != (uring.RefillEntry{Token: uint64(3+i) << 12}) {
			t.Errorf("entry %d is %+v", i, e)
		}
	}
	if z.records.out != 0 || c.zc.held != 0 || c.zc.alone != 0 || z.l.pool.FreeLent() != 16 {
		t.Errorf("%d buffers out, %d held, %d alone, %d free", z.records.out, c.zc.held, c.zc.alone, z.l.pool.FreeLent())
	}
	z.dues.move(z.rq)
	if z.rq.InFlight() != 5 || z.dues.len() != 0 {
		t.Errorf("%d in the refill ring, %d wait", z.rq.InFlight(), z.dues.len())
	}
}
