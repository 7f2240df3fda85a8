//go:build linux

package kernel

import (
	"net/netip"
	"sync/atomic"
	"testing"
	"time"

	"github.com/zctap/zctap/internal/buf"
	"github.com/zctap/zctap/internal/engine"
	"github.com/zctap/zctap/internal/ksock"
	"github.com/zctap/zctap/internal/sockq"
	"github.com/zctap/zctap/internal/uring"
	"github.com/zctap/zctap/internal/uring/uringtest"
)

// zcrxOn starts an engine on a kernel that the test plays.
func zcrxOn(t *testing.T, o options, z ZCRXOptions, k uringtest.Options) *world {
	t.Helper()
	return newWorld(t, fakeVariant("zcrx", z, k), o)
}

var (
	noDevice = ZCRXOptions{NoDevice: true}
	device   = ZCRXOptions{Interface: 1, Queue: 1}
)

// eachZCRX runs a test with each variant of the zcrx backend.
func eachZCRX(t *testing.T, o options, f func(w *world)) {
	for _, v := range variants() {
		if v.o.Backend == BackendZCRX {
			t.Run(v.name, func(t *testing.T) { f(newWorld(t, v, o)) })
		}
	}
}

func (w *world) event(name string) uint64 { return w.stats().Events[name] }

// wantReturned closes the engine, after everything was given back, and checks
// that the kernel has every buffer again, and none twice.
func (w *world) wantReturned() {
	w.Helper()
	w.ok(w.Close())
	w.census()
	var got uringtest.Counts
	out := 0
	for _, k := range w.kernels {
		c := k.Counts()
		got.Payload, got.Returned, got.Bogus = got.Payload+c.Payload, got.Returned+c.Returned, got.Bogus+c.Bogus
		out += k.Out()
	}
	if out != 0 || got.Bogus != 0 || got.Returned != got.Payload {
		w.Errorf("%d completions with payload, %d entries of the refill ring, %d of them wrong; %d are out", got.Payload, got.Returned, got.Bogus, out)
	}
}

// poke makes the loop go round.
func (w *world) poke() {
	for _, l := range w.loops {
		l.poke()
	}
	time.Sleep(time.Millisecond)
}

// due is the entries that are due to the kernel, or in the refill ring and not consumed.
func due(z *zcrx) int { return z.dues.len() + z.rq.InFlight() }

// alone is a backend with an area of so many buffers, no device and no kernel,
// and a connection that payload may come for. consumed plays the kernel that takes
// all of the refill ring.
func alone(tb testing.TB, buffers int) (z *zcrx, c *conn, consumed func()) {
	tb.Helper()
	region, err := buf.NewRegion(buf.RegionConfig{Buffers: buffers + 64})
	if err != nil {
		tb.Fatal(err)
	}
	cfg := engine.Config{Pool: buf.NewPool(region), CQ: sockq.NewCQ()}
	parts := uring.IFQParts{Areas: []int{buffers * 4096}, BufferSize: 4096, Refill: make([]uring.RefillEntry, buffers)}
	ring := &parts.Words
	ring.Producer, ring.Consumer, ring.Size = new(uint32), new(uint32), uint32(buffers)
	q, err := uring.NewIFQ(parts)
	if err != nil {
		tb.Fatal(err)
	}
	z = &zcrx{ifq: q, unit: 4096, per: 1, total: buffers, shift: 12, areaBytes: buffers * 4096, o: noDevice, rq: q.Refill()}
	z.l = newLoop(cfg, defaults(cfg, Options{}))
	z.l.back, z.recv = z, z
	z.records.init(buffers, 12)
	cfg.Pool.Lend(buffers)
	cfg.Pool.OneThread(z.settle)
	sock, err := ksock.Packet("udp", netip.AddrPortFrom(loopback4, 0), netip.AddrPort{}, false)
	if err != nil {
		tb.Fatal(err)
	}
	tb.Cleanup(func() { sock.Close() })
	c = newConn(z.l, sock)
	z.l.table.add(&c.socket)
	z.begin(&c.socket)
	return z, c, func() { atomic.StoreUint32(ring.Consumer, atomic.LoadUint32(ring.Producer)) }
}
