//go:build linux

package kernel

import (
	"bytes"
	"context"
	"io"
	"net"
	"net/netip"
	"sync"
	"testing"
)

func TestTransferBothWays(t *testing.T) {
	for _, size := range []int64{0, 1, 4095, 4096, 4097, 1 << 20, 8 << 20} {
		t.Run(sizeName(size), func(t *testing.T) {
			each(t, options{}, func(w *world) {
				c, p := w.connect()
				// There.
				wait := w.sender(p, size)
				// And back, at the same time.
				var back bytes.Buffer
				var wg sync.WaitGroup
				wg.Go(func() {
					if _, err := io.Copy(&back, p); err != nil {
						w.Errorf("the peer's receive: %v", err)
					}
				})
				waitBack := w.sender(c, min(size, 4<<20))
				w.wantEOF(c, size)
				wait()
				waitBack()
				wg.Wait()
				if int64(back.Len()) != min(size, 4<<20) {
					w.Errorf("the peer received %d bytes", back.Len())
				}
				for off := 0; off < back.Len(); {
					n := min(back.Len()-off, 1<<16)
					if !bytes.Equal(back.Bytes()[off:off+n], at(int64(off), n)) {
						w.Fatalf("the peer received wrong bytes in %d to %d", off, off+n)
					}
					off += n
				}
				s := w.stats()
				if w.copies && s.ZeroCopyBytes != 0 || s.CopiedBytes+s.ZeroCopyBytes != uint64(size) || s.SentBytes != uint64(min(size, 4<<20)) {
					w.Errorf("stats of %d bytes: %+v", size, s)
				}
				if s.Conns != 1 {
					w.Errorf("%d connections", s.Conns)
				}
			})
		})
	}
}

func sizeName(n int64) string {
	switch {
	case n >= 1<<20:
		return string(rune('0'+n>>20/10)) + string(rune('0'+n>>20%10)) + "MiB"
	case n == 0:
		return "empty"
	case n == 1:
		return "byte"
	case n < 4096:
		return "less-than-a-buffer"
	case n == 4096:
		return "a-buffer"
	}
	return "more-than-a-buffer"
}

// Regions of few or of large buffers work as any other.
func TestRegionShapes(t *testing.T) {
	for _, shape := range []struct {
		name string
		o    options
	}{
		{"one-buffer", options{buffers: 1}},
		{"two-buffers", options{buffers: 2}},
		{"seven-buffers", options{buffers: 7}},
		{"large-buffers", options{buffers: 16, size: 256 << 10}},
		{"one-held", options{maxHeld: 1}},
		{"mapped-ring-of-one", options{tune: func(t *tuning) { t.ringSize, t.perCall = 1, 1 }}},
	} {
		t.Run(shape.name, func(t *testing.T) {
			if shape.o.buffers == 1 {
				shape.o.options = func(o *Options) {
					if o.Backend == BackendZCRX {
						o.Backend, o.ZCRX = BackendReadv, ZCRXOptions{} // which needs one for the NIC and one for itself
					}
				}
			}
			each(t, shape.o, func(w *world) {
				c, p := w.connect()
				const size = 1<<20 + 1
				wait := w.sender(p, size)
				w.wantEOF(c, size)
				wait()
			})
		})
	}
}

// Two engines talk to each other, over IPv4 and IPv6, with the right addresses.
func TestDialListen(t *testing.T) {
	each(t, options{}, func(w *world) {
		for _, tc := range []struct {
			network string
			listen  netip.Addr
			dial    netip.Addr
		}{
			{"tcp", loopback4, loopback4},
			{"tcp", loopback6, loopback6},
			{"tcp4", netip.Addr{}, loopback4},
			{"tcp6", netip.Addr{}, loopback6},
			{"tcp", netip.Addr{}, loopback4},
			{"tcp", netip.Addr{}, loopback6},
			{"tcp", netip.IPv4Unspecified(), loopback6},
		} {
			n, err := w.Listen(tc.network, netip.AddrPortFrom(tc.listen, 0), 0)
			w.ok(err)
			d, err := w.Dial(context.Background(), "tcp", netip.AddrPort{}, netip.AddrPortFrom(tc.dial, n.Addr().Port()))
			w.ok(err)
			w.mind(d)
			a := w.accept(n)
			if d.LocalAddr() != a.RemoteAddr() || d.RemoteAddr() != a.LocalAddr() || d.RemoteAddr().Addr() != tc.dial {
				w.Errorf("%s: dialed %v to %v, accepted %v from %v", tc.network, d.LocalAddr(), d.RemoteAddr(), a.LocalAddr(), a.RemoteAddr())
			}
			wait := w.sender(d, 100_000)
			w.wantEOF(a, 100_000)
			wait()
			wait = w.sender(a, 100_000)
			w.wantEOF(d, 100_000)
			wait()
			w.ok(closeConn(a))
			w.ok(closeConn(d))
			w.ok(closeListener(n))
		}
		if s := w.stats(); s.Conns != 0 {
			w.Errorf("%d connections after they were closed", s.Conns)
		}
	})
}

// Many connections at once, each with its own stream, served by one goroutine
// through the completion queue.
func TestManyConnections(t *testing.T) {
	const conns, size = 200, 100_000
	each(t, options{}, func(w *world) {
		n := w.listen(0)
		n.Backlog().Arm(w.cq, 0)
		w.cq.SetDeadline(deadlineNow())
		var peers sync.WaitGroup
		for range conns {
			peers.Go(func() {
				p, err := net.Dial("tcp", n.Addr().String())
				if err != nil {
					w.Errorf("dial: %v", err)
					return
				}
				defer p.Close()
				if err := send(p, size); err != nil {
					w.Errorf("send: %v", err)
				}
				p.(*net.TCPConn).CloseWrite()
				// Stays until the other side has seen the end.
				io.Copy(io.Discard, p)
			})
		}
		r := newCompletions(w, n)
		for r.ended < conns {
			r.step()
		}
		for _, s := range r.streams {
			if s.off != size {
				w.Errorf("a connection ended after %d bytes", s.off)
			}
		}
		peers.Wait()
		s := w.stats()
		if got := s.CopiedBytes + s.ZeroCopyBytes; got != conns*size {
			w.Errorf("%d bytes counted, want %d", got, conns*size)
		}
		if s.Batches > s.Frames+conns {
			w.Errorf("%d batches of %d frames", s.Batches, s.Frames)
		}
	})
}

// Every byte that is taken with Read counts too.
func TestRead(t *testing.T) {
	each(t, options{}, func(w *world) {
		c, p := w.connect()
		const size = 300_001
		wait := w.sender(p, size)
		b := make([]byte, 1000)
		var off int64
		for {
			n, err := c.Queue().Read(b)
			if err == io.EOF {
				break
			}
			w.ok(err)
			if !bytes.Equal(b[:n], at(off, n)) {
				w.Fatalf("wrong bytes at %d", off)
			}
			off += int64(n)
		}
		wait()
		if off != size {
			w.Errorf("read %d of %d", off, size)
		}
	})
}
