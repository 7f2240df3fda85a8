//go:build linux

package kernel

import (
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
