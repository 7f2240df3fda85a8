//go:build linux

package uring

import (
	"fmt"
	"slices"
	"sync/atomic"
)

// IFQ is an interface queue in the possession of a ring: an area that payload goes to, and the refill ring through which its
// buffers go back. It belongs to the thread that owns the ring, and ends with the ring's Close: there is no way to
// unregister it alone.
//
// The kernel frees the queue some time after Close, when the last exported descriptor and the last ring that
// imported it are closed too. It takes buffers that were not returned back then; the area's memory stays readable.
type IFQ struct {
	ops     IFQOps
	id      uint32
	areas   []int // sizes, by area id
	bufSize int
	marks   CQEFlags // that a completion with payload has: dataMarks
	rq      *RQ
	token   uint64
	// The statistics: shared, written by the kernel; nil if not asked for.
	copies, copiedBytes *uint64
}

// IFQOps is what stands behind an IFQ: the kernel's IORING_REGISTER_ZCRX_CTRL, or a test's.
type IFQOps interface {
	FlushRefill(id uint32) error
	Export(id uint32) (fd int, err error)
	ArmEvent(id uint32, event ZCRXEvents) error
	AddArea(id uint32, a Area) (token uint64, err error)
}

// ID returns the number by which requests name the queue (RecvZC). It is of this ring only.
func (q *IFQ) ID() uint32 { return q.id }

// AreaToken returns what the kernel adds to an offset in the area of the registration to name a place in it.
func (q *IFQ) AreaToken() uint64 { return q.token }

// Areas returns how many areas there are.
func (q *IFQ) Areas() int { return len(q.areas) }

// AreaSize returns the size of an area in bytes.
func (q *IFQ) AreaSize(id int) int { return q.areas[id] }

// BufferSize returns how much each buffer of the areas holds.
func (q *IFQ) BufferSize() int { return q.bufSize }

// Refill returns the refill ring, or nil if the IFQ was imported: then buffers go back through that of the IFQ that was
// exported.
func (q *IFQ) Refill() *RQ { return q.rq }

// Flush has the kernel consume the refill ring now. Without it, the kernel looks there only when the NIC has used up
// the buffers it was given, and without a device never. Linux 6.19; Have(ZCRXFlush) tells.
//
// The kernel stops at an entry that it can't make sense of, so Flush asks until the ring is empty or does not move. It
// looks at the refill ring's indices: nobody else may use that ring meanwhile.
func (q *IFQ) Flush() error {
	if q.ops == nil {
		return ErrClosed
	}
	if q.rq == nil {
		return q.ops.FlushRefill(q.id)
	}
	for left := q.rq.InFlight(); ; {
		if err := q.ops.FlushRefill(q.id); err != nil {
			return err
		}
		now := q.rq.InFlight()
		if now == 0 || now == left {
			return nil
		}
		left = now
	}
}

// Export returns a new descriptor, closed on exec, by which another ring can import the queue (Ring.ImportZCRX). The caller
// closes it; until then the queue stays bound, even if every ring is closed. Linux 6.19; Have(ZCRXExport) tells.
func (q *IFQ) Export() (fd int, err error) {
	if q.ops == nil {
		return -1, ErrClosed
	}
	return q.ops.Export(q.id)
}

// ArmEvent has one event told again that was told before. It fails with EINVAL if the event was not told since it was armed
// last.
func (q *IFQ) ArmEvent(event ZCRXEvents) error {
	if q.ops == nil {
		return ErrClosed
	}
	if _, ok := event.number(); !ok {
		return fmt.Errorf("uring: arm events %v: one at a time", event)
	}
	return q.ops.ArmEvent(q.id, event)
}

// AddArea gives the queue another area, of buffers of the same size, and returns its token; its id is the
// number of areas before (ZCData.Area). Linux 7.3; Have(ZCRXAddArea) tells.
func (q *IFQ) AddArea(a Area) (token uint64, err error) {
	if q.ops == nil {
		return 0, ErrClosed
	}
	if err := a.check(q.bufSize); err != nil {
		return 0, fmt.Errorf("uring: add an area: %w", err)
	}
	if token, err = q.ops.AddArea(q.id, a); err != nil {
		return 0, err
	}
	if int(token>>zcrxAreaShift) != len(q.areas) {
		return 0, fmt.Errorf("uring: the kernel numbers area %d, want %d", token>>zcrxAreaShift, len(q.areas))
	}
	q.areas = append(slices.Clip(q.areas), a.Len())
	return token, nil
}

// Stats reads what the kernel copied, zeros if that was not asked for (ZCRXConfig.Stats) or the ring is closed. Any
// thread may call it while the ring is not being closed.
func (q *IFQ) Stats() ZCRXStats {
	if q.copies == nil {
		return ZCRXStats{}
	}
	// The kernel stores each word whole, one after the other: the two may be of different moments.
	return ZCRXStats{Copies: atomic.LoadUint64(q.copies), CopiedBytes: atomic.LoadUint64(q.copiedBytes)}
}

// close forgets what belongs to the ring, and unmaps the refill ring if it is the kernel's.
func (q *IFQ) close() error {
	q.ops, q.copies, q.copiedBytes = nil, nil, nil
	if q.rq == nil {
		return nil
	}
	return q.rq.close()
}
