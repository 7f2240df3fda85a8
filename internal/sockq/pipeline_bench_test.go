package sockq

import (
	"runtime"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/zctap/zctap/internal/buf"
)

// BenchmarkPipeline is the way of a buffer between two threads, without driver
// and protocol: one goroutine allocates, charges and pushes segments of 16
// buffers, another receives and returns them. One op is one buffer of 4 KiB;
// cpu-ns/op is the user CPU time of both threads.
func BenchmarkPipeline(b *testing.B) {
	const segment, window = 16, 1024
	r, err := buf.NewRegion(buf.RegionConfig{Buffers: 8192})
	if err != nil {
		b.Fatal(err)
	}
	p := buf.NewPool(r)
	q := NewQueue(p)
	segments := (b.N + segment - 1) / segment
	var before, after unix.Rusage
	unix.Getrusage(unix.RUSAGE_SELF, &before)
	b.ResetTimer()
	go func() {
		runtime.LockOSThread()
		var acct buf.Account
		ids, frags := make([]uint16, segment), make([]buf.Frag, segment)
		for range segments {
			for p.Region().Count()-p.Free() > window {
				runtime.Gosched()
			}
			for n := 0; n < segment; {
				n += p.Alloc(ids[n:])
			}
			for i, id := range ids {
				frags[i] = p.Frag(id, 0, 4096)
			}
			p.ChargeFrags(frags, &acct)
			for _, f := range frags {
				q.Push(f)
			}
			q.Publish()
		}
	}()
	iovs := make([]buf.Iov, 64)
	for got := 0; got < segments*segment; {
		n, err := q.Recv(iovs, 1<<30)
		if err != nil {
			b.Fatal(err)
		}
		if _, err := p.Return(iovs[:n]); err != nil {
			b.Fatal(err)
		}
		got += n
	}
	b.StopTimer()
	unix.Getrusage(unix.RUSAGE_SELF, &after)
	b.ReportMetric(float64(after.Utime.Nano()-before.Utime.Nano())/float64(b.N), "cpu-ns/op")
}
