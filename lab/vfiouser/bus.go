//go:build linux

package vfiouser

import (
	"fmt"
	"sync"
)

// A Bus is a device's way to the guest: its memory and its interrupts. It
// belongs to one client: each one that connects gives the device a new Bus.
// All methods but Do are called while the lock is held: by the Device's methods,
// which the server calls so, and by what runs in Do. The zero Bus has no guest.
type Bus struct {
	mu  sync.Mutex
	dma dmaTable
	irq vectors

	attached bool
	fault    error  // what ended the connection, if it was a fault in guest memory
	hangUp   func() // ends the connection; may be called more than once
}

// Do runs f with the lock held: how a device does something by itself. A fault
// in guest memory (the client truncated its file: SIGBUS) while f runs ends the
// connection and is returned as an ErrFault; it does not end the process. With
// the client gone f does not run, and the error is ErrDetached.
//
// A Device must not call Do from its own methods, nor wait in one of them for
// another goroutine that does: both wait for ever.
func (b *Bus) Do(f func() error) error {
	b.mu.Lock()
	defer b.mu.Unlock()
	if err := b.state(); err != nil {
		return err
	}
	return b.guard(f)
}

// state returns why the guest can't be reached, nil if it can.
func (b *Bus) state() error {
	if !b.attached {
		return ErrDetached
	}
	return b.fault
}

// Memory returns n bytes of guest memory at addr (an IO virtual address, with
// no IOMMU a guest physical one), valid until the lock is released, for the
// goroutine that holds it only. It fails with ErrAddress if any of them is not
// mapped, is mapped without a file descriptor, or if they span two mappings.
//
// The guest may write the memory at the same time: what is checked has to be
// copied first. Writing to what the client shares for reading only is a fault.
func (b *Bus) Memory(addr uint64, n int) ([]byte, error) {
	m, off, err := b.lookup(addr, n)
	if err != nil {
		return nil, err
	}
	end := off + uint64(n)
	return m.mem[off:end:end], nil
}

// Store32 stores v, little-endian, at the 4-byte aligned addr, after all that was written before:
// how a descriptor's generation bit is published to a guest that polls it. It
// fails with ErrAddress where Memory does, at another alignment, and at an
// address that the client shares for reading only.
func (b *Bus) Store32(addr uint64, v uint32) error {
	m, off, err := b.lookupWord(addr)
	if err != nil {
		return err
	}
	if !m.writable {
		return fmt.Errorf("%w: address %#x is read-only", ErrAddress, addr)
	}
	storeWord(m.mem, off, v)
	return nil
}

// Load32 is the counterpart: it loads the word at addr before all that is read
// after it.
func (b *Bus) Load32(addr uint64) (uint32, error) {
	m, off, err := b.lookupWord(addr)
	if err != nil {
		return 0, err
	}
	return loadWord(m.mem, off), nil
}

func (b *Bus) lookupWord(addr uint64) (*mapping, uint64, error) {
	if addr%4 != 0 {
		return nil, 0, fmt.Errorf("%w: address %#x is not a multiple of 4", ErrAddress, addr)
	}
	return b.lookup(addr, 4)
}

// lookup finds the mapping that holds n bytes at addr, and where in it.
func (b *Bus) lookup(addr uint64, n int) (m *mapping, off uint64, err error) {
	if err := b.state(); err != nil {
		return nil, 0, err
	}
	if n < 0 {
		return nil, 0, fmt.Errorf("%w: a length of %d", ErrAddress, n)
	}
	m = b.dma.find(addr, uint64(n))
	if m == nil || m.mem == nil {
		return nil, 0, fmt.Errorf("%w: %d bytes at address %#x", ErrAddress, n, addr)
	}
	return m, addr - m.addr, nil
}

// Interrupt signals MSI-X vector v, if the guest has set it up. It does not
// block: a signal that the guest has not yet seen stands for all that follow.
// That of a masked vector is kept, and sent when the vector is unmasked.
func (b *Bus) Interrupt(v int) {
	if b.attached {
		b.irq.signal(v)
	}
}

// release unmaps and closes all that the client gave. The lock is held, and the
// Bus is detached.
func (b *Bus) release() {
	b.dma.clear()
	b.irq.close()
}
