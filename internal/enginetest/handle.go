package enginetest

import (
	"errors"
	"io"
	"net"
	"sync"
	"sync/atomic"
	"syscall"
	"time"

	"github.com/zctap/zctap"
)

// A handled is a queue's handler, of which every call is checked: one at a time, and
// on the engine's own threads. It must not end the test, whose goroutine it is not on.
type handled struct {
	*fixture
	inside  atomic.Bool
	calls   atomic.Int64
	mu      sync.Mutex
	threads map[int]bool
}

// handle has h take the queue's completions from now on.
func (f *fixture) handle(h func([]zctap.Completion)) *handled {
	f.Helper()
	s := &handled{fixture: f, threads: map[int]bool{}}
	f.ok(f.q.Handle(func(cqes []zctap.Completion) {
		if s.inside.Swap(true) {
			f.Error("the handler is called by two at once")
		}
		s.calls.Add(1)
		s.mu.Lock()
		s.threads[threadID()] = true
		s.mu.Unlock()
		h(cqes)
		s.inside.Store(false)
	}))
	return s
}

// checkThreads checks that the handler was called, and only on the engine's threads: as
// many as it has rings.
func (s *handled) checkThreads() {
	s.Helper()
	s.mu.Lock()
	defer s.mu.Unlock()
	if n := len(s.threads); n == 0 || n > max(1, s.Rings) {
		s.Errorf("the handler was called on %d threads, the engine has %d", n, max(1, s.Rings))
	}
}

// bytes is n bytes of the pattern from off on.
func (f *fixture) bytes(off int64, n int) []byte {
	b := make([]byte, n)
	f.pat.Fill(b, off)
	return b
}

// await waits for done.
func (f *fixture) await(what string, done <-chan struct{}) {
	f.Helper()
	select {
	case <-done:
	case <-time.After(patience):
		f.Fatalf("still not: %s", what)
	}
}

// checkHere is check for a handler, which must not end the test.
func (f *fixture) checkHere(iovs []zctap.Iov, off int64) int64 {
	for i := range iovs {
		b := iovs[i].Bytes()
		if bad := f.pat.Mismatches(b, off); bad != 0 || len(b) == 0 || cap(b) != len(b) {
			f.Errorf("%d of %d bytes (cap %d) are wrong at %d", bad, len(b), cap(b), off)
		}
		off += int64(len(b))
	}
	return off
}

func (f *fixture) noError(what string, err error) {
	if err != nil {
		f.Errorf("%s: %v", what, err)
	}
}

// A server that does everything in the handler: accepts, receives, sends back, closes.
func testHandlerEcho(f *fixture) {
	f.open(zctap.Config{Buffers: 4096})
	ln := f.listen()
	const accept, perConn = 1 << 40, 9001
	conns := min(f.Conns, 100)
	type state struct {
		c   *zctap.Conn
		off int64
	}
	var all []*state
	var ended int
	done := make(chan struct{})
	h := f.handle(func(cqes []zctap.Completion) {
		for i := range cqes {
			cqe := &cqes[i]
			if cqe.UserData == accept {
				all = append(all, &state{c: cqe.Conn})
				f.noError("arm", cqe.Conn.Arm(uint64(len(all)-1)))
				continue
			}
			s := all[cqe.UserData]
			f.noError("completion", cqe.Err())
			switch {
			case s.c == nil:
				f.Errorf("a completion after the last one: %+v", cqe)
			case cqe.Res == 0:
				if cqe.Flags&zctap.More != 0 || s.off != perConn {
					f.Errorf("an end after %d bytes: %+v", s.off, cqe)
				}
				f.noError("close", s.c.Close())
				s.c = nil
				if ended++; ended == conns {
					close(done)
				}
			default:
				s.off = f.checkHere(cqe.Iovs, s.off)
				for j := range cqe.Iovs {
					_, err := s.c.Write(cqe.Iovs[j].Bytes())
					f.noError("write", err)
				}
				_, err := f.q.Release(cqe.Iovs)
				f.noError("release", err)
			}
		}
	})
	f.ok(ln.Arm(accept))
	var wg sync.WaitGroup
	for range conns {
		wg.Go(func() { f.echoed(ln, perConn) })
	}
	wg.Wait()
	f.await("all connections have ended", done)
	h.checkThreads()
	f.eventually("the engine has let go of them", func() bool { return f.q.Stats().Conns == 0 })
}

// echoed sends n bytes to a server, which sends them back and closes.
func (f *fixture) echoed(ln *zctap.Listener, n int64) {
	p, err := f.peer.Dial("tcp", f.addressOf(ln.Addr()))
	if err != nil {
		f.Errorf("dial: %v", err)
		return
	}
	defer p.Close()
	_, err = io.Copy(patient{p}, f.pat.Reader(n))
	f.noError("write", err)
	f.noError("half close", closeWrite(p))
	got, err := io.ReadAll(patient{p})
	if err != nil || int64(len(got)) != n || f.pat.Mismatches(got, 0) != 0 {
		f.Errorf("%d bytes came back (%d wrong), %v", len(got), f.pat.Mismatches(got, 0), err)
	}
}

