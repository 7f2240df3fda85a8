package enginetest

import (
	"errors"
	"sync"
	"syscall"

	"github.com/zctap/zctap"
	"github.com/zctap/zctap/internal/buf"
)

// Several goroutines give back what one receives, in any order.
func testReleaseElsewhere(f *fixture) {
	f.open(zctap.Config{})
	c, p := f.connect()
	driver := f.q.Leaked() // its own buffers, to receive into and to send from
	const size = 8 << 20
	wait := f.send(p, size)
	batches := make(chan []zctap.Iov, 8)
	var wg sync.WaitGroup
	for range 4 {
		wg.Go(func() {
			for b := range batches {
				if n, err := f.q.Release(b); n != len(b) || err != nil {
					f.Errorf("released %d of %d: %v", n, len(b), err)
				}
			}
		})
	}
	var off int64
	for off < size {
		iovs := make([]zctap.Iov, 16)
		n := f.some(c, iovs)
		off = f.check(iovs[:n], off)
		batches <- iovs[:n]
	}
	close(batches)
	wg.Wait()
	wait()
	if n := f.q.Leaked(); n > driver+256 {
		f.Errorf("%d buffers out after everything was released, %d at first", n, driver)
	}
}

func testReleaseRefused(f *fixture) {
	f.open(zctap.Config{})
	c, p := f.connect()
	_, err := p.Write(make([]byte, 100))
	f.ok(err)
	var iov [1]zctap.Iov
	_, err = f.recv(c, iov[:], 40)
	f.ok(err)
	kept := iov[0]
	f.release(iov[:])
	f.refused("an iov that Release has zeroed", iov[0])
	f.refused("a copy of a released iov", kept)

	// A second queue's iov, and one of ours given to it.
	other, err := zctap.Open(zctap.Config{Engine: zctap.Copy, Buffers: 64})
	f.ok(err)
	defer other.Close()
	f.some(c, iov[:])
	mine := iov[0]
	if n, err := other.Release(iov[:]); n != 0 || !errors.Is(err, syscall.EINVAL) {
		f.Errorf("another queue took our iov: %d, %v", n, err)
	}
	if iov[0].Len() != mine.Len() {
		f.Error("a refused iov was changed")
	}
	f.release(iov[:])
	f.refused("a copy of the last iov", mine)
	if got := f.q.Stats().RejectedReleases; !buf.Invariants && got != 3 {
		f.Errorf("%d rejected releases counted, want 3", got)
	}
}

// refused checks that releasing v fails and changes nothing; builds with
// invariants panic for a released iov.
func (f *fixture) refused(what string, v zctap.Iov) {
	f.Helper()
	free := f.q.Stats().FreeBuffers
	panicked := false
	var n int
	var err error
	func() {
		defer func() { panicked = recover() != nil }()
		n, err = f.q.Release([]zctap.Iov{v})
	}()
	if panicked {
		if !buf.Invariants {
			f.Errorf("%s: Release panicked", what)
		}
		return
	}
	if n != 0 || !errors.Is(err, syscall.EINVAL) {
		f.Errorf("%s: Release = %d, %v, want EINVAL", what, n, err)
	}
	if now := f.q.Stats().FreeBuffers; now > free {
		f.Errorf("%s: %d buffers free before, %d after", what, free, now)
	}
}

// Bytes named by an iov that is not returned never change, while the rest of a
// small region is received into many times over.
func testViewsNeverChange(f *fixture) {
	f.open(zctap.Config{Buffers: 512})
	c, p := f.connect()
	const size = 16 << 20
	wait := f.send(p, size)
	type kept struct {
		iov zctap.Iov
		off int64
	}
	var held []kept
	iovs := make([]zctap.Iov, 8)
	var off int64
	for round := 0; off < size; round++ {
		n := f.some(c, iovs)
		next := f.check(iovs[:n], off)
		if round%97 == 0 && len(held) < 64 {
			held = append(held, kept{iovs[0], off})
			f.release(iovs[1:n])
		} else {
			f.release(iovs[:n])
		}
		off = next
	}
	wait()
	for _, k := range held {
		f.check([]zctap.Iov{k.iov}, k.off)
		f.release([]zctap.Iov{k.iov})
	}
}
