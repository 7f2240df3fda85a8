//go:build linux

package kernel

import (
	"io"
	"runtime"
	"sync/atomic"
	"testing"
	"time"

	"github.com/zctap/zctap/internal/buf"
)

// The loop's goroutine is scheduled anew while a stream keeps it busy, though it only
// sleeps for moments: otherwise Go's monitor takes its P away in each of its sleeps.
func TestTimeSliceOfStream(t *testing.T) {
	var renewed atomic.Int64
	each(t, options{tune: func(t *tuning) {
		t.yield = func() {
			renewed.Add(1)
			runtime.Gosched()
		}
	}}, func(w *world) {
		c, p := w.connect()
		var iovs [1]buf.Iov
		off, before := int64(0), renewed.Load()
		for start := time.Now(); renewed.Load() < before+3; {
			if time.Since(start) > patience {
				w.Fatalf("the loop's time slice was renewed %d times in a stream of %d bytes", renewed.Load()-before, off)
			}
			// The loop wakes, and sleeps again.
			w.ok(sendFrom(p, off, 1))
			n, err := c.Queue().Recv(iovs[:], 1<<30)
			w.ok(err)
			off = w.check(iovs[:n], off)
			w.giveBack(iovs[:n])
		}
		w.ok(p.Close())
		if end, err := w.receive(c, off); end != off || err != io.EOF {
			w.Fatalf("the stream of %d bytes ended after %d: %v", off, end, err)
		}
		w.ok(c.Close())
	})
}
