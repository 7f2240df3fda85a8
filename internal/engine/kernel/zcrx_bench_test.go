//go:build linux

package kernel

import (
	"testing"

	"github.com/zctap/zctap/internal/buf"
	"github.com/zctap/zctap/internal/uring"
)

// BenchmarkZCRXCompletion is what a completion with payload costs outside of the
// kernel: from the completion queue to the application, and back to the refill
// ring. Each operation is one.
func BenchmarkZCRXCompletion(b *testing.B) {
	b.Run("buffer", func(b *testing.B) { benchmarkCompletion(b, 4096, (*buf.Pool).Return) })
	b.Run("half", func(b *testing.B) { benchmarkCompletion(b, 2048, (*buf.Pool).Return) })
	b.Run("handler", func(b *testing.B) { benchmarkCompletion(b, 4096, (*buf.Pool).ReturnHere) })
}

// benchmarkCompletion has each completion bring so many bytes, a part of a buffer, and the
// application give them back so.
func benchmarkCompletion(b *testing.B, size int, giveBack func(*buf.Pool, []buf.Iov) (int, error)) {
	const buffers, batch = 8192, 64
	z, c, consumed := alone(b, buffers)
	cqes := make([]uring.CQE, batch)
	iovs := make([]buf.Iov, batch)
	next := 0
	b.ReportAllocs()
	for n := 0; n < b.N; n += batch {
		for i := range cqes {
			cqes[i] = uring.CQE{UserData: userData(reqRecv, &c.socket), Res: int32(size), Flags: uring.CQEMore, Extra: [2]uint64{uint64(next)}}
			next = (next + size) % (buffers * 4096)
		}
		z.batch.begin(z.free())
		z.handle(cqes)
		z.account()
		z.l.publish()
		got, err := c.queue.Recv(iovs, batch*size)
		if got != batch || err != nil {
			b.Fatal(got, err)
		}
		if _, err := giveBack(z.l.pool, iovs[:got]); err != nil {
			b.Fatal(err)
		}
		z.collect()
		z.dues.move(z.rq)
		consumed()
	}
}
