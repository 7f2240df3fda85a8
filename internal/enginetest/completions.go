package enginetest

import (
	"errors"
	"io"
	"sync"
	"syscall"

	"github.com/zctap/zctap"
)

// One goroutine serves very many connections: accepts, data and ends all come
// as completions.
func testCompletions(f *fixture) {
	f.open(zctap.Config{Buffers: 4096})
	ln := f.listen()
	const accept = 1 << 40
	f.ok(ln.Arm(accept))
	const perConn = 9001
	var wg sync.WaitGroup
	// Also when this fails: nobody reports an error behind the test's end, nor waits to be accepted.
	defer wg.Wait()
	defer ln.Close()
	const workers = 8
	for w := range workers {
		wg.Go(func() {
			for range (f.Conns - w + workers - 1) / workers {
				p, err := f.peer.Dial("tcp", f.addressOf(ln.Addr()))
				if err != nil {
					f.Errorf("dial: %v", err)
					return
				}
				f.Cleanup(func() { p.Close() })
				if _, err := io.Copy(patient{p}, f.pat.Reader(perConn)); err != nil {
					f.Errorf("write: %v", err)
				}
				if err := closeWrite(p); err != nil {
					f.Errorf("close: %v", err)
				}
			}
		})
	}
	type state struct {
		c   *zctap.Conn
		off int64
	}
	conns := map[uint64]*state{}
	cqes := make([]zctap.Completion, 32)
	for ended := 0; ended < f.Conns; {
		n, err := f.waitFor(cqes)
		f.ok(err)
		for i := range cqes[:n] {
			cqe := &cqes[i]
			if cqe.UserData == accept {
				if cqe.Conn == nil || cqe.Flags&zctap.More == 0 {
					f.Fatalf("an accept without connection or More: %+v", cqe)
				}
				id := uint64(len(conns) + 1)
				conns[id] = &state{c: cqe.Conn}
				f.ok(cqe.Conn.Arm(id))
				continue
			}
			s := conns[cqe.UserData]
			if s == nil || s.c == nil {
				f.Fatalf("a completion of nobody, or after the last one: %+v", cqe)
			}
			f.ok(cqe.Err())
			if cqe.Res == 0 {
				if cqe.Flags&zctap.More != 0 {
					f.Error("an end with More")
				}
				if s.off != perConn {
					f.Errorf("connection %d ended after %d bytes", cqe.UserData, s.off)
				}
				f.ok(s.c.Close())
				s.c = nil
				ended++
				continue
			}
			if cqe.Flags&zctap.More == 0 {
				f.Error("data without More")
			}
			before := s.off
			s.off = f.check(cqe.Iovs, s.off)
			if s.off-before != int64(cqe.Res) {
				f.Errorf("Res %d, iovs of %d bytes", cqe.Res, s.off-before)
			}
			f.release(cqe.Iovs)
		}
	}
}

// wait returns the next completion.
func (f *fixture) wait() zctap.Completion {
	f.Helper()
	cqe := make([]zctap.Completion, 1)
	_, err := f.waitFor(cqe)
	f.ok(err)
	return cqe[0]
}

func testCompletionEnds(f *fixture) {
	f.open(zctap.Config{})
	// Data that was there before Arm completes; a reset is the last completion.
	c, p := f.connect()
	_, err := p.Write([]byte("early"))
	f.ok(err)
	f.eventually("data is queued", func() bool { return f.q.Stats().ZeroCopyBytes+f.q.Stats().CopiedBytes >= 5 })
	f.ok(c.Arm(7))
	if cqe := f.wait(); cqe.UserData != 7 || cqe.Res != 5 || string(cqe.Iovs[0].Bytes()) != "early" {
		f.Errorf("data before Arm: %+v", cqe)
	} else {
		f.release(cqe.Iovs)
	}
	f.ok(p.(interface{ SetLinger(int) error }).SetLinger(0))
	f.ok(p.Close())
	cqe := f.wait()
	if !errors.Is(cqe.Err(), syscall.ECONNRESET) || cqe.Flags&zctap.More != 0 {
		f.Errorf("after a reset: %+v", cqe)
	}
	// An orderly end that was there before Arm, after data.
	c, p = f.connect()
	_, err = p.Write([]byte("bye"))
	f.ok(err)
	f.ok(closeWrite(p))
	f.ok(c.Arm(8))
	if cqe := f.wait(); cqe.Res != 3 {
		f.Errorf("data: %+v", cqe)
	} else {
		f.release(cqe.Iovs)
	}
	if cqe := f.wait(); cqe.UserData != 8 || cqe.Res != 0 || cqe.Flags&zctap.More != 0 {
		f.Errorf("end: %+v", cqe)
	}
	// After the last completion the connection can be received from again.
	if _, err := c.RecvZC(make([]zctap.Iov, 1)); err != io.EOF {
		f.Errorf("RecvZC after the last completion: %v", err)
	}
}

// The fill ring's notices: what was drained adds up, and running dry is told
// once an episode.
func testNotices(f *fixture) {
	f.open(zctap.Config{Buffers: 256, MaxHeld: 1 << 16})
	const fill = 99
	f.ok(f.q.ArmNotices(fill))
	if err := f.q.ArmNotices(fill); !errors.Is(err, syscall.EBUSY) {
		f.Errorf("second ArmNotices: %v", err)
	}
	// One that nobody takes, because they are disarmed, does not stand in the way of the next.
	other, op := f.connect()
	end := f.send(op, 2<<20)
	if n := f.receive(other, 8, 0); n != 2<<20 {
		f.Errorf("received %d bytes", n)
	}
	end()
	f.q.DisarmNotices()
	c, p := f.connect()
	f.ok(c.Arm(1))
	_, err := p.Write([]byte("x"))
	f.ok(err)
	cqe := f.wait()
	if cqe.UserData != 1 || cqe.Res != 1 {
		f.Errorf("%+v", cqe)
	}
	f.release(cqe.Iovs)
	f.ok(f.q.ArmNotices(fill))
	const size = 8 << 20
	wait := f.send(p, size)
	var off int64
	drained := 0
	cqes := make([]zctap.Completion, 4)
	for ended := false; !ended; {
		n, err := f.waitFor(cqes)
		f.ok(err)
		for i := range cqes[:n] {
			cqe := &cqes[i]
			switch {
			case cqe.UserData == fill:
				if cqe.Flags&(zctap.Notif|zctap.More) != zctap.Notif|zctap.More || cqe.Res == 0 && cqe.Flags&zctap.Empty == 0 {
					f.Fatalf("a notice without content: %+v", cqe)
				}
				drained += cqe.Res
			case cqe.Res == 0:
				ended = true
			default:
				f.ok(cqe.Err())
				off = f.check(cqe.Iovs, off)
				f.release(cqe.Iovs)
			}
		}
	}
	wait()
	if off != size {
		f.Errorf("received %d of %d", off, size)
	}
	if drained == 0 {
		f.Error("no notice of the fill ring's drain")
	}
}
