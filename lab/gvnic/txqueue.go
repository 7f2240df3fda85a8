//go:build linux

package gvnic

import "time"

// A txQueue is a transmit queue: a ring of descriptors, and one of completions.
type txQueue struct {
	id    int
	block int // notification block

	ring, compl uint64 // guest addresses
	size, csize uint32 // entries

	head, tail uint32 // of the descriptors; the driver sets the tail
	next       uint32 // completion to write
	gen        uint32 // its generation bit
	failed     bool   // a ring is out of reach; the queue is dead until it is made anew

	chain  chain          // the packet whose descriptors are being fetched
	parked *parked        // a packet for which the wire had no room
	late   []lateComplete // completions that the fault keeps back, oldest first
	wrote  bool           // a completion, of which the driver has not been told
	stats  *TxStats
}

// parked is a packet that waits for room on the wire, and its last descriptor.
type parked struct {
	frame Frame
	last  txDesc
	head  uint32 // behind that
}

// lateComplete is a completion and its time.
type lateComplete struct {
	word uint32
	due  time.Time
}

// doorbell tells the queue that there are descriptors up to the tail.
func (q *txQueue) doorbell(d *Device, tail uint32) bool {
	q.stats.Doorbells++
	if tail >= q.size {
		return false
	}
	q.tail = tail
	q.run(d)
	return true
}

// run sends what is there, until the wire is full.
func (q *txQueue) run(d *Device) {
	defer q.tell(d)
	if q.parked != nil {
		p := q.parked
		if !q.send(d, p.frame) {
			return
		}
		q.parked = nil
		q.finish(d, p.last, p.head)
	}
	for q.head != q.tail && !q.failed {
		b, err := d.memory(q.ring+uint64(q.head)*txDescSize, txDescSize)
		if err != nil {
			q.fail(d, err)
			return
		}
		desc := readTxDesc([txDescSize]byte(b))
		q.head = (q.head + 1) & (q.size - 1)
		q.stats.Descriptors++
		if !q.take(d, desc) {
			return
		}
	}
}

// take adds a descriptor to the packet, and sends that if it is the last one.
// It reports false if the wire is full.
func (q *txQueue) take(d *Device, desc txDesc) bool {
	if desc.kind != txPacket {
		if !q.chain.context(desc) {
			q.stats.BadDescriptor++
		}
		return true
	}
	q.chain.add(desc, int(q.size))
	if !desc.end {
		return true
	}
	f, ok := q.gather(d)
	q.chain = chain{pieces: q.chain.pieces[:0]}
	if ok && !q.send(d, f) {
		q.stats.Stalls++
		q.parked = &parked{f, desc, q.head}
		return false
	}
	q.finish(d, desc, q.head)
	return true
}

// send puts a packet on the wire, and reports false if that is full.
func (q *txQueue) send(d *Device, f Frame) bool {
	if d.peer == nil || !d.linkUp(time.Now()) {
		q.stats.DropNoWire++
		return true
	}
	n, segments := len(f.Data), 0
	if f.SegmentSize > 0 {
		p := parse(f.Data, true)
		segments = (p.end - p.payload + f.SegmentSize - 1) / f.SegmentSize
	}
	partial := f.Checksum == Partial
	if !d.peer.Deliver(f) { // from here on its bytes are the peer's
		return false
	}
	q.stats.Frames++
	q.stats.Bytes += uint64(n)
	if segments > 0 {
		q.stats.Super++
		q.stats.Segments += uint64(segments)
	}
	if partial {
		q.stats.Checksums++
	}
	return true
}

// Kinds of completions (GVE_COMPL_TYPE_DQO).
const (
	complPacket     = 2
	complDescriptor = 4
)

// finish completes a packet whose last descriptor was desc, with head behind it.
func (q *txQueue) finish(d *Device, desc txDesc, head uint32) {
	if desc.event {
		q.completion(d, complDescriptor, uint16(head))
	}
	q.completion(d, complPacket, desc.tag)
}

// completion writes a completion (struct gve_tx_compl_desc), or keeps it for
// later. tag is the packet's, or the ring's head.
func (q *txQueue) completion(d *Device, kind uint32, tag uint16) {
	w := uint32(q.id)&0x7ff | kind<<11 | uint32(tag)<<16
	late := time.Duration(d.inject.faults.Late)
	if late == 0 && len(q.late) == 0 {
		q.write(d, w)
		return
	}
	if len(q.late) >= int(q.csize) { // the driver has made more than it may
		q.write(d, q.late[0].word)
		q.late = q.late[1:]
	}
	q.late = append(q.late, lateComplete{w, time.Now().Add(late)})
	nudge(d.wake) // for the worker's timer
}

// writeLate writes the completions whose time has come.
func (q *txQueue) writeLate(d *Device, now time.Time) {
	for len(q.late) > 0 && !now.Before(q.late[0].due) {
		q.write(d, q.late[0].word)
		q.late = q.late[1:]
	}
	q.tell(d)
}

// write writes a completion. The word with the generation bit is all of it.
func (q *txQueue) write(d *Device, w uint32) {
	if q.failed {
		return
	}
	if err := d.bus.Store32(q.compl+uint64(q.next)*txComplSize, w|q.gen<<15); err != nil {
		q.fail(d, err)
		return
	}
	q.stats.Completions++
	q.wrote = true
	if q.next = (q.next + 1) & (q.csize - 1); q.next == 0 {
		q.gen ^= 1
	}
}

// tell signals the driver if there are completions.
func (q *txQueue) tell(d *Device) {
	if q.wrote {
		q.wrote = false
		d.notify(q.block)
	}
}

// fail ends the queue: one of its rings is out of reach.
func (q *txQueue) fail(d *Device, err error) {
	q.failed = true
	q.stats.Failed++
	q.chain, q.parked, q.late = chain{}, nil, nil
	d.warn(q.stats.Failed, "TX queue fails", "id", q.id, "err", err)
}
