//go:build linux

package kernel

import (
	"bytes"
	"errors"
	"io"
	"net"
	"syscall"
	"testing"
	"time"

	"github.com/zctap/zctap/internal/buf"
)

// After CloseWrite the other direction goes on; writing has ended.
func TestHalfClose(t *testing.T) {
	each(t, options{}, func(w *world) {
		c, p := w.connect()
		_, err := c.Write([]byte("request"))
		w.ok(err)
		w.ok(c.CloseWrite())
		got, err := io.ReadAll(p)
		w.ok(err)
		if string(got) != "request" {
			w.Errorf("the peer received %q", got)
		}
		if _, err := c.Write([]byte("x")); !errors.Is(err, syscall.EPIPE) {
			w.Errorf("Write after CloseWrite: %v", err)
		}
		wait := w.sender(p, 200_000)
		w.wantEOF(c, 200_000)
		wait()
		// And the other way round: after the peer's end we still send.
		c, p = w.connect()
		w.ok(p.CloseWrite())
		w.wantEOF(c, 0)
		_, err = c.Write([]byte("answer"))
		w.ok(err)
		w.ok(closeConn(c))
		if got, err := io.ReadAll(p); string(got) != "answer" || err != nil {
			w.Errorf("the peer received %q, %v", got, err)
		}
	})
}

// A reset comes after the data that was received before it, and every time.
func TestReset(t *testing.T) {
	each(t, options{}, func(w *world) {
		c, p := w.connect()
		const size = 50_000
		w.ok(send(p, size))
		w.eventually("all is received", func() bool { return c.Queue().Buffered() == size })
		w.ok(p.SetLinger(0))
		w.ok(p.Close())
		for _, from := range []int64{0, size} {
			if got, err := w.receive(c, from); got != size || !errors.Is(err, syscall.ECONNRESET) {
				w.Errorf("received %d of %d bytes, then %v", got, size, err)
			}
		}
		for range 2 {
			if _, err := c.Write([]byte("x")); !errors.Is(err, syscall.ECONNRESET) {
				w.Errorf("Write after a reset: %v", err)
			}
		}
	})
}

// A writer that waits for space learns of the reset.
func TestResetWhileWriting(t *testing.T) {
	each(t, options{}, func(w *world) {
		c, p := w.connect()
		failed := make(chan error, 1)
		go func() { failed <- send(c, 1<<40) }()
		w.eventually("the writer waits", func() bool { return w.blockedWriting(c) })
		w.ok(p.SetLinger(0))
		w.ok(p.Close())
		if err := <-failed; !errors.Is(err, syscall.ECONNRESET) {
			w.Errorf("blocked Write after a reset: %v", err)
		}
	})
}

// Close is a reset when there is something that nobody took, be it in the queue
// or still in the kernel, and orderly otherwise.
func TestCloseWithUnreadData(t *testing.T) {
	each(t, options{}, func(w *world) {
		for _, tc := range []struct {
			name    string
			prepare func(c *conn, p *net.TCPConn)
			reset   bool
			dropped uint64
		}{
			{"nothing", func(*conn, *net.TCPConn) {}, false, 0},
			{"queued", func(c *conn, p *net.TCPConn) {
				w.ok(send(p, 1000))
				w.eventually("data is queued", func() bool { return c.queue.Buffered() == 1000 })
			}, true, 1000},
			{"taken in part", func(c *conn, p *net.TCPConn) {
				w.ok(send(p, 1000))
				iovs := make([]buf.Iov, 1)
				n, err := c.queue.Recv(iovs, 400)
				w.ok(err)
				w.giveBack(iovs[:n])
				w.eventually("data is queued", func() bool { return c.queue.Buffered() == 600 })
			}, true, 600},
			{"taken", func(c *conn, p *net.TCPConn) {
				w.ok(send(p, 1000))
				_, err := io.ReadFull(readerOf{c}, make([]byte, 1000))
				w.ok(err)
			}, false, 0},
		} {
			e, p := w.connect()
			c := e.(*conn)
			tc.prepare(c, p)
			before := w.stats().Drops["stream-bytes-unread-at-close"]
			w.ok(closeConn(c))
			w.ok(closeConn(c)) // again does nothing
			_, err := p.Read(make([]byte, 1))
			if tc.reset != errors.Is(err, syscall.ECONNRESET) || !tc.reset && err != io.EOF {
				w.Errorf("%s: the peer reads %v", tc.name, err)
			}
			if n := w.stats().Drops["stream-bytes-unread-at-close"] - before; n != tc.dropped {
				w.Errorf("%s: %d bytes dropped, want %d", tc.name, n, tc.dropped)
			}
		}
	})
}

type readerOf struct{ c *conn }

func (r readerOf) Read(p []byte) (int, error) { return r.c.queue.Read(p) }

// What was written is sent although Close follows at once; with a linger time of
// zero it is a reset.
func TestCloseSendsWhatWasWritten(t *testing.T) {
	each(t, options{}, func(w *world) {
		c, p := w.connect()
		w.ok(c.SetLinger(30)) // Close waits till all is sent
		wait := make(chan []byte, 1)
		go func() {
			b, err := io.ReadAll(p)
			if err != nil {
				w.Errorf("the peer reads: %v", err)
			}
			wait <- b
		}()
		const size = 1 << 20
		w.ok(send(c, size))
		w.ok(closeConn(c))
		if got := <-wait; len(got) != size || !bytes.Equal(got[:1<<16], at(0, 1<<16)) {
			w.Errorf("the peer received %d of %d bytes", len(got), size)
		}

		c, p = w.connect()
		w.ok(c.SetLinger(0))
		w.ok(closeConn(c))
		if _, err := p.Read(make([]byte, 1)); !errors.Is(err, syscall.ECONNRESET) {
			w.Errorf("the peer of a connection with linger 0 reads %v", err)
		}
	})
}

// Calls on a closed connection fail and do no harm.
func TestAfterClose(t *testing.T) {
	each(t, options{}, func(w *world) {
		c, _ := w.connect()
		local, remote := c.LocalAddr(), c.RemoteAddr()
		w.ok(c.SetNoDelay(false))
		w.ok(c.SetKeepAlive(true, time.Minute))
		w.ok(closeConn(c))
		for name, err := range map[string]error{
			"CloseWrite":   c.CloseWrite(),
			"SetLinger":    c.SetLinger(1),
			"SetNoDelay":   c.SetNoDelay(true),
			"SetKeepAlive": c.SetKeepAlive(true, time.Second),
			"Write":        second(c.Write([]byte("x"))),
			"empty Write":  second(c.Write(nil)),
			"Recv":         second(c.Queue().Recv(make([]buf.Iov, 1), 1)),
		} {
			if !errors.Is(err, net.ErrClosed) {
				w.Errorf("%s after Close: %v", name, err)
			}
		}
		if c.LocalAddr() != local || c.RemoteAddr() != remote {
			w.Errorf("addresses %v, %v after Close", c.LocalAddr(), c.RemoteAddr())
		}
	})
}

func second[T any](_ T, err error) error { return err }

func isReset(err error) bool { return errors.Is(err, syscall.ECONNRESET) }
