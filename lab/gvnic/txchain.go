//go:build linux

package gvnic

import "github.com/zctap/zctap/internal/wire"

// Kinds of descriptors (gve_desc_dqo.h).
const (
	txGeneral = 0x4 // metadata, of no use to the model
	txTSO     = 0x5
	txPacket  = 0xc
)

// A txDesc is a descriptor, of any kind.
type txDesc struct {
	kind  byte
	addr  uint64 // packet: guest address of the bytes
	size  int
	tag   uint16
	end   bool // the last one of its packet
	csum  bool // the checksum is the device's to do
	event bool // report when it has been fetched

	mss, header, total int // TSO: payload of a segment, length of the headers, payload of all
}

// readTxDesc reads a descriptor: struct gve_tx_pkt_desc_dqo, or one of the two
// contexts. All have their kind in byte 8.
func readTxDesc(b [txDescSize]byte) (t txDesc) {
	t.kind = b[8] & 0x1f
	switch t.kind {
	case txPacket:
		t.addr = le.Uint64(b[0:])
		t.end, t.csum, t.event = b[8]&(1<<5) != 0, b[8]&(1<<6) != 0, b[8]&(1<<7) != 0
		t.tag = le.Uint16(b[12:])
		t.size = int(le.Uint16(b[14:]) & 0x3fff)
	case txTSO:
		t.total = int(le.Uint32(b[0:]) & 0xffffff)
		t.mss = int(le.Uint16(b[4:]) & 0x3fff)
		t.header = int(b[6])
	}
	return t
}

// A chain is the descriptors of one packet, as far as they have been fetched.
// It is bounded: what is longer than a packet can be is not kept.
type chain struct {
	pieces []txDesc
	total  int  // bytes
	csum   bool // of any of them
	tso    *txDesc
	long   bool // too long, in bytes or descriptors
}

// context takes a context descriptor, and reports whether it is known. One in
// the middle of a packet is an error of the packet's, which gather finds.
func (c *chain) context(t txDesc) bool {
	switch t.kind {
	case txTSO:
		c.tso = &t
	case txGeneral:
	default:
		return false
	}
	return true
}

// add takes a packet descriptor; a packet has at most limit.
func (c *chain) add(t txDesc, limit int) {
	c.total += t.size
	c.csum = c.csum || t.csum
	if c.total > maxFrame || len(c.pieces) >= limit {
		c.long = true
		c.total = maxFrame + 1 // it grows no more
		return
	}
	c.pieces = append(c.pieces, t)
}

// gather reads the chain's packet from guest memory. It is false, and counted,
// for one that can't be sent.
func (q *txQueue) gather(d *Device) (f Frame, ok bool) {
	c := &q.chain
	switch {
	case c.long, c.tso == nil && c.total > d.config.MTU+overhead:
		q.stats.DropTooLong++
		return f, false
	case c.total < wire.EthernetHeaderLen:
		q.stats.DropMalformed++
		return f, false
	}
	f.Data = make([]byte, 0, c.total)
	for i := range c.pieces {
		b, err := d.memory(c.pieces[i].addr, c.pieces[i].size)
		if err != nil {
			q.stats.DropBadBuffer++
			d.config.Log.Debug("TX buffer out of reach", "queue", q.id, "err", err)
			return f, false
		}
		f.Data = append(f.Data, b...)
	}
	if c.csum {
		f.Checksum = Partial
	}
	if c.tso != nil && !f.superFrame(c.tso, d.config.MTU) {
		q.stats.DropMalformed++
		return f, false
	}
	return f, true
}

// superFrame makes f the super-frame that t describes, and reports whether the
// frame is as t says: TCP or UDP with headers and payload of these lengths, and
// segments that the device's MTU has room for.
func (f *Frame) superFrame(t *txDesc, mtu int) bool {
	f.SegmentSize = t.mss
	f.Checksum = Partial
	s, ok := newSuper(*f)
	return ok && s.payload == t.header && s.end == len(f.Data) && s.end-s.payload == t.total &&
		s.payload+t.mss <= mtu+overhead
}
