package mem

import (
	"math/bits"
	"sync/atomic"

	"github.com/zctap/zctap/internal/driver"
)

// A slot describes one frame in a queue. The sender writes it, and the
// receiver reads it between the two cursors' stores.
type slot struct {
	start   uint64 // of the frame in the stream of all bytes ever put
	len     int    // bytes
	gsoSize int
	check   driver.Checksum
}

// A queue carries frames one way: a ring of slots, and a ring of bytes in which
// the frames lie one after the other. One sender, one receiver, no lock. The rings'
// lengths are powers of two, so that finding a place takes no division; frames and
// bytes bound what is in them.
type queue struct {
	slots         []slot
	data          []byte
	frames, bytes uint64
	put           uint64 // bytes ever put; sender only

	tail atomic.Uint64 // frames ever put; the sender stores it
	head atomic.Uint64 // frames ever taken; the receiver stores it
	// short: the sender waits for room. The sender sets it, and the receiver
	// takes it back when it has made some.
	short atomic.Bool
}

func newQueue(frames, bytes int) *queue {
	return &queue{
		slots: make([]slot, powerOfTwo(frames)), data: make([]byte, powerOfTwo(bytes)),
		frames: uint64(frames), bytes: uint64(bytes),
	}
}

// powerOfTwo is the least one that is not below n, which is positive.
func powerOfTwo(n int) int { return 1 << bits.Len(uint(n-1)) }

func (q *queue) slot(n uint64) *slot { return &q.slots[n&uint64(len(q.slots)-1)] }

// room reports whether a frame of n bytes fits. Sender only.
func (q *queue) room(n int) bool {
	t := q.tail.Load()
	h := q.head.Load() // acquire: pairs with pop; what lay before is read
	if h == t {
		return uint64(n) <= q.bytes
	}
	return t-h < q.frames && q.put-q.slot(h).start+uint64(n) <= q.bytes
}

// roomOrNotice is room, and if there is none the receiver will wake the sender
// when it has taken something. Sender only.
func (q *queue) roomOrNotice(n int) bool {
	if q.room(n) {
		return true
	}
	q.short.Store(true)
	// Look once more: room that was made before the receiver could see the
	// flag would be noticed by nobody.
	if q.room(n) {
		q.short.Store(false)
		return true
	}
	return false
}

// push puts a frame for which there is room, and completes its checksum if
// complete is set. Sender only.
func (q *queue) push(f *driver.TxFrame, check driver.Checksum, gsoSize int, complete bool) {
	t := q.tail.Load()
	s := q.slot(t)
	*s = slot{start: q.put, len: f.Len(), gsoSize: gsoSize, check: check}
	q.write(f.Head)
	q.write(f.Payload[0])
	q.write(f.Payload[1])
	if complete {
		sum := checksum(f)
		at := s.start + uint64(f.CsumStart+f.CsumOffset)
		*q.at(at) = byte(sum >> 8)
		*q.at(at + 1) = byte(sum)
	}
	// Release: pairs with the load in front; slot and bytes come first.
	q.tail.Store(t + 1)
}

// at is the place of byte n of the stream.
func (q *queue) at(n uint64) *byte { return &q.data[q.index(n)] }

// index is the place of byte n of the stream in data.
func (q *queue) index(n uint64) uint64 { return n & uint64(len(q.data)-1) }

// write appends p to the ring of bytes.
func (q *queue) write(p []byte) {
	at := q.index(q.put)
	copy(q.data, p[copy(q.data[at:], p):])
	q.put += uint64(len(p))
}

// front is the oldest frame, nil if there is none. Receiver only; valid until
// pop.
func (q *queue) front() *slot {
	h := q.head.Load()
	if h == q.tail.Load() { // acquire: pairs with push
		return nil
	}
	return q.slot(h)
}

// read copies bytes of the frame s, from off on, to all of p, for which there
// are enough. Receiver only.
func (q *queue) read(s *slot, off int, p []byte) {
	at := q.index(s.start + uint64(off))
	copy(p[copy(p, q.data[at:]):], q.data)
}

// pop takes the oldest frame away. Receiver only.
func (q *queue) pop() {
	// Release: pairs with the load in room; the sender may overwrite from here.
	q.head.Store(q.head.Load() + 1)
}

// wantsRoom reports, once, that the sender waits for room. Receiver only.
func (q *queue) wantsRoom() bool { return q.short.Load() && q.short.Swap(false) }
