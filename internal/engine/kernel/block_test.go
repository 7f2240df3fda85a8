//go:build linux

package kernel

import (
	"context"
	"errors"
	"net"
	"net/netip"
	"os"
	"testing"
	"time"

	"github.com/zctap/zctap/internal/buf"
	"github.com/zctap/zctap/internal/engine"
	"github.com/zctap/zctap/internal/sockq"
)

// blockedWriting reports whether a Write of c waits for space.
func (w *world) blockedWriting(c engine.Conn) bool { return !c.(*conn).writable.Load() }

func TestDeadlines(t *testing.T) {
	each(t, options{}, func(w *world) {
		c, p := w.connect()
		past := time.Unix(1, 0)
		iovs := make([]buf.Iov, 1)

		c.Queue().SetDeadline(time.Now().Add(10 * time.Millisecond))
		if _, err := c.Queue().Recv(iovs, 1); !errors.Is(err, os.ErrDeadlineExceeded) {
			w.Errorf("Recv: %v", err)
		}
		// A deadline that has passed counts before data that is there.
		w.ok(send(p, 1))
		w.eventually("data is queued", func() bool { return c.Queue().Buffered() == 1 })
		if _, err := c.Queue().Recv(iovs, 1); !errors.Is(err, os.ErrDeadlineExceeded) {
			w.Errorf("Recv with data: %v", err)
		}
		c.Queue().SetDeadline(time.Time{})
		n, err := c.Queue().Recv(iovs, 1)
		w.ok(err)
		w.giveBack(iovs[:n])

		// Until the peer's and our buffers are full, then no further.
		c.SetWriteDeadline(time.Now().Add(200 * time.Millisecond))
		if err := send(c, 1<<40); !errors.Is(err, os.ErrDeadlineExceeded) {
			w.Errorf("Write: %v", err)
		}
		if n, err := c.Write([]byte("x")); n != 0 || !errors.Is(err, os.ErrDeadlineExceeded) {
			w.Errorf("another Write: %d, %v", n, err)
		}
		c.SetWriteDeadline(past)
		if _, err := c.Write(nil); !errors.Is(err, os.ErrDeadlineExceeded) {
			w.Errorf("empty Write: %v", err)
		}
		// A deadline that is set while somebody waits holds for him too.
		c.SetWriteDeadline(time.Time{})
		failed := make(chan error, 1)
		go func() { failed <- send(c, 1<<40) }()
		w.eventually("the writer waits", func() bool { return w.blockedWriting(c) })
		c.SetWriteDeadline(past)
		if err := <-failed; !errors.Is(err, os.ErrDeadlineExceeded) {
			w.Errorf("Write that waited: %v", err)
		}
		// And all goes on when there is space again: what was sent is whole.
		c.SetWriteDeadline(deadlineNow())
		sent := int64(w.stats().SentBytes)
		received := make(chan int64, 1)
		go func() {
			b := make([]byte, 1<<16)
			n := int64(0)
			for {
				k, err := p.Read(b)
				n += int64(k)
				if err != nil {
					received <- n
					return
				}
			}
		}()
		_, err = c.Write(make([]byte, 4<<20))
		w.ok(err)
		w.ok(c.CloseWrite())
		if got := <-received; got != sent+4<<20 {
			w.Errorf("the peer received %d of %d", got, sent+4<<20)
		}
	})
}

// Whoever waits when a thing is closed gets net.ErrClosed, be it the thing
// itself or its engine.
func TestCloseWhileBlocked(t *testing.T) {
	for _, whole := range []bool{false, true} {
		name := "socket"
		if whole {
			name = "engine"
		}
		t.Run(name, func(t *testing.T) {
			each(t, options{}, func(w *world) {
				c, p := w.connect()
				n := w.listen(0)
				u, err := w.ListenPacket("udp", netip.AddrPortFrom(loopback4, 0), netip.AddrPort{})
				w.ok(err)
				errs := map[string]chan error{}
				start := func(name string, f func() error) {
					ch := make(chan error, 1)
					errs[name] = ch
					go func() { ch <- f() }()
				}
				start("Recv", func() error { return second(c.Queue().Recv(make([]buf.Iov, 1), 1)) })
				start("Write", func() error { return send(c, 1<<40) })
				start("Accept", func() error { return second(n.Backlog().Accept()) })
				start("Recv of datagrams", func() error {
					_, _, err := u.Queue().Recv(make([]buf.Iov, 1), make([]sockq.Message, 1))
					return err
				})
				w.eventually("the writer waits", func() bool { return w.blockedWriting(c) })
				if whole {
					w.ok(w.Close())
				} else {
					w.ok(closeConn(c))
					w.ok(closeListener(n))
					u.Queue().Close()
					w.ok(u.Close())
				}
				for name, ch := range errs {
					if err := <-ch; !errors.Is(err, net.ErrClosed) {
						w.Errorf("%s: %v", name, err)
					}
				}
				_ = p
			})
		})
	}
}

// A closed engine refuses everything, and closing what it had does no harm.
func TestAfterEngineClose(t *testing.T) {
	each(t, options{}, func(w *world) {
		c, p := w.connect()
		held, q := w.connect()
		n := w.listen(0)
		waiting := w.peer(n)
		w.eventually("a connection waits", func() bool { return n.Backlog().Len() == 1 })
		u, err := w.ListenPacket("udp", netip.AddrPortFrom(loopback4, 0), netip.AddrPort{})
		w.ok(err)
		// Data in the queue, and data in the application's hands.
		w.ok(send(p, 100_000))
		w.ok(send(q, 5000))
		w.eventually("data is queued", func() bool { return c.Queue().Buffered() > 4096 && held.Queue().Buffered() == 5000 })
		iovs := make([]buf.Iov, 8)
		k, err := held.Queue().Recv(iovs, 1<<20)
		w.ok(err)

		w.ok(w.Close())
		w.ok(w.Close())
		census, err := w.pool.Census()
		w.ok(err)
		if census.Driver != 0 || census.Stack != 0 {
			w.Errorf("a closed engine keeps buffers: %+v", census)
		}
		w.check(iovs[:k], 0) // views stay valid
		w.giveBack(iovs[:k])
		for name, p := range map[string]*net.TCPConn{"connected": p, "held": q, "never accepted": waiting} {
			if _, err := p.Read(make([]byte, 1)); !isReset(err) {
				w.Errorf("the peer that was %s reads %v", name, err)
			}
		}
		local := netip.AddrPortFrom(loopback4, 0)
		for name, err := range map[string]error{
			"Listen":       second(w.Listen("tcp", local, 0)),
			"Dial":         second(w.Dial(context.Background(), "tcp", netip.AddrPort{}, n.Addr())),
			"ListenPacket": second(w.ListenPacket("udp", local, netip.AddrPort{})),
			"Write":        second(c.Write([]byte("x"))),
			"WriteTo":      second(u.WriteTo([]byte("x"), u.LocalAddr())),
		} {
			if err == nil || !errors.Is(err, net.ErrClosed) && name != "Dial" {
				w.Errorf("%s after Close: %v", name, err)
			}
		}
		w.ok(closeConn(c))
		w.ok(closeConn(held))
		w.ok(closeListener(n))
		w.ok(u.Close())
	})
}
