//go:build linux

package gvnic

import (
	"slices"
	"time"

	"github.com/zctap/zctap/internal/wire"
)

// An rxQueue is a receive queue: a ring of buffers that the driver has posted,
// and a ring of completions.
type rxQueue struct {
	id    int
	block int // notification block

	ring, compl uint64 // guest addresses
	size, csize uint32 // entries
	bufSize     int    // bytes of a buffer
	hdrSize     int    // bytes of a header buffer; 0: headers stay with the payload
	rsc         bool   // the driver wants packets put together

	head, tail uint32 // of the buffers; the driver sets the tail
	next       uint32 // completion to write
	gen        uint32 // its generation bit
	failed     bool   // a ring is out of reach; the queue is dead until it is made anew

	fifo  fifo // frames that wait for buffers
	stats *RxStats
	pages *payloadPages
}

// doorbell tells the queue that there are buffers up to the tail.
func (q *rxQueue) doorbell(d *Device, tail uint32) bool {
	q.stats.Doorbells++
	if tail >= q.size {
		return false
	}
	q.tail = tail
	q.drain(d, time.Now())
	return true
}

// available is how many buffers there are.
func (q *rxQueue) available() int { return int((q.tail - q.head) & (q.size - 1)) }

// coalesces reports whether the queue takes the super-frame f as one packet:
// the driver knows this for TCP only (gve_rx_dqo.c, gve_rx_complete_rsc).
func (q *rxQueue) coalesces(d *Device, f *rxFrame) bool {
	if !q.rsc || d.config.NoRSC || f.proto() != wire.ProtoTCP {
		return false
	}
	_, ok := newSuper(f.Frame)
	return ok && f.payload+f.SegmentSize <= d.config.MTU+overhead
}

// push puts a frame into the queue's memory, or drops it if that is full.
func (q *rxQueue) push(d *Device, f rxFrame) {
	if q.failed {
		q.stats.DropBadBuffer++
		return
	}
	if !q.fifo.room(&f, d.config.FIFO) {
		q.drain(d, time.Now()) // what came before it has not been given to the driver yet
		if !q.fifo.room(&f, d.config.FIFO) {
			q.stats.DropNoBuffers++
			return
		}
	}
	q.fifo.push(f)
}

// drain gives waiting frames to the driver while there are buffers for them.
func (q *rxQueue) drain(d *Device, now time.Time) {
	if d.inject.starving(now) {
		return
	}
	before := q.stats.Descriptors
	for q.fifo.len() > 0 && !q.failed && q.place(d) {
	}
	if q.stats.Descriptors != before {
		d.notify(q.block)
	}
	if q.failed {
		q.stats.DropBadBuffer += uint64(q.fifo.len())
		q.fifo = fifo{}
	}
}

// A fifo is the memory of a receive queue.
type fifo struct {
	frames []rxFrame
	first  int // index of the oldest
	bytes  int // that they take
}

// frameCost is what a frame takes beside its bytes: without it many small ones
// would take much more than a few large ones.
const frameCost = 256

func (r *rxFrame) cost() int { return len(r.Data) + frameCost }

// room reports whether r fits. A frame always has room in an empty fifo.
func (f *fifo) room(r *rxFrame, limit int) bool { return f.len() == 0 || f.bytes+r.cost() <= limit }

func (f *fifo) len() int        { return len(f.frames) - f.first }
func (f *fifo) front() *rxFrame { return &f.frames[f.first] }

func (f *fifo) push(r rxFrame) {
	f.frames = append(f.frames, r)
	f.bytes += r.cost()
}

// pop removes the oldest frame.
func (f *fifo) pop() {
	r := f.front()
	f.bytes -= r.cost()
	*r = rxFrame{} // for the collector
	f.first++
	switch {
	case f.first == len(f.frames):
		f.frames, f.first = f.frames[:0], 0
	case f.first >= 64 && f.first*2 >= len(f.frames):
		f.frames = slices.Delete(f.frames, 0, f.first)
		f.first = 0
	}
}

// replace puts a shorter frame in the place of the oldest.
func (f *fifo) replace(r rxFrame) {
	f.bytes += r.cost() - f.front().cost()
	*f.front() = r
}

// payloadPages are the guest page frames that a queue wrote packets to. There
// are no more of them than the guest has memory.
type payloadPages struct {
	set map[uint64]struct{}
	// over: the queue was made anew, and the pages are those of its predecessor
	// until it writes itself. A driver remakes a queue when a program lets go of it.
	over bool
}

const pageShift = 12

// add notes n bytes at addr.
func (p *payloadPages) add(addr uint64, n int) {
	if n == 0 {
		return
	}
	if p.set == nil || p.over {
		p.over = false
		p.set = make(map[uint64]struct{})
	}
	for page := addr >> pageShift; page <= (addr+uint64(n)-1)>>pageShift; page++ {
		p.set[page] = struct{}{}
	}
}

// sorted lists them in ascending order; not nil.
func (p *payloadPages) sorted() []uint64 {
	out := make([]uint64, 0, len(p.set))
	for page := range p.set {
		out = append(out, page)
	}
	slices.Sort(out)
	return out
}
