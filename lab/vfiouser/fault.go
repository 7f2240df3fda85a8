//go:build linux

package vfiouser

import (
	"fmt"
	"runtime"
	"runtime/debug"
)

// guard runs f, with the lock held, so that a fault in guest memory is an error.
//
// The client keeps the file behind its memory, and may shorten it at any time;
// an access to a page that is no more raises SIGBUS, which ends a process. The
// runtime can turn it into a panic of the goroutine at fault instead, which has
// the address in it. Whatever is not a fault in one of the mappings, such as a
// nil pointer or a slice index, is a bug of the device's: it stays a panic.
func (b *Bus) guard(f func() error) (err error) {
	before := debug.SetPanicOnFault(true)
	defer func() {
		debug.SetPanicOnFault(before)
		r := recover()
		if r == nil {
			return
		}
		// runtime/debug documents Addr for this panic.
		at, ok := r.(interface {
			runtime.Error
			Addr() uintptr
		})
		if !ok {
			panic(r)
		}
		addr, ok := b.dma.guestAddress(at.Addr())
		if !ok {
			panic(r)
		}
		err = fmt.Errorf("%w at address %#x: the client must keep the file that it shares as large as its mappings", ErrFault, addr)
		b.fault = err
		if b.hangUp != nil {
			b.hangUp()
		}
	}()
	return f()
}
