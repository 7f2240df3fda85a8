package enginetest

import (
	"errors"
	"fmt"
	"io"
	"math"
	"net"
	"os"
	"sync"
	"time"

	"github.com/zctap/zctap"
)

// An application that holds everything it receives runs its region dry: the
// sender stalls, nothing is lost, and all goes on when buffers come back.
func testExhaustion(f *fixture) {
	f.open(zctap.Config{Buffers: 256, MaxHeld: 1 << 16})
	c, p := f.connect()
	const size = 4 << 20 // four times the region
	wait := f.send(p, size)
	var off int64
	iovs := make([]zctap.Iov, 64)
	for off < size {
		// Whatever was released, something comes; then take until nothing does.
		var held []zctap.Iov
		for soon := patience; off < size; soon = 20 * time.Millisecond {
			f.ok(c.SetReadDeadline(time.Now().Add(soon)))
			n, err := c.RecvZC(iovs)
			if len(held) > 0 && errors.Is(err, os.ErrDeadlineExceeded) {
				break
			}
			if err != nil {
				f.Fatalf("no progress at %d of %d: %v", off, size, err)
			}
			off = f.check(iovs[:n], off)
			held = append(held, iovs[:n]...)
		}
		f.release(held)
	}
	wait()
}

// A reader that takes nothing keeps its share of the buffers, not the others'.
func testSlowReader(f *fixture) {
	f.open(zctap.Config{Buffers: 1024})
	slow, ps := f.connect()
	fast, pf := f.connect()
	stop := make(chan struct{})
	var wg sync.WaitGroup
	wg.Go(func() {
		b := make([]byte, 64<<10)
		var off int64
		for {
			f.pat.Fill(b, off)
			n, err := ps.Write(b)
			off += int64(n)
			if err != nil {
				return // the deadline below, or the end of the test
			}
			select {
			case <-stop:
				return
			default:
			}
		}
	})
	var held []zctap.Iov
	iovs := make([]zctap.Iov, 64)
	// The slow one takes until its window closes, and keeps it all.
	for range 1000 {
		f.ok(slow.SetReadDeadline(time.Now().Add(100 * time.Millisecond)))
		n, err := slow.RecvZC(iovs)
		if err != nil {
			break
		}
		held = append(held, iovs[:n]...)
	}
	const size = 16 << 20
	wait := f.send(pf, size)
	if got := f.receive(fast, 64, 0); got != size {
		f.Errorf("the fast reader received %d of %d", got, size)
	}
	wait()
	f.check(held, 0)
	f.release(held)
	close(stop)
	f.ok(ps.SetWriteDeadline(time.Now()))
	wg.Wait()
}

// Very small messages don't cost a buffer each for long.
func testSmallMessages(f *fixture) {
	f.open(zctap.Config{Buffers: 256})
	c, p := f.connect()
	const size = 20_000
	done := make(chan error, 1)
	go func() {
		b := make([]byte, 1)
		for off := int64(0); off < size; off++ {
			f.pat.Fill(b, off)
			if _, err := (patient{p}).Write(b); err != nil {
				done <- err
				return
			}
		}
		done <- closeWrite(p)
	}()
	// Read nothing until everything is sent, or the sender stalls: either way
	// all of it arrives.
	select {
	case err := <-done:
		f.ok(err)
		done <- nil
	case <-time.After(time.Second):
	}
	iovs := make([]zctap.Iov, 64)
	var off int64
	for {
		n, err := f.recv(c, iovs, math.MaxInt)
		if err == io.EOF {
			break
		}
		f.ok(err)
		off = f.check(iovs[:n], off)
		f.release(iovs[:n])
	}
	if off != size {
		f.Errorf("received %d of %d", off, size)
	}
	f.ok(<-done)
}

// Many connections that live for one message.
func testShortConnections(f *fixture) {
	f.open(zctap.Config{Buffers: 1024})
	ln := f.listen()
	const workers = 8
	var wg sync.WaitGroup
	defer wg.Wait() // also when accepting fails: nobody reports an error behind the test's end
	for w := range workers {
		wg.Go(func() {
			for range (f.Conns - w + workers - 1) / workers {
				p, err := f.peer.Dial("tcp", f.addressOf(ln.Addr()))
				if err != nil {
					f.Errorf("dial: %v", err)
					return
				}
				err = f.roundTrip(p)
				p.Close()
				if err != nil {
					f.Errorf("%v", err)
					return
				}
			}
		})
	}
	for range f.Conns {
		c := f.accept(ln)
		wg.Go(func() {
			defer c.Close()
			if err := c.SetDeadline(time.Now().Add(patience)); err != nil {
				f.Errorf("deadline: %v", err)
			}
			if _, err := io.CopyN(writerOnly{c}, c, 100); err != nil {
				f.Errorf("echo: %v", err)
			}
			// The peer closes first, so that no reset overtakes the echo.
			if _, err := io.Copy(io.Discard, c); err != nil {
				f.Errorf("end: %v", err)
			}
		})
	}
}

// roundTrip sends a message to a peer that echoes it, and receives it.
func (f *fixture) roundTrip(p net.Conn) error {
	if err := p.SetDeadline(time.Now().Add(patience)); err != nil {
		return fmt.Errorf("deadline: %w", err)
	}
	b := make([]byte, 100)
	f.pat.Fill(b, 0)
	if _, err := p.Write(b); err != nil {
		return fmt.Errorf("write: %w", err)
	}
	if _, err := io.ReadFull(p, b); err != nil {
		return fmt.Errorf("echo: %w", err)
	}
	if wrong := f.pat.Mismatches(b, 0); wrong != 0 {
		return fmt.Errorf("echo: %d bytes are wrong", wrong)
	}
	return nil
}
