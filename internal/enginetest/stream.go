package enginetest

import (
	"bytes"
	"context"
	"errors"
	"io"
	"net"
	"syscall"
	"time"

	"github.com/zctap/zctap"
)

func testTransfer(f *fixture) {
	f.open(zctap.Config{})
	const size = 32 << 20
	c, p := f.connect()
	wait := f.send(p, size)
	if got := f.receive(c, 64, 0); got != size {
		f.Fatalf("received %d bytes of %d", got, size)
	}
	wait()
	s := f.q.Stats()
	if s.ZeroCopyBytes+s.CopiedBytes != size {
		f.Errorf("counted %d zero-copy and %d copied bytes of %d", s.ZeroCopyBytes, s.CopiedBytes, size)
	}
	if f.Copies && s.ZeroCopyBytes != 0 || !f.Copies && s.CopiedBytes > size/1000 {
		f.Errorf("%d zero-copy and %d copied bytes", s.ZeroCopyBytes, s.CopiedBytes)
	}
	// The other way.
	done := make(chan []byte)
	go func() {
		b, err := io.ReadAll(patient{p})
		if err != nil {
			f.Errorf("peer: %v", err)
		}
		done <- b
	}()
	if n, err := io.Copy(patient{c}, f.pat.Reader(size/4)); n != size/4 || err != nil {
		f.Fatalf("sent %d: %v", n, err)
	}
	f.ok(c.CloseWrite())
	if b := <-done; len(b) != size/4 || f.pat.Mismatches(b, 0) != 0 {
		f.Fatalf("peer received %d bytes, %d wrong", len(b), f.pat.Mismatches(b, 0))
	}
}

func testDial(f *fixture) {
	f.open(zctap.Config{})
	ln, err := f.peer.Listen("tcp")
	f.ok(err)
	defer ln.Close()
	c, err := f.q.Dial("tcp", ln.Addr().String())
	f.ok(err)
	defer c.Close()
	p, err := ln.Accept()
	f.ok(err)
	defer p.Close()
	if c.RemoteAddr().String() != p.LocalAddr().String() || c.LocalAddr().String() != p.RemoteAddr().String() {
		f.Errorf("addresses %v-%v and %v-%v", c.LocalAddr(), c.RemoteAddr(), p.LocalAddr(), p.RemoteAddr())
	}
	wait := f.send(p, 1<<20)
	if got := f.receive(c, 8, 0); got != 1<<20 {
		f.Errorf("received %d bytes", got)
	}
	wait()
}

