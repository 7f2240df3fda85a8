//go:build linux

package gvnic

import (
	"time"

	"github.com/zctap/zctap/internal/wire"
)

// overhead is what a frame may have beside its IP packet: an Ethernet header
// with two VLAN tags, bytes.
const overhead = wire.EthernetHeaderLen + wire.MaxVLANTags*wire.VLANTagLen

// An rxFrame is a frame that the device has looked at.
type rxFrame struct {
	Frame
	packet
	badL4  bool   // its transport checksum is wrong
	hash   uint32 // RSS
	hashed bool   // there is one
}

// understand parses a frame from the wire, and has its checksums computed or
// looked at. Those of a super-frame are that of the whole.
func (d *Device) understand(f Frame) rxFrame {
	r := rxFrame{Frame: f, packet: parse(f.Data, wire.Trust(f.Checksum != Unverified))}
	switch f.Checksum {
	case Partial:
		// Of what it does not know the device says nothing.
		r.badL4 = r.l4 != 0 && !complete(f.Data, &r.packet)
	case Unverified:
		r.badL4 = !transportOK(f.Data, &r.packet)
	}
	r.hash, r.hashed = d.rss.hash(&r.packet)
	return r
}

// receive takes a frame from the wire to a queue's memory.
func (d *Device) receive(f Frame, now time.Time) {
	switch {
	case !d.linkUp(now):
		d.stats.DropLinkDown++
		return
	case d.res.blocks == 0:
		d.stats.DropNoDriver++
		return
	case len(f.Data) < wire.EthernetHeaderLen || len(f.Data) > maxFrame:
		d.stats.DropMalformed++
		return
	}
	r := d.understand(f)
	q := d.rx[d.steer(&r)]
	if q == nil {
		d.stats.DropNoQueue++
		return
	}
	if r.SegmentSize > 0 && r.payload > 0 && r.end-r.payload <= r.SegmentSize {
		r.SegmentSize = 0 // it is one packet
	}
	switch {
	case r.SegmentSize > 0 && q.coalesces(d, &r):
	case r.SegmentSize > 0:
		d.receiveCut(q, f, now)
		return
	case len(f.Data) > d.config.MTU+overhead:
		q.stats.DropTooLong++
		return
	}
	d.admit(q, r, now)
}

// receiveCut is receive for a super-frame that the device has to cut up.
func (d *Device) receiveCut(q *rxQueue, f Frame, now time.Time) {
	s, ok := newSuper(f)
	if !ok {
		d.stats.DropMalformed++
		return
	}
	if s.payload+s.SegmentSize > d.config.MTU+overhead {
		q.stats.DropTooLong += uint64(s.segments())
		return
	}
	q.stats.Cut++
	for i := range s.segments() {
		d.admit(q, d.understand(s.cut(i, 1)), now)
	}
}
