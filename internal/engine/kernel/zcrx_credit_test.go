//go:build linux

package kernel

import (
	"io"
	"sync"
	"testing"
	"time"

	"github.com/zctap/zctap/internal/engine"
	"github.com/zctap/zctap/internal/uring/uringtest"
)

// The credit of a connection grows as it is used up, so that a bulk stream is
// armed anew seldom.
func TestZCRXCreditGrows(t *testing.T) {
	w := zcrxOn(t, options{buffers: 8192}, device, uringtest.Options{Device: true})
	c, p := w.connect()
	const size = 64 << 20
	wait := w.sender(p, size)
	w.wantEOF(c, size)
	wait()
	// With the first grant alone it would be 1,024; how many it is depends on how
	// far a busy machine lets the application fall behind.
	if n := w.event("credit-used-up"); n == 0 || n > 512 {
		w.Errorf("%d credits for %d MiB", n, size>>20)
	}
	if s := w.stats(); s.CopiedBytes != 0 || s.ZeroCopyBytes != size {
		w.Errorf("%d bytes copied, %d not, of %d", s.CopiedBytes, s.ZeroCopyBytes, size)
	}
}

// Several slow readers get a share each and no more; another connection runs at
// full length meanwhile, and the NIC never finds the area dry.
func TestZCRXSlowReaders(t *testing.T) {
	for _, chunk := range []int{0, 1448} {
		w := zcrxOn(t, options{buffers: 1024}, device, uringtest.Options{Device: true, Chunk: chunk})
		const slow, slowSize = 20, 8 << 20
		var all []engine.Conn
		var waits []func()
		for range slow {
			c, p := w.connect()
			all = append(all, c)
			waits = append(waits, w.sender(p, slowSize))
		}
		w.settle("all are full", func() bool { return w.pool.FreeLent() < w.pool.Lent()/2 })
		const size = 16 << 20
		for range 2 {
			fast, p := w.connect()
			wait := w.sender(p, size)
			start := time.Now()
			w.wantEOF(fast, size)
			wait()
			w.ok(closeConn(fast))
			t.Logf("chunk %d: %v, %d of %d buffers free", chunk, time.Since(start), w.pool.FreeLent(), w.pool.Lent())
		}
		if n := w.event("alloc-fail"); n != 0 {
			w.Errorf("chunk %d: the NIC found no buffer %d times", chunk, n)
		}
		for i, c := range all {
			w.wantEOF(c, slowSize)
			waits[i]()
		}
	}
}

// Connections that have credit and do not use it keep no others from theirs: it
// is taken back, and they receive all the same.
func TestZCRXIdleCredits(t *testing.T) {
	eachZCRX(t, options{buffers: 512}, func(w *world) {
		const idle = 150 // with first credits of together several times the area
		ln := w.listen(0)
		var conns []engine.Conn
		var peers []io.WriteCloser
		for range idle {
			p := w.peer(ln)
			conns = append(conns, w.accept(ln))
			peers = append(peers, p)
		}
		busy, p := w.connect()
		const size = 8 << 20
		wait := w.sender(p, size)
		w.wantEOF(busy, size)
		wait()
		if w.event("recalled") == 0 {
			w.Error("no credit was taken back")
		}
		if n := w.event("credit-used-up"); n > size/4096/2 {
			w.Errorf("%d credits for %d buffers: it went on buffer by buffer", n, size/4096)
		}
		var wg sync.WaitGroup
		for i, c := range conns {
			wg.Go(func() {
				w.ok(send(peers[i], 100_000))
				peers[i].Close()
			})
			wg.Go(func() {
				if got, err := w.receive(c, 0); got != 100_000 || err != io.EOF {
					w.Errorf("connection %d received %d, then %v", i, got, err)
				}
			})
		}
		wg.Wait()
		w.wantReturned()
	})
}

// An idle connection costs no wakes, however often others come and go.
func TestZCRXRecallsEnd(t *testing.T) {
	eachZCRX(t, options{buffers: 128}, func(w *world) {
		ln := w.listen(0)
		for range 60 {
			w.peer(ln)
			w.accept(ln)
		}
		busy, p := w.connect()
		wait := w.sender(p, 2<<20)
		w.wantEOF(busy, 2<<20)
		wait()
		w.eventually("the loop sleeps, and nothing wakes it", func() bool {
			before := w.stats()
			time.Sleep(20 * time.Millisecond)
			after := w.stats()
			return w.asleep() && after.Wakes == before.Wakes && after.Syscalls == before.Syscalls
		})
	})
}

// Small payloads of a connection that holds its share go to the reserve, where
// many share a buffer; then it waits, and the others have room.
func TestZCRXSmallPayloads(t *testing.T) {
	w := zcrxOn(t, options{buffers: 256, options: func(o *Options) { o.ZCRX.Reserve = 64 }}, device, uringtest.Options{Device: true, Chunk: 40})
	c, p := w.connect()
	_ = p
	const n = 3000
	sent := 0
	for ; sent < n; sent++ {
		w.ok(second(p.Write(at(int64(sent*40), 40))))
		if w.event("copied-out") > 100 {
			break
		}
		if sent%16 == 0 {
			time.Sleep(time.Millisecond)
		}
	}
	if w.event("copied-out") == 0 {
		// Packed ones need few buffers of the area.
		t.Logf("%d payloads in %d buffers", sent, w.held(c))
	}
	w.ok(p.CloseWrite())
	want := int64(min(sent+1, n) * 40)
	if sent == n {
		want = n * 40
	}
	w.wantEOF(c, want)
	w.wantReturned()
}