// Views outlive the handler, whose Completions do not: half are released by it, the
// others by another goroutine. Notices come to it, too.
func testHandlerReleases(f *fixture) {
	f.open(zctap.Config{Buffers: 256, MaxHeld: 1 << 16})
	c, p := f.connect()
	const size, notices = 8 << 20, 99
	type kept struct {
		iov zctap.Iov
		off int64
	}
	views := make(chan kept, 1<<16)
	var off int64
	drained := 0
	h := f.handle(func(cqes []zctap.Completion) {
		for i := range cqes {
			cqe := &cqes[i]
			f.noError("completion", cqe.Err())
			switch {
			case cqe.UserData == notices:
				drained += cqe.Res
				continue
			case cqe.Res == 0:
				close(views)
				continue
			}
			for j := range cqe.Iovs {
				n := int64(len(cqe.Iovs[j].Bytes()))
				if j%2 == 0 {
					views <- kept{iov: cqe.Iovs[j], off: off}
				} else {
					f.checkHere(cqe.Iovs[j:j+1], off)
					_, err := f.q.Release(cqe.Iovs[j : j+1])
					f.noError("release", err)
				}
				off += n
			}
			cqe.Iovs = nil // the queue's own: nothing comes of it
		}
	})
	f.ok(f.q.ArmNotices(notices))
	f.ok(c.Arm(1))
	wait := f.send(p, size)
	for v := range views {
		one := []zctap.Iov{v.iov}
		f.check(one, v.off)
		f.release(one)
	}
	wait()
	f.ok(f.q.Handle(nil)) // it does not run any more
	if off != size || drained == 0 {
		f.Errorf("received %d of %d; the fill ring's notices tell of %d", off, size, drained)
	}
	h.checkThreads()
}

// What is there before Arm completes, in the engine's thread; ends complete once.
func testHandlerEnds(f *fixture) {
	f.open(zctap.Config{})
	got := make(chan zctap.Completion, 16)
	var payload atomic.Value
	h := f.handle(func(cqes []zctap.Completion) {
		for _, cqe := range cqes {
			if len(cqe.Iovs) > 0 {
				payload.Store(string(cqe.Iovs[0].Bytes()))
				_, err := f.q.Release(cqe.Iovs)
				f.noError("release", err)
			}
			got <- cqe
		}
	})
	next := func() (c zctap.Completion) {
		f.Helper()
		select {
		case c = <-got:
		case <-time.After(patience):
			f.Fatal("no completion")
		}
		return c
	}
	c, p := f.connect()
	_, err := p.Write([]byte("early"))
	f.ok(err)
	f.eventually("data is queued", func() bool { return f.q.Stats().ZeroCopyBytes+f.q.Stats().CopiedBytes >= 5 })
	f.ok(c.Arm(7))
	if cqe := next(); cqe.UserData != 7 || cqe.Res != 5 || payload.Load() != "early" {
		f.Errorf("data before Arm: %+v", cqe)
	}
	f.ok(p.(interface{ SetLinger(int) error }).SetLinger(0))
	f.ok(p.Close())
	if cqe := next(); !errors.Is(cqe.Err(), syscall.ECONNRESET) || cqe.Flags&zctap.More != 0 {
		f.Errorf("after a reset: %+v", cqe)
	}
	c, p = f.connect()
	f.ok(closeWrite(p))
	f.ok(c.Arm(8))
	if cqe := next(); cqe.UserData != 8 || cqe.Res != 0 || cqe.Flags&zctap.More != 0 {
		f.Errorf("end: %+v", cqe)
	}
	// Nothing else came: neither is armed any more.
	f.ok(f.q.Handle(nil))
	if len(got) != 0 {
		f.Errorf("after the last completions: %+v", <-got)
	}
	h.checkThreads()
}

