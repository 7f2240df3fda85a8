//go:build linux

package gvnic

import "github.com/zctap/zctap/internal/wire"

// Bits and fields of a completion (struct gve_rx_compl_desc_dqo).
const (
	rxErrorFlag = 1 << 2 // byte 1
	rxIPv6Ext   = 1 << 1

	rxGeneration = 14 // bit of the 16-bit word at byte 4; below it, the length
	rxCoalesced  = 1 << 10
	rxSplit      = 1 << 11 // of the word at byte 6; below them, the header's length

	rxDone     = 1 << 0 // byte 8
	rxEnd      = 1 << 1
	rxOverflow = 1 << 2
	rxL3L4     = 1 << 3
	rxBadIP    = 1 << 4
	rxBadL4    = 1 << 5
)

// maxSplitHeader is what the field for the header's length can tell of.
const maxSplitHeader = 1<<10 - 1

// A layout is how a frame is to lie in the driver's buffers.
type layout struct {
	split    bool
	overflow bool // the header does not fit its buffer
	header   int  // bytes
	buffers  int
}

// layout lays out f: the header by itself if the queue is so and the device
// knows where it ends, the rest in as many buffers as it takes, one at least.
func (q *rxQueue) layout(d *Device, f *rxFrame) (l layout) {
	n := len(f.Data)
	if q.hdrSize > 0 && f.payload > 0 && f.payload <= maxSplitHeader && !d.inject.faults.NoSplit {
		l.header = f.payload
		l.overflow = l.header > q.hdrSize
		l.split = !l.overflow
	}
	if l.split {
		n -= l.header
	}
	l.buffers = max(1, (n+q.bufSize-1)/q.bufSize)
	return l
}

// place gives the oldest waiting frame, or of a super-frame as much as there
// are buffers for, to the driver. It reports false if it has to wait.
func (q *rxQueue) place(d *Device) bool {
	f := q.fifo.front()
	l := q.layout(d, f)
	if l.buffers <= q.available() {
		q.write(d, f, l)
		q.fifo.pop()
		return true
	}
	if f.SegmentSize == 0 {
		if l.buffers >= int(q.size) { // there will never be so many
			q.stats.DropTooLong++
			q.fifo.pop()
			return true
		}
		return false
	}
	return q.placePart(d, f)
}

// placePart gives the driver the first packets of a super-frame, as RSC ends
// when it runs out of buffers. The rest waits.
func (q *rxQueue) placePart(d *Device, f *rxFrame) bool {
	s, ok := newSuper(f.Frame)
	if !ok {
		q.stats.DropTooLong++ // not reached: coalesces has looked at it
		q.fifo.pop()
		return true
	}
	n := q.available() * q.bufSize
	if l := q.layout(d, f); !l.split {
		n -= f.payload
	}
	n /= s.SegmentSize
	if n < 1 {
		if (f.payload+s.SegmentSize+q.bufSize-1)/q.bufSize >= int(q.size) {
			q.stats.DropTooLong++
			q.fifo.pop()
			return true
		}
		return false
	}
	part := d.understand(s.cut(0, n))
	rest := d.understand(s.cut(n, s.segments()-n))
	q.stats.Shortened++
	q.write(d, &part, q.layout(d, &part))
	q.fifo.replace(rest)
	return true
}

// An rxBuffer is what the driver posted (struct gve_rx_desc_dqo), and where it is.
type rxBuffer struct {
	id     uint16
	addr   uint64
	data   []byte
	header []byte
}

// write writes a frame to buffers, of which there are enough, and completes
// them. The frame is lost if one of them is not in memory.
func (q *rxQueue) write(d *Device, f *rxFrame, l layout) {
	rest := f.Data
	header := 0
	if l.split {
		header, rest = l.header, rest[l.header:]
	}
	bufs := make([]rxBuffer, 0, l.buffers)
	for n := len(rest); len(bufs) < l.buffers; n -= q.bufSize {
		b, ok := q.fetch(d, min(max(n, 0), q.bufSize), header)
		if q.failed {
			return
		}
		bufs = append(bufs, b)
		if !ok {
			q.reject(d, bufs)
			return
		}
		header = 0
	}
	if l.split {
		copy(bufs[0].header, f.Data[:l.header])
	}
	words := q.completion(d, f, l)
	for i := range bufs {
		n := copy(bufs[i].data, rest)
		rest = rest[n:]
		q.pages.add(bufs[i].addr, n)
		w := words
		le.PutUint16(w[12:], bufs[i].id)
		le.PutUint16(w[4:], uint16(n))
		if i > 0 {
			le.PutUint16(w[6:], le.Uint16(w[6:])&rxCoalesced) // the header came with the first
		}
		if i == len(bufs)-1 {
			w[8] |= rxEnd
		}
		if !q.complete(d, &w) {
			return
		}
	}
	q.count(d, f, l)
}

