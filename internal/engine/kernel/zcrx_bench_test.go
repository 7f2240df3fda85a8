//go:build linux

package kernel

import (
	"net/netip"
	"sync/atomic"
	"testing"

	"github.com/zctap/zctap/internal/buf"
	"github.com/zctap/zctap/internal/engine"
	"github.com/zctap/zctap/internal/ksock"
	"github.com/zctap/zctap/internal/sockq"
	"github.com/zctap/zctap/internal/uring"
)

// BenchmarkZCRXCompletion is what a completion with payload costs outside of the
// kernel: from the completion queue to the application, and back to the refill
// ring. Each operation is one.
func BenchmarkZCRXCompletion(b *testing.B) {
	const buffers, batch = 8192, 64
	region, err := buf.NewRegion(buf.RegionConfig{Buffers: buffers + 64})
	if err != nil {
		b.Fatal(err)
	}
	cfg := engine.Config{Pool: buf.NewPool(region), CQ: sockq.NewCQ()}
	parts := uring.IFQParts{Areas: []int{buffers * 4096}, BufferSize: 4096, Refill: make([]uring.RefillEntry, buffers)}
	ring := &parts.Words
	ring.Producer, ring.Consumer, ring.Size = new(uint32), new(uint32), buffers
	q, err := uring.NewIFQ(parts)
	if err != nil {
		b.Fatal(err)
	}
	z := &zcrx{ifq: q, unit: 4096, per: 1, total: buffers, shift: 12, areaBytes: buffers * 4096, o: noDevice, rq: q.Refill()}
	z.l = newLoop(cfg, defaults(cfg, Options{}))
	z.l.back, z.recv = z, z
	z.settled = z.settle
	z.records.init(buffers, 12)
	cfg.Pool.Lend(buffers)
	sock, err := ksock.Packet("udp", netip.AddrPortFrom(loopback4, 0), netip.AddrPort{}, false)
	if err != nil {
		b.Fatal(err)
	}
	defer sock.Close()
	c := newConn(z.l, sock)
	z.l.table.add(&c.socket)
	z.begin(&c.socket)

	cqes := make([]uring.CQE, batch)
	iovs := make([]buf.Iov, batch)
	next := uint64(0)
	b.ReportAllocs()
	for n := 0; n < b.N; n += batch {
		for i := range cqes {
			cqes[i] = uring.CQE{UserData: userData(reqRecv, &c.socket), Res: 4096, Flags: uring.CQEMore, Extra: [2]uint64{next * 4096}}
			next = (next + 1) % buffers
		}
		z.batch.begin(z.free())
		z.handle(cqes)
		z.account()
		z.l.publish()
		got, err := c.queue.Recv(iovs, batch*4096)
		if got != batch || err != nil {
			b.Fatal(got, err)
		}
		if _, err := cfg.Pool.Return(iovs[:got]); err != nil {
			b.Fatal(err)
		}
		z.collect()
		z.dues.move(z.rq)
		atomic.StoreUint32(ring.Consumer, atomic.LoadUint32(ring.Producer)) // as the kernel does
	}
}
