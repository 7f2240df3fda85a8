//go:build linux

package kernel

import (
	"errors"
	"io"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/zctap/zctap/internal/buf"
	"github.com/zctap/zctap/internal/engine"
	"github.com/zctap/zctap/internal/sockq"
)

// An echo is a handler that accepts, sends back and closes.
type echo struct {
	w     *world
	ln    engine.Listener
	conns []engine.Conn
	iovs  []buf.Iov
	ended atomic.Int32
}

// visit accepts.
func (e *echo) visit(s *sockq.Source) (again, more bool) {
	if s.UserData() == 0 {
		c, ok, more, err := e.ln.Backlog().Poll()
		if !ok || err != nil {
			return false, true
		}
		e.conns = append(e.conns, c)
		c.Queue().Arm(e.w.cq, uint64(len(e.conns)))
		c.Queue().Raise()
		return more, true
	}
	return false, true
}

// A connection that is closed in the handler, on whichever loop's thread that is, is gone
// soon, with its socket closed and its buffers back; a Write that would wait does not.
func TestHandlerCloses(t *testing.T) {
	each(t, options{}, func(w *world) {
		const conns, size = 20, 30_000
		e := &echo{w: w, ln: w.listen(0), iovs: make([]buf.Iov, 64)}
		todo := map[*sockq.Source]bool{}
		w.ok(w.cq.Handle(&sockq.Handler{
			Visit: func(s *sockq.Source) (again, more bool) {
				if s.UserData() > 0 {
					todo[s] = true
				}
				return e.visit(s)
			},
			Deliver: func() {
				for s := range todo {
					delete(todo, s)
					e.serve(e.conns[s.UserData()-1])
				}
			},
		}))
		e.ln.Backlog().Arm(w.cq, 0)
		var wg sync.WaitGroup
		for range conns {
			p := w.peer(e.ln)
			wg.Go(func() {
				if err := send(p, size); err != nil {
					w.Errorf("send: %v", err)
				}
				if err := p.CloseWrite(); err != nil {
					w.Errorf("close: %v", err)
				}
				if got, err := io.ReadAll(p); err != nil || string(got) != string(at(0, size)) {
					w.Errorf("%d bytes came back, or wrong ones: %v", len(got), err)
				}
			})
		}
		wg.Wait()
		w.eventually("all connections are gone", func() bool { return w.stats().Conns == 0 })
		if n := e.ended.Load(); n != conns {
			w.Errorf("%d of %d connections have ended", n, conns)
		}
		w.ok(w.cq.Handle(nil))
	})
}

// serve sends back what has come from c, and closes it at its end.
func (e *echo) serve(c engine.Conn) {
	for {
		n, _, _, err := c.Queue().Poll(e.iovs, 1<<30)
		for i := range e.iovs[:n] {
			if _, err := c.Write(e.iovs[i].Bytes()); err != nil {
				e.w.Errorf("write: %v", err)
			}
		}
		e.w.pool.ReturnHere(e.iovs[:n])
		if n > 0 {
			continue
		}
		if err == io.EOF && c.Queue().Disarm() {
			e.ended.Add(1)
			if err := closeConn(c); err != nil {
				e.w.Errorf("close: %v", err)
			}
		}
		return
	}
}

// A connection that lingers, and is closed in the handler with bytes that its peer does not
// take, does not keep the loop.
func TestHandlerClosesWhatLingers(t *testing.T) {
	each(t, options{}, func(w *world) {
		c, p := w.connect()
		w.ok(p.SetReadBuffer(4096))
		w.ok(c.SetLinger(2 * int(patience/time.Second)))
		var calls atomic.Int32
		w.ok(w.cq.Handle(&sockq.Handler{
			Visit: func(*sockq.Source) (again, more bool) { return false, true },
			Deliver: func() {
				if calls.Add(1) > 1 {
					return
				}
				var err error
				for err == nil {
					_, err = c.Write(at(0, 1<<16))
				}
				if !errors.Is(err, syscall.EAGAIN) {
					w.Errorf("write: %v", err)
				}
				if err := closeConn(c); err != nil {
					w.Errorf("close: %v", err)
				}
			},
		}))
		var s sockq.Source
		s.Arm(w.cq, 1)
		raise := func() {
			s.Raise()
			w.cq.Nudge()
		}
		raise()
		w.eventually("the connection is gone", func() bool { return w.stats().Conns == 0 })
		for range 3 {
			before := calls.Load()
			raise()
			w.eventually("the handler is called again", func() bool { return calls.Load() > before })
		}
		w.ok(w.cq.Handle(nil))
	})
}

// Without room a handler's Write fails, and goes on when there is some.
func TestHandlerWritesWhatFits(t *testing.T) {
	each(t, options{}, func(w *world) {
		c, p := w.connect()
		var taken atomic.Int64
		var refused atomic.Int32
		w.ok(w.cq.Handle(&sockq.Handler{
			Visit: func(*sockq.Source) (again, more bool) { return false, true },
			Deliver: func() {
				for {
					n, err := c.Write(at(taken.Load()%period, 1<<16))
					taken.Add(int64(n))
					if errors.Is(err, syscall.EAGAIN) {
						refused.Add(1)
						return
					}
					if err != nil {
						w.Errorf("write: %v", err)
						return
					}
				}
			},
		}))
		var s sockq.Source
		s.Arm(w.cq, 1)
		again := func() {
			before := refused.Load()
			s.Raise()
			w.cq.Nudge()
			w.eventually("the handler has written", func() bool { return refused.Load() > before })
		}
		b := make([]byte, 1<<20)
		var got int64
		for turn := range 3 {
			before := taken.Load()
			// The loop may still have to learn that there is room again.
			w.eventually("something was taken", func() bool { again(); return taken.Load() > before })
			for got < taken.Load() {
				n, err := p.Read(b[:min(int64(len(b)), taken.Load()-got)])
				w.ok(err)
				for i := range n {
					if b[i] != stream[(got+int64(i))%period] {
						w.Fatalf("byte %d is wrong", got+int64(i))
					}
				}
				got += int64(n)
			}
			if got == 0 {
				w.Fatalf("turn %d: nothing came", turn)
			}
		}
		w.ok(w.cq.Handle(nil))
	})
}
