//go:build linux

package kernel

import (
	"testing"

	"github.com/zctap/zctap/internal/buf"
	"github.com/zctap/zctap/internal/engine"
)

// full has an application keep all that greedy connections bring, until nothing is free.
func full(w *world) (held []buf.Iov, greedy []engine.Conn) {
	w.Helper()
	for w.pool.Exhaustions() == 0 {
		c, p := w.connect()
		w.sender(p, 4<<20)
		held = append(held, w.hoard(c, 0)...)
		greedy = append(greedy, c)
	}
	return held, greedy
}

// waiting is connections that are paused, for which so many bytes each wait in the kernel.
func (w *world) waiting(conns int, bytes int64) (all []engine.Conn) {
	w.Helper()
	for range conns {
		before := w.event("paused")
		c, p := w.connect()
		w.ok(send(p, bytes))
		w.eventually("it is paused", func() bool { return w.event("paused") > before })
		all = append(all, c)
	}
	return all
}

// With each buffer that comes back one of those that wait for one goes on, and not all
// of them only to be paused again. (With zcrx what one is promised is out of the credit of
// the next.)
func TestOneBufferForOne(t *testing.T) {
	each(t, options{buffers: 128}, func(w *world) {
		if w.isZCRX() {
			return
		}
		held, _ := full(w)
		all := w.waiting(40, 10)
		before := w.event("paused")
		const n = 20
		for range n {
			received := w.received()
			held = w.giveBackOne(held)
			w.eventually("it is of use", func() bool { return w.received() > received })
		}
		if paused := w.event("paused") - before; paused > 2*n {
			w.Errorf("%d pauses with %d buffers for %d connections", paused, n, len(all))
		}
		w.giveBack(held)
	})
}

// giveBackOne gives back the first buffer of held, all views of it (the tail of a
// connection has several), and returns the rest.
func (w *world) giveBackOne(held []buf.Iov) (rest []buf.Iov) {
	w.Helper()
	n := 1
	for n < len(held) && held[n].Frag().Buffer() == held[0].Frag().Buffer() {
		n++
	}
	w.giveBack(held[:n])
	return held[n:]
}

// Those that go on first may take less than they might, here nothing: then the others go
// on, too, though nothing more comes back.
func TestPausedGoOnInTurn(t *testing.T) {
	each(t, options{buffers: 128}, func(w *world) {
		if w.isZCRX() {
			return
		}
		held, greedy := full(w)
		w.waiting(20, 0)
		all := w.waiting(20, 10)
		for _, c := range greedy {
			w.ok(closeConn(c))
		}
		w.giveBack(held)
		for _, c := range all {
			w.eventually("it has gone on", func() bool { return c.Queue().Buffered() == 10 })
		}
	})
}
