package user

import (
	"runtime"
	"testing"

	"github.com/zctap/zctap/internal/buf"
	"github.com/zctap/zctap/internal/driver/mem"
)

// TestTransferDoesNotAllocate counts what a whole transfer allocates, engines,
// writer and reader together: about nothing, however much is sent.
func TestTransferDoesNotAllocate(t *testing.T) {
	if buf.Invariants {
		t.Skip("this build allocates to check itself")
	}
	for _, tt := range []struct {
		name string
		o    options
	}{
		{"MTU", options{}},
		{"super-segments", options{mem: mem.Config{MaxGSO: 65535}}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			a, b := newHosts(t, tt.o)
			client, server := connect(t, a, b)
			const chunk, warm, rounds, chunks = 1 << 20, 8, 3, 64
			p := make([]byte, chunk)
			iovs := make([]buf.Iov, 64)
			received := make(chan error)
			go func() {
				for left := (warm + rounds*chunks) * chunk; left > 0; {
					n, err := server.Queue().Recv(iovs, 1<<30)
					for i := range iovs[:n] {
						left -= len(iovs[i].Bytes())
					}
					b.pool.Return(iovs[:n])
					if err != nil {
						received <- err
						return
					}
				}
				received <- nil
			}()
			write := func(n int) (mallocs uint64) {
				var before, after runtime.MemStats
				runtime.ReadMemStats(&before)
				for range n {
					if _, err := client.Write(p); err != nil {
						t.Fatal(err)
					}
				}
				runtime.ReadMemStats(&after)
				return after.Mallocs - before.Mallocs
			}
			// The first megabytes take the blocks and chunks that the rest uses, and
			// the best round counts: a queue that becomes longer than it ever was
			// takes some more, once.
			write(warm)
			n := write(chunks)
			for range rounds - 1 {
				n = min(n, write(chunks))
			}
			if err := <-received; err != nil {
				t.Fatal(err)
			}
			t.Logf("%d allocations for %d MiB, %d frames in all", n, chunks, b.stats().Frames)
			if perMiB := float64(n) / chunks; perMiB > 1 {
				t.Errorf("%.1f allocations a MiB", perMiB)
			}
			closeConn(t, client)
			closeConn(t, server)
		})
	}
}
