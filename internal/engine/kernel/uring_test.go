//go:build linux

package kernel

import (
	"io"
	"net"
	"sync"
	"testing"

	"github.com/zctap/zctap/internal/engine"
	"github.com/zctap/zctap/internal/testenv"
	"github.com/zctap/zctap/internal/uring"
)

// eachURing runs a test with each variant of the uring backend.
func eachURing(t *testing.T, o options, f func(w *world, u *uringBackend)) {
	testenv.NeedIOUring(t)
	for _, v := range variants() {
		if v.o.Backend == BackendURing {
			t.Run(v.name, func(t *testing.T) {
				w := newWorld(t, v, o)
				f(w, w.loop.back.(*uringBackend))
			})
		}
	}
}

// crowd has n connections send size bytes each, and returns our ends.
func (w *world) crowd(n int, size int64) (conns []engine.Conn, wait func()) {
	ln := w.listen(0)
	var wg sync.WaitGroup
	for range n {
		p := w.peer(ln)
		wg.Go(func() {
			if err := send(p, size); err != nil {
				w.Errorf("send: %v", err)
			}
			p.CloseWrite()
			io.Copy(io.Discard, p)
		})
		conns = append(conns, w.accept(ln))
	}
	return conns, wg.Wait
}

func (w *world) receiveAll(conns []engine.Conn, size int64) {
	var wg sync.WaitGroup
	for _, c := range conns {
		wg.Go(func() {
			if got, err := w.receive(c, 0); got != size || err != io.EOF {
				w.Errorf("received %d of %d, then %v", got, size, err)
			}
			closeConn(c)
		})
	}
	wg.Wait()
}

// More completions than the queue holds: multishot requests end, the kernel keeps
// the rest, and nothing is lost or repeated.
func TestURingOverflow(t *testing.T) {
	small := func(t *tuning) { t.sqEntries, t.cqEntries = 2, 4 }
	eachURing(t, options{tune: small}, func(w *world, u *uringBackend) {
		const n, size = 50, 300_000
		conns, wait := w.crowd(n, size)
		w.receiveAll(conns, size)
		wait()
		if s := w.stats(); s.CopiedBytes != n*size || s.Events["completion-overflow"] == 0 {
			w.Errorf("%d bytes counted, want %d, with %d overflows", s.CopiedBytes, n*size, s.Events["completion-overflow"])
		}
		w.ok(w.Close())
		if s := u.ring.Stats(); s != (uring.Stats{}) {
			w.Errorf("ring: %+v", s)
		}
	})
}

// Fewer provided buffers than connections with data: receives end for want of
// them (ENOBUFS) and are made again.
func TestURingFewBuffers(t *testing.T) {
	for _, ring := range []int{1, 2, 8} {
		eachURing(t, options{tune: func(t *tuning) { t.ringSize = ring }}, func(w *world, u *uringBackend) {
			const n, size = 50, 300_000
			conns, wait := w.crowd(n, size)
			w.receiveAll(conns, size)
			wait()
			if w.stats().Events["rearmed"] == 0 {
				w.Error("no request ended")
			}
		})
	}
}

// A connection changes from multishot to single receives as it nears its limit,
// and back: the limit holds all the while.
func TestURingLimitHolds(t *testing.T) {
	const limit = 60
	eachURing(t, options{buffers: 1024, maxHeld: limit, tune: func(t *tuning) { t.ringSize = 16 }}, func(w *world, u *uringBackend) {
		c, p := w.connect()
		const size = 16 << 20
		wait := w.sender(p, size)
		var off int64
		for range 5 {
			held := w.hoard(c, limit)
			if n := w.held(c); n != limit {
				w.Errorf("the connection holds %d buffers, want %d", n, limit)
			}
			off = w.check(held, off)
			w.giveBack(held)
		}
		if got, _ := w.receive(c, off); got != size {
			w.Errorf("received %d of %d", got, size)
		}
		wait()
	})
}

// Closing while everything is under way leaves nothing in the kernel.
func TestCloseInFullFlight(t *testing.T) {
	each(t, options{}, func(w *world) {
		ln := w.listen(0)
		var wg sync.WaitGroup
		for range 30 {
			p := w.peer(ln)
			wg.Go(func() { send(p, 1<<40) }) // until reset
			wg.Go(func() { io.Copy(io.Discard, p) })
			c := w.accept(ln)
			wg.Go(func() { send(c, 1<<40) }) // until closed
			wg.Go(func() {
				b := make([]byte, 1<<16)
				for {
					if _, err := c.Queue().Read(b); err != nil {
						return
					}
				}
			})
		}
		w.eventually("it flows", func() bool { return w.received() > 8<<20 && w.stats().SentBytes > 8<<20 })
		// Dials and accepts in the middle of it.
		for range 10 {
			wg.Go(func() {
				for {
					p, err := net.Dial("tcp", ln.Addr().String())
					if err != nil {
						return
					}
					p.Close()
				}
			})
		}
		w.ok(w.Close())
		wg.Wait()
		w.census()
	})
}
