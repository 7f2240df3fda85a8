//go:build linux

package xdp

import "github.com/zctap/zctap/internal/buf"

// A place is where a buffer that the driver holds is.
type place uint8

const (
	elsewhere place = iota // not the driver's
	receiving              // in a fill ring, with the kernel, or in an RX ring
	idle                   // set apart for sending, and free
	sending                // in the TX ring, or with the kernel
)

// A ledger says where each buffer is that the driver holds a reference to. It
// is what makes the kernel's word about buffers safe to act upon: an address
// that comes back counts only for a buffer that went there and is not back yet.
type ledger struct {
	places []place // by buffer id
	shift  uint    // log2 of the buffer size
}

func newLedger(r *buf.Region) ledger {
	l := ledger{places: make([]place, r.Count())}
	for 1<<l.shift < r.BufferSize() {
		l.shift++
	}
	return l
}

// addr is the UMEM address of a buffer's first byte.
func (l *ledger) addr(id uint16) uint64 { return uint64(id) << l.shift }

// locate is the buffer of a UMEM address and the offset in it, if that buffer
// is at the place where it has to be.
func (l *ledger) locate(addr uint64, at place) (id uint16, off int, ok bool) {
	i := addr >> l.shift
	if i >= uint64(len(l.places)) || l.places[i] != at {
		return 0, 0, false
	}
	return uint16(i), int(addr - i<<l.shift), true
}

// clear puts every buffer back.
func (l *ledger) clear(p *buf.Pool) {
	for id, at := range l.places {
		if at != elsewhere {
			l.places[id] = elsewhere
			p.Put(uint16(id))
		}
	}
}