func testDialRefused(f *fixture) {
	f.open(zctap.Config{})
	ln, err := f.peer.Listen("tcp")
	f.ok(err)
	addr := ln.Addr().String()
	f.ok(ln.Close())
	if _, err := f.q.Dial("tcp", addr); !errors.Is(err, syscall.ECONNREFUSED) {
		f.Errorf("dial of a closed port: %v, want ECONNREFUSED", err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	if _, err := f.q.DialContext(ctx, "tcp", addr); !errors.Is(err, context.Canceled) {
		f.Errorf("dial with a cancelled context: %v", err)
	}
	var oe *zctap.OpError
	if _, err := f.q.Dial("sctp", addr); !errors.As(err, &oe) || oe.Op != "dial" {
		f.Errorf("dial of an unknown network: %v", err)
	}
}

func testIovCounts(f *fixture) {
	f.open(zctap.Config{})
	for _, k := range []int{1, 2, 3, 7, 16, 63, 64} {
		c, p := f.connect()
		const size = 300_001
		wait := f.send(p, size)
		if got := f.receive(c, k, 0); got != size {
			f.Fatalf("%d iovs: received %d of %d", k, got, size)
		}
		wait()
		c.Close()
	}
}

func testReadLength(f *fixture) {
	f.open(zctap.Config{})
	c, p := f.connect()
	const size = 1 << 20
	wait := f.send(p, size)
	iovs := make([]zctap.Iov, 64)
	var off int64
	for limit := 1; ; limit = limit*3%70_001 + 1 {
		n, err := f.recv(c, iovs, limit)
		if err == io.EOF {
			break
		}
		f.ok(err)
		next := f.check(iovs[:n], off)
		if got := next - off; got > int64(limit) {
			f.Fatalf("%d bytes with a read length of %d", got, limit)
		}
		off = next
		f.release(iovs[:n])
	}
	if off != size {
		f.Errorf("received %d of %d", off, size)
	}
	wait()
}

// A fragment that is cut stays one buffer: each of its iovs keeps it, in any
// order of release.
func testPartialConsumption(f *fixture) {
	f.open(zctap.Config{})
	c, p := f.connect()
	msg := make([]byte, 1000)
	f.pat.Fill(msg, 0)
	_, err := p.Write(msg)
	f.ok(err)
	var all []zctap.Iov
	for off := int64(0); off < 1000; {
		var iov [1]zctap.Iov
		_, err := f.recv(c, iov[:], 100)
		f.ok(err)
		off = f.check(iov[:], off)
		all = append(all, iov[0])
	}
	if len(all) < 10 {
		f.Fatalf("%d iovs for 1000 bytes of at most 100", len(all))
	}
	for i := len(all) - 1; i >= 0; i-- {
		var off int64
		for j := range all[:i] {
			off += int64(all[j].Len())
		}
		f.check(all[i:i+1], off)
		f.release(all[i : i+1])
	}
}

func testBadArguments(f *fixture) {
	f.open(zctap.Config{})
	c, _ := f.connect()
	if _, err := c.RecvZC(nil); !errors.Is(err, syscall.EINVAL) {
		f.Errorf("RecvZC without iovs: %v", err)
	}
	if _, err := c.RecvZCMax(make([]zctap.Iov, 1), 0); !errors.Is(err, syscall.EINVAL) {
		f.Errorf("RecvZCMax of 0: %v", err)
	}
	if _, err := f.q.Wait(nil); !errors.Is(err, syscall.EINVAL) {
		f.Errorf("Wait without completions: %v", err)
	}
	if n, err := c.Read(nil); n != 0 || err != nil {
		f.Errorf("Read of nothing: %d, %v", n, err)
	}
}

// Read and RecvZC may be mixed, and views outlive later reads.
func testMixed(f *fixture) {
	f.open(zctap.Config{})
	c, p := f.connect()
	const size = 2 << 20
	wait := f.send(p, size)
	var held []zctap.Iov
	var heldAt []int64
	b := make([]byte, 3001)
	var off int64
	for i := 0; off < size; i++ {
		if i%2 == 0 {
			n, err := patient{c}.Read(b)
			f.ok(err)
			if bad := f.pat.Mismatches(b[:n], off); bad != 0 {
				f.Fatalf("%d bytes wrong at %d", bad, off)
			}
			off += int64(n)
			continue
		}
		var iov [1]zctap.Iov
		_, err := f.recv(c, iov[:], 5000)
		f.ok(err)
		next := f.check(iov[:], off)
		if i%16 == 1 {
			held, heldAt = append(held, iov[0]), append(heldAt, off)
		} else {
			f.release(iov[:])
		}
		off = next
	}
	wait()
	for i := range held {
		f.check(held[i:i+1], heldAt[i])
	}
	f.release(held)
	if f.q.Stats().ReadBytes == 0 {
		f.Error("Read's copies are not counted")
	}
}

// renewing is a writer of what is received from c, for whose next piece there is as much time as for
// the one before.
type renewing struct {
	io.Writer
	c *zctap.Conn
}

func (r renewing) Write(b []byte) (int, error) {
	if err := r.c.SetReadDeadline(time.Now().Add(patience)); err != nil {
		return 0, err
	}
	return r.Writer.Write(b)
}

func testWriteTo(f *fixture) {
	f.open(zctap.Config{})
	c, p := f.connect()
	const size = 4 << 20
	wait := f.send(p, size)
	var b bytes.Buffer
	n, err := io.Copy(renewing{&b, c}, c)
	if n != size || err != nil || f.pat.Mismatches(b.Bytes(), 0) != 0 {
		f.Errorf("copied %d bytes, %d wrong: %v", n, f.pat.Mismatches(b.Bytes(), 0), err)
	}
	wait()
	if f.q.Stats().ReadBytes != 0 {
		f.Error("WriteTo copied")
	}
}

func testEOF(f *fixture) {
	f.open(zctap.Config{})
	c, p := f.connect()
	f.send(p, 100_000)()
	if got := f.receive(c, 4, 0); got != 100_000 {
		f.Errorf("end after %d bytes", got)
	}
	for range 3 {
		if n, err := c.RecvZC(make([]zctap.Iov, 1)); n != 0 || err != io.EOF {
			f.Errorf("after the end: %d, %v", n, err)
		}
		if n, err := c.Read(make([]byte, 1)); n != 0 || err != io.EOF {
			f.Errorf("Read after the end: %d, %v", n, err)
		}
	}
}

func testHalfClose(f *fixture) {
	f.open(zctap.Config{})
	c, p := f.connect()
	// Our direction ends first; theirs goes on.
	_, err := c.Write([]byte("question"))
	f.ok(err)
	f.ok(c.CloseWrite())
	q, err := io.ReadAll(patient{p})
	if string(q) != "question" || err != nil {
		f.Fatalf("peer read %q, %v", q, err)
	}
	if _, err := c.Write([]byte("more")); !errors.Is(err, syscall.EPIPE) {
		f.Errorf("write after CloseWrite: %v, want EPIPE", err)
	}
	wait := f.send(p, 1<<20)
	if got := f.receive(c, 16, 0); got != 1<<20 {
		f.Errorf("received %d after the half close", got)
	}
	wait()
}

func testReset(f *fixture) {
	f.open(zctap.Config{})
	c, p := f.connect()
	f.ok(p.(interface{ SetLinger(int) error }).SetLinger(0))
	f.ok(p.Close())
	iovs := make([]zctap.Iov, 4)
	for range 2 {
		if _, err := c.RecvZC(iovs); !errors.Is(err, syscall.ECONNRESET) {
			f.Errorf("after a reset: %v, want ECONNRESET", err)
		}
	}
	f.eventually("writes fail after a reset", func() bool {
		_, err := c.Write([]byte("x"))
		return errors.Is(err, syscall.ECONNRESET) || errors.Is(err, syscall.EPIPE)
	})
}

func testDeadlines(f *fixture) {
	f.open(zctap.Config{})
	c, p := f.connect()
	iovs := make([]zctap.Iov, 4)
	timedOut := func(what string, err error) {
		f.Helper()
		var ne net.Error
		if !errors.As(err, &ne) || !ne.Timeout() {
			f.Errorf("%s: %v, want a time-out", what, err)
		}
	}
	f.ok(c.SetReadDeadline(time.Now().Add(-time.Second)))
	_, err := c.RecvZC(iovs)
	timedOut("a deadline in the past", err)
	f.ok(c.SetReadDeadline(time.Now().Add(20 * time.Millisecond)))
	_, err = c.RecvZC(iovs)
	timedOut("a deadline in the future", err)
	_, err = c.Read(make([]byte, 1))
	timedOut("Read", err)
	// Moved while somebody waits.
	f.ok(c.SetReadDeadline(time.Time{}))
	done := make(chan error)
	go func() {
		_, err := c.RecvZC(iovs)
		done <- err
	}()
	f.ok(c.SetReadDeadline(time.Now()))
	timedOut("a deadline set while waiting", <-done)
	// The connection goes on.
	f.ok(c.SetReadDeadline(time.Now().Add(patience)))
	_, err = p.Write([]byte("still"))
	f.ok(err)
	n, err := c.RecvZC(iovs)
	if n == 0 || err != nil || string(iovs[0].Bytes()) != "still" {
		f.Fatalf("after time-outs: %d, %v", n, err)
	}
	f.release(iovs[:n])

	ln := f.listen()
	f.ok(ln.SetDeadline(time.Now().Add(10 * time.Millisecond)))
	_, err = ln.Accept()
	timedOut("Accept", err)
	f.q.SetWaitDeadline(time.Now().Add(10 * time.Millisecond))
	_, err = f.q.Wait(make([]zctap.Completion, 1))
	timedOut("Wait", err)
	// A peer that does not read stops a writer in the end.
	f.ok(c.SetWriteDeadline(time.Now().Add(200 * time.Millisecond)))
	_, err = io.Copy(writerOnly{c}, f.pat.Reader(1<<30))
	timedOut("Write", err)
}

func testCloseWhileBlocked(f *fixture) {
	f.open(zctap.Config{})
	c, _ := f.connect()
	ln := f.listen()
	results := make(chan error, 4)
	go func() { _, err := c.RecvZC(make([]zctap.Iov, 1)); results <- err }()
	go func() { _, err := c.Read(make([]byte, 1)); results <- err }()
	go func() { _, err := ln.Accept(); results <- err }()
	go func() { _, err := io.Copy(writerOnly{c}, f.pat.Reader(1<<30)); results <- err }()
	time.Sleep(20 * time.Millisecond) // let them block: not needed for the result, but the harder case
	f.ok(c.Close())
	f.ok(ln.Close())
	for range 4 {
		select {
		case err := <-results:
			if !errors.Is(err, net.ErrClosed) {
				f.Errorf("a blocked call returned %v, want net.ErrClosed", err)
			}
		case <-time.After(patience):
			f.Fatal("a blocked call does not return")
		}
	}
	if err := c.Close(); !errors.Is(err, net.ErrClosed) {
		f.Errorf("second Close: %v", err)
	}
	if _, err := c.RecvZC(make([]zctap.Iov, 1)); !errors.Is(err, net.ErrClosed) {
		f.Errorf("RecvZC after Close: %v", err)
	}
	// The queue's own Close does the same to all.
	c2, _ := f.connect()
	go func() { _, err := c2.RecvZC(make([]zctap.Iov, 1)); results <- err }()
	go func() { _, err := f.q.Wait(make([]zctap.Completion, 1)); results <- err }()
	time.Sleep(20 * time.Millisecond)
	f.ok(f.q.Close())
	for range 2 {
		if err := <-results; !errors.Is(err, net.ErrClosed) {
			f.Errorf("a call blocked on a closed queue returned %v", err)
		}
	}
	f.q, _ = f.Open(f, zctap.Config{}) // for the fixture's own Close
}

func testCloseWithDataQueued(f *fixture) {
	f.open(zctap.Config{})
	c, p := f.connect()
	_, err := p.Write(make([]byte, 50_000))
	f.ok(err)
	iovs := make([]zctap.Iov, 2)
	n, err := c.RecvZC(iovs)
	f.ok(err)
	f.ok(c.Close())
	// The peer learns that its data was not read: a reset (RFC 2525, 2.17).
	f.eventually("the peer sees a reset", func() bool {
		_, err := p.Read(make([]byte, 1))
		return errors.Is(err, syscall.ECONNRESET) || errors.Is(err, io.EOF)
	})
	// Views outlive the connection and the queue.
	f.ok(f.q.Close())
	for i := range iovs[:n] {
		for _, b := range iovs[i].Bytes() {
			if b != 0 {
				f.Fatal("a view changed after Close")
			}
		}
	}
	f.release(iovs[:n])
	if n := f.q.Leaked(); n != 0 {
		f.Errorf("%d buffers leaked", n)
	}
	f.q, _ = f.Open(f, zctap.Config{})
}
