package enginetest

import (
	"errors"
	"io"
	"net"
	"runtime"
	"syscall"
	"time"

	"github.com/zctap/zctap"
)

// What would wait for the engine fails in its own thread, and the rest works.
func testHandlerCalls(f *fixture) {
	f.open(zctap.Config{})
	ln := f.listen()
	c, p := f.connect()
	other, _ := f.connect()
	packet, err := f.q.ListenPacket("udp", ":0")
	f.ok(err)
	done := make(chan struct{})
	h := f.handle(func(cqes []zctap.Completion) {
		defer close(done)
		_, err := f.q.Release(cqes[0].Iovs)
		f.noError("release", err)
		deadlock := func(what string, err error) {
			if !errors.Is(err, syscall.EDEADLK) {
				f.Errorf("%s in the handler: %v", what, err)
			}
		}
		_, err = f.q.Listen("tcp", ":0")
		deadlock("Listen", err)
		_, err = f.q.Dial("tcp", net.JoinHostPort(f.peer.Host(), "9"))
		deadlock("Dial", err)
		_, err = f.q.ListenPacket("udp", ":0")
		deadlock("ListenPacket", err)
		_, err = f.q.DialPacket("udp", net.JoinHostPort(f.peer.Host(), "9"))
		deadlock("DialPacket", err)
		_, err = ln.AcceptZC()
		deadlock("AcceptZC", err)
		_, err = other.RecvZC(make([]zctap.Iov, 1))
		deadlock("RecvZC", err)
		_, err = other.Read(make([]byte, 1))
		deadlock("Read", err)
		_, err = packet.RecvFromZC(make([]zctap.Iov, 1), make([]zctap.Datagram, 1))
		deadlock("RecvFromZC", err)
		_, _, err = packet.ReadFrom(make([]byte, 1))
		deadlock("ReadFrom", err)
		_, err = f.q.Wait(make([]zctap.Completion, 1))
		deadlock("Wait", err)
		deadlock("Queue.Close", f.q.Close())

		f.noError("SetNoDelay", other.SetNoDelay(false))
		f.noError("SetKeepAlive", other.SetKeepAlive(true, time.Minute))
		f.noError("SetUserTimeout", other.SetUserTimeout(time.Minute))
		f.noError("SetTrafficClass", other.SetTrafficClass(0))
		f.noError("SetLinger", other.SetLinger(0))
		f.noError("SetDeadline", other.SetDeadline(time.Time{}))
		if f.q.Stats().Conns < 2 {
			f.Error("Stats in the handler counts no connections")
		}
		f.noError("Arm", other.Arm(9))
		other.Disarm()
		f.noError("CloseWrite", other.CloseWrite())
		f.noError("Close of a connection", other.Close())
		f.noError("Close of a listener", ln.Close())
		f.noError("Close of a PacketConn", packet.Close())
		f.noError("Handle", f.q.Handle(nil))
	})
	f.ok(c.Arm(1))
	if _, err := f.q.Wait(make([]zctap.Completion, 1)); !errors.Is(err, syscall.EBUSY) {
		f.Errorf("Wait beside a handler: %v", err)
	}
	_, err = p.Write([]byte("x"))
	f.ok(err)
	f.await("the handler was called", done)
	f.eventually("the closed connection is gone", func() bool { return f.q.Stats().Conns == 1 })
	// It has ended itself.
	f.ok(p.(interface{ SetLinger(int) error }).SetLinger(0))
	f.ok(p.Close())
	if cqe := f.wait(); !errors.Is(cqe.Err(), syscall.ECONNRESET) {
		f.Errorf("Wait after the handler: %+v", cqe)
	}
	if n := h.calls.Load(); n != 1 {
		f.Errorf("the handler was called %d times", n)
	}
}

// Write takes what there is room for in a handler, which can't wait, and can't take turns
// with who does.
func testHandlerWrites(f *fixture) {
	f.open(zctap.Config{})
	c, p := f.connect()
	busy, slow := f.connect()
	// The test ends the Write that waits, and the other one does not wait.
	f.ok(busy.SetWriteDeadline(time.Time{}))
	f.ok(c.SetWriteDeadline(time.Time{}))
	chunk := f.bytes(0, 1<<20)
	taken := make(chan int64, 1)
	refused := make(chan error, 1)
	f.handle(func(cqes []zctap.Completion) {
		_, err := f.q.Release(cqes[0].Iovs)
		f.noError("release", err)
		n, err := busy.Write([]byte("x"))
		if n != 0 {
			f.Errorf("%d bytes went between another goroutine's", n)
		}
		refused <- err
		var sum int64
		for err = nil; err == nil; {
			at := sum % int64(len(chunk))
			n, err = c.Write(chunk[at:])
			sum += int64(n)
		}
		if !errors.Is(err, syscall.EAGAIN) {
			f.Errorf("Write without room: %v", err)
		}
		taken <- sum
	})
	blocked := make(chan error, 1)
	go func() {
		// More than there is room for: it is in this Write from the first byte on.
		for lots := make([]byte, 64<<20); ; {
			if _, err := busy.Write(lots); err != nil {
				blocked <- err
				return
			}
		}
	}()
	f.eventually("something is sent to who does not read", func() bool { return f.q.Stats().SentBytes > 0 })
	f.ok(c.Arm(1))
	_, err := p.Write([]byte("x"))
	f.ok(err)
	if err := <-refused; !errors.Is(err, syscall.EAGAIN) {
		f.Errorf("Write while another goroutine waits in it: %v", err)
	}
	sum := <-taken
	f.ok(c.CloseWrite())
	var off int64
	for buf := make([]byte, 1<<16); ; {
		n, err := patient{p}.Read(buf)
		for i := range n {
			if buf[i] != chunk[(off+int64(i))%int64(len(chunk))] {
				f.Fatalf("byte %d is wrong", off+int64(i))
			}
		}
		if off += int64(n); err == io.EOF {
			break
		}
		f.ok(err)
	}
	if off != sum {
		f.Errorf("%d bytes were taken, %d came", sum, off)
	}
	f.ok(slow.Close())
	f.ok(busy.Close())
	// By which of the two Closes it learns first.
	if err := <-blocked; !errors.Is(err, syscall.ECONNRESET) && !errors.Is(err, net.ErrClosed) {
		f.Errorf("the Write that waited: %v", err)
	}
}

// Close in a handler does not wait for another goroutine's, which waits for the engine.
func testHandlerClosesToo(f *fixture) {
	f.open(zctap.Config{})
	ln := f.listen()
	c, p := f.connect()
	packet, err := f.q.ListenPacket("udp", ":0")
	f.ok(err)
	all := []interface {
		Arm(userData uint64) error
		Close() error
	}{ln, c, packet}
	first := make(chan error, len(all))
	done := make(chan struct{})
	f.handle(func(cqes []zctap.Completion) {
		defer close(done)
		_, err := f.q.Release(cqes[0].Iovs)
		f.noError("release", err)
		for _, s := range all {
			go func() { first <- s.Close() }()
			for !errors.Is(s.Arm(1), net.ErrClosed) {
				runtime.Gosched()
			}
			// The other one is at it, and most of them wait for this thread.
			if err := s.Close(); !errors.Is(err, net.ErrClosed) {
				f.Errorf("the second Close of a %T: %v", s, err)
			}
		}
	})
	f.ok(c.Arm(1))
	_, err = p.Write([]byte("x"))
	f.ok(err)
	f.await("the handler has returned", done)
	for range all {
		f.noError("the first Close", <-first)
	}
	f.ok(f.q.Handle(nil))
}