// fetch takes the next buffer from the ring, for n bytes of data and one of
// header. It is false, with the buffer's id, if they are not in memory.
func (q *rxQueue) fetch(d *Device, n, header int) (b rxBuffer, ok bool) {
	p, err := d.memory(q.ring+uint64(q.head)*rxDescSize, rxDescSize)
	if err != nil {
		q.fail(d, err)
		return b, false
	}
	desc := [rxDescSize]byte(p)
	q.head = (q.head + 1) & (q.size - 1)
	b.id, b.addr = le.Uint16(desc[0:]), le.Uint64(desc[8:])
	if b.data, err = d.memory(b.addr, n); err != nil {
		return b, false
	}
	if header > 0 {
		b.header, err = d.memory(le.Uint64(desc[16:]), header)
	}
	return b, err == nil
}

// fail ends the queue: one of its rings is out of reach.
func (q *rxQueue) fail(d *Device, err error) {
	q.failed = true
	q.stats.DropBadBuffer++
	d.warn(q.stats.DropBadBuffer, "RX queue fails", "id", q.id, "err", err)
}

// reject gives buffers back unused, the last of which is not in memory. The
// driver drops packets that are marked so.
func (q *rxQueue) reject(d *Device, bufs []rxBuffer) {
	q.stats.DropBadBuffer++
	for i := range bufs {
		w := [rxComplSize]byte{0: 1, 1: rxErrorFlag, 8: rxDone | rxEnd}
		le.PutUint16(w[12:], bufs[i].id)
		if !q.complete(d, &w) {
			return
		}
	}
}

// completion is what the completions of all of the frame's buffers have in
// common.
func (q *rxQueue) completion(d *Device, f *rxFrame, l layout) (w [rxComplSize]byte) {
	w[0] = 1 // the kind of descriptor
	if f.l3 > 0 && f.ip.Version == 6 && f.ip.L4Offset > wire.IPv6HeaderLen {
		w[1] |= rxIPv6Ext
	}
	le.PutUint16(w[2:], f.ptype())
	var h uint16
	if l.header > 0 {
		h = uint16(l.header) | rxSplit
	}
	if f.SegmentSize > 0 {
		h |= rxCoalesced
		le.PutUint16(w[14:], uint16(f.SegmentSize))
	}
	le.PutUint16(w[6:], h)
	w[8] = rxDone
	if l.overflow {
		w[8] |= rxOverflow
	}
	if f.l3 > 0 {
		w[8] |= rxL3L4
	}
	if f.badIP {
		w[8] |= rxBadIP
	}
	if f.badL4 {
		w[8] |= rxBadL4
	}
	le.PutUint32(w[16:], f.hash)
	return w
}

// complete writes one completion: the word with the generation bit last, for
// that is what the driver polls.
func (q *rxQueue) complete(d *Device, w *[rxComplSize]byte) bool {
	at := q.compl + uint64(q.next)*rxComplSize
	b, err := d.memory(at, rxComplSize)
	if err != nil {
		q.fail(d, err)
		return false
	}
	le.PutUint16(w[4:], le.Uint16(w[4:])|uint16(q.gen<<rxGeneration))
	copy(b[:4], w[:4])
	copy(b[8:], w[8:])
	if err := d.bus.Store32(at+4, le.Uint32(w[4:])); err != nil {
		q.fail(d, err)
		return false
	}
	q.stats.Descriptors++
	if q.next = (q.next + 1) & (q.csize - 1); q.next == 0 {
		q.gen ^= 1
	}
	return true
}

// count counts a frame that the driver has got.
func (q *rxQueue) count(d *Device, f *rxFrame, l layout) {
	s := q.stats
	s.Frames++
	s.Bytes += uint64(len(f.Data))
	switch {
	case l.split:
		s.Split++
		s.PayloadBytes += uint64(len(f.Data) - l.header)
	default:
		s.Unsplit++
		if l.overflow {
			s.Overflow++
		}
		if q.hdrSize > 0 && d.inject.faults.NoSplit {
			d.stats.Injected.Unsplit++
		}
	}
	if f.SegmentSize > 0 {
		s.Coalesced++
		s.Segments += uint64((f.end - f.payload + f.SegmentSize - 1) / f.SegmentSize)
	}
	if f.badL4 || f.badIP {
		s.BadChecksum++
	}
}