// The handler is put in and taken out while a stream comes: nothing is lost.
func testHandlerInTurn(f *fixture) {
	f.open(zctap.Config{})
	c, p := f.connect()
	f.ok(c.Arm(1))
	// Whoever waits is told.
	waited := make(chan error)
	go func() {
		_, err := f.q.Wait(make([]zctap.Completion, 1))
		waited <- err
	}()
	time.Sleep(10 * time.Millisecond) // most likely it waits by now; if not it is all the same
	f.handle(func([]zctap.Completion) { f.Error("a completion of nothing") })
	if err := <-waited; !errors.Is(err, syscall.EBUSY) {
		f.Errorf("Wait when a handler came: %v", err)
	}
	f.ok(f.q.Handle(nil))

	// A turn is granted three pieces at most, so that the stream can't end within a few turns,
	// however late the test is to end one.
	const piece, pieces = 256 << 10, 64
	const size = piece * pieces
	grants := make(chan struct{}, pieces+1) // the last one: for the end
	defer close(grants)
	grant := func() {
		select {
		case grants <- struct{}{}:
		default: // all are granted
		}
	}
	wait := f.sendFrom(p, &granted{r: f.pat.Reader(size), grants: grants, piece: piece})
	var off atomic.Int64
	var ended atomic.Bool
	take := func(cqes []zctap.Completion) {
		for i := range cqes {
			cqe := &cqes[i]
			f.noError("completion", cqe.Err())
			if cqe.Res == 0 && ended.Swap(true) {
				f.Error("two ends")
			}
			off.Store(f.checkHere(cqe.Iovs, off.Load()))
			_, err := f.q.Release(cqe.Iovs)
			f.noError("release", err)
		}
	}
	turns := 0
	cqes := make([]zctap.Completion, 1)
	for ; !ended.Load(); turns++ {
		grant()
		n, err := f.waitFor(cqes)
		f.ok(err)
		take(cqes[:n])
		h := f.handle(take)
		for calls := range int64(2) {
			grant()
			f.eventually("the handler is called", func() bool { return h.calls.Load() > calls || ended.Load() })
		}
		f.ok(f.q.Handle(nil))
	}
	wait()
	if off.Load() != size || turns <= pieces/3 {
		f.Errorf("received %d of %d in %d turns", off.Load(), size, turns)
	}
}

// granted reads from r, piece bytes for each grant; one more is for what follows.
type granted struct {
	r           io.Reader
	grants      <-chan struct{}
	piece, left int // bytes
}

func (g *granted) Read(b []byte) (int, error) {
	if g.left == 0 {
		if _, ok := <-g.grants; !ok {
			return 0, net.ErrClosed // the test has ended before
		}
		g.left = g.piece
	}
	n, err := g.r.Read(b[:min(len(b), g.left)])
	g.left -= n
	return n, err
}

// Queue.Close waits for the handler, which is not called again.
func testHandlerClose(f *fixture) {
	f.open(zctap.Config{})
	c, p := f.connect()
	entered := make(chan struct{})
	var once sync.Once
	var left, closed atomic.Bool
	leave := make(chan struct{})
	f.handle(func(cqes []zctap.Completion) {
		if closed.Load() {
			f.Error("the handler is called after Close")
		}
		once.Do(func() {
			close(entered)
			<-leave
			f.noError("close in the handler", c.Close())
			left.Store(true)
		})
		for i := range cqes {
			_, err := f.q.Release(cqes[i].Iovs)
			f.noError("release", err)
		}
	})
	f.ok(c.Arm(1))
	go func() {
		_, _ = io.Copy(writerOnly{p}, f.pat.Reader(1<<30)) // an error: the connection ends
	}()
	f.await("the handler was called", entered)
	time.AfterFunc(50*time.Millisecond, func() { close(leave) })
	f.ok(f.q.Close())
	closed.Store(true)
	if !left.Load() {
		f.Error("Close returned while the handler ran")
	}
	if n := f.q.Leaked(); n != 0 {
		f.Errorf("%d buffers leaked", n)
	}
	if err := f.q.Handle(func([]zctap.Completion) {}); !errors.Is(err, net.ErrClosed) {
		f.Errorf("Handle after Close: %v", err)
	}
	f.q, _ = f.Open(f, zctap.Config{})
}

// Datagrams are sent back by the handler.
func testHandlerDatagrams(f *fixture) {
	f.open(zctap.Config{})
	s, err := f.q.ListenPacket("udp", ":0")
	f.ok(err)
	const count = 200
	done := make(chan struct{})
	h := f.handle(func(cqes []zctap.Completion) {
		for i := range cqes {
			cqe := &cqes[i]
			f.noError("completion", cqe.Err())
			if cqe.Res == 0 {
				f.noError("close", s.Close())
				close(done)
				return
			}
			_, err := s.WriteToAddrPort(cqe.Iovs[0].Bytes(), cqe.Src)
			f.noError("write", err)
			_, err = f.q.Release(cqe.Iovs)
			f.noError("release", err)
		}
	})
	f.ok(s.Arm(1))
	p, err := f.peer.ListenPacket("udp")
	f.ok(err)
	defer p.Close()
	to, err := net.ResolveUDPAddr("udp", f.addressOf(s.LocalAddr()))
	f.ok(err)
	buf := make([]byte, 2048)
	for i := range count {
		msg := f.bytes(int64(i), 1+i)
		f.ok(p.SetDeadline(time.Now().Add(patience)))
		_, err := p.WriteTo(msg, to)
		f.ok(err)
		n, _, err := p.ReadFrom(buf)
		f.ok(err)
		if string(buf[:n]) != string(msg) {
			f.Fatalf("datagram %d came back wrong", i)
		}
	}
	_, err = p.WriteTo(nil, to)
	f.ok(err)
	f.await("the empty datagram is there", done)
	h.checkThreads()
}
