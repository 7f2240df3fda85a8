package buf

import (
	"fmt"
	"syscall"
)

// A BusyError reports kernel references that did not come back in time. The
// region's memory is kept: the RFC frees it here, under live references (patch
// 13 gives up after 10 s), which zctap must not repeat.
type BusyError struct {
	Region uint16
	Held   int // buffers with kernel references
}

// Unwrap makes a BusyError EBUSY to errors.Is.
func (e *BusyError) Unwrap() error { return syscall.EBUSY }

func (e *BusyError) Error() string {
	return fmt.Sprintf("buf: region %d: %d buffers are still in the driver or the stack; their memory is kept", e.Region, e.Held)
}

// Close stops allocation, for good (invariant 16: first of all). What is in the
// driver and the stack is theirs to Put. Idempotent. Engine only, or when the
// engine has stopped: an Alloc must not be under way.
func (p *Pool) Close() { p.state.CompareAndSwap(poolOpen, poolClosing) }

// Remove ends the pool if no kernel reference is out: true, and the region is
// freed as soon as the application has returned its last iov too, which Remove
// does not wait for (nor does the RFC). False: call again when OnReturn's
// function was called, or later. Close comes first; any goroutine.
func (p *Pool) Remove() bool {
	if p.state.Load() == poolOpen || p.kernelHeld() > 0 {
		return false
	}
	p.state.CompareAndSwap(poolClosing, poolRemoved)
	p.afterClose()
	return true
}

// Abandon is for a Remove that has waited long enough: it reports what is still
// held, as a *BusyError. The region stays, and is freed if everything comes back
// after all. Close comes first; any goroutine.
func (p *Pool) Abandon() error {
	if p.Remove() {
		return nil
	}
	held := p.kernelHeld()
	p.state.CompareAndSwap(poolClosing, poolRemoved)
	p.afterClose()
	if held == 0 {
		return nil
	}
	return &BusyError{Region: p.region.id, Held: held}
}

// afterClose frees the region when nothing refers to it any more.
func (p *Pool) afterClose() {
	if p.state.Load() == poolRemoved && p.Free()+p.FreeLent() == int(p.region.count) && p.state.CompareAndSwap(poolRemoved, poolFreed) {
		// An error of munmap would mean that the mapping was not ours.
		if err := p.region.Free(); err != nil {
			panic("buf: " + err.Error())
		}
	}
}

// kernelHeld counts the buffers with kernel references.
func (p *Pool) kernelHeld() (n int) {
	for i := range p.words {
		if kernelRefs(p.words[i].Load()) > 0 {
			n++
		}
	}
	return n
}
