//go:build linux

package kernel

import (
	"io"
	"testing"

	"github.com/zctap/zctap/internal/buf"
	"github.com/zctap/zctap/internal/engine"
	"github.com/zctap/zctap/internal/uring/uringtest"
)

// A connection that waits, for it seems to hold its share, goes on when the
// application has taken all that came for it, though none of its buffers comes back:
// another connection, which nobody reads, has payload in each of them.
func TestZCRXSharedWithUnread(t *testing.T) {
	for _, tc := range []struct {
		name string
		take func(w *world, c engine.Conn, n int) // takes n bytes, and keeps nothing
	}{
		{"Read", func(w *world, c engine.Conn, n int) {
			p := make([]byte, 1000)
			for n > 0 {
				k, err := c.Queue().Read(p[:min(n, len(p))])
				w.ok(err)
				n -= k
			}
		}},
		{"Recv", func(w *world, c engine.Conn, n int) {
			iovs := make([]buf.Iov, 64)
			for n > 0 {
				k, err := c.Queue().Recv(iovs, n)
				w.ok(err)
				for i := range iovs[:k] {
					n -= len(iovs[i].Bytes())
				}
				w.giveBack(iovs[:k])
			}
		}},
	} {
		t.Run(tc.name, func(t *testing.T) {
			const chunk, maxHeld = 500, 4
			w := zcrxOn(t, options{buffers: 256, maxHeld: maxHeld}, device, uringtest.Options{Device: true, Chunk: chunk})
			read, p := w.connect()
			unread, other := w.connect()
			came := 0
			for range maxHeld { // in turn: each piece is charged for as a buffer
				for _, x := range []struct {
					c engine.Conn
					p io.Writer
				}{{unread, other}, {read, p}} {
					w.ok(second(x.p.Write(at(int64(came), chunk))))
					w.eventually("it came", func() bool { return x.c.Queue().Buffered() == came+chunk })
				}
				came += chunk
			}
			w.eventually("both are paused", func() bool { return w.event("paused") == 2 })
			left := came
			for i := range 20 {
				w.eventually("the loop sleeps", w.asleep)
				n := read.Queue().Buffered()
				tc.take(w, read, n)
				left -= n
				w.ok(second(p.Write(at(int64(came+i*chunk), chunk))))
				left += chunk
				w.eventually("more comes", func() bool { return read.Queue().Buffered() > 0 })
			}
			tc.take(w, read, left)
			w.ok(closeConn(unread))
			w.ok(closeConn(read))
			w.wantReturned()
		})
	}
}
