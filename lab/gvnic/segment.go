//go:build linux

package gvnic

import "github.com/zctap/zctap/internal/wire"

// minSegment is the least payload of a segment that the device cuts
// (GVE_TX_MIN_TSO_MSS_DQO), and bounds how many it makes of one frame.
const minSegment = 88

// maxHeader is the length in bytes of the longest headers of a super-frame
// (GVE_TX_MAX_HDR_SIZE_DQO).
const maxHeader = 255

// A super is a super-frame that can be cut into packets: TCP (TSO) or UDP (USO).
type super struct {
	Frame
	packet
	id uint16 // of the first segment, IPv4
}

// newSuper checks that f can be cut up.
func newSuper(f Frame) (super, bool) {
	s := super{Frame: f, packet: parse(f.Data, wire.Vouched)}
	proto := s.proto()
	if proto != wire.ProtoTCP && proto != wire.ProtoUDP ||
		s.payload > maxHeader || f.SegmentSize < minSegment || s.payload >= s.l3+s.ip.Len() {
		return s, false
	}
	s.end = s.l3 + s.ip.Len() // a UDP length may end it before IP's
	s.Data = f.Data[:s.end]
	s.id = uint16(s.ip.ID)
	return s, true
}

// segments is how many packets the super-frame stands for.
func (s *super) segments() int {
	return (s.end - s.payload + s.SegmentSize - 1) / s.SegmentSize
}

// cut makes the frame of n segments from segment i on: a packet, or a shorter
// super-frame. Its headers and checksums are those that a wire would carry.
func (s *super) cut(i, n int) Frame {
	from := s.payload + i*s.SegmentSize
	to := min(from+n*s.SegmentSize, s.end)
	b := make([]byte, s.payload+to-from)
	copy(b, s.Data[:s.payload])
	copy(b[s.payload:], s.Data[from:to])
	s.fixIP(b, i)
	p := s.packet
	p.end = len(b)
	p.ip.L4Len = len(b) - p.l4
	if p.ip.Proto == wire.ProtoTCP {
		s.fixTCP(b[s.l4:], from-s.payload, i > 0, to < s.end)
	} else {
		be.PutUint16(b[s.l4+4:], uint16(len(b)-s.l4))
	}
	complete(b, &p)
	f := Frame{Data: b, Checksum: Vouched}
	if to-from > s.SegmentSize {
		f.SegmentSize = s.SegmentSize
	}
	return f
}

// fixIP gives the IP header of b its length and identification.
func (s *super) fixIP(b []byte, i int) {
	ip := b[s.l3:]
	if s.ip.Version == 6 {
		be.PutUint16(ip[4:], uint16(len(ip)-wire.IPv6HeaderLen))
		return
	}
	be.PutUint16(ip[2:], uint16(len(ip)))
	be.PutUint16(ip[4:], s.id+uint16(i))
	ip[10], ip[11] = 0, 0
	var sum wire.Sum
	sum.Add(ip[:s.ip.L4Offset])
	be.PutUint16(ip[10:], sum.Checksum())
}

// fixTCP gives the TCP header h its place in the stream: off bytes from the
// first segment's. Only the first segment carries CWR (RFC 3168 section 6.1.2),
// and only the last one FIN and PSH.
func (s *super) fixTCP(h []byte, off int, notFirst, notLast bool) {
	be.PutUint32(h[4:], be.Uint32(h[4:])+uint32(off))
	if notFirst {
		h[13] &^= byte(wire.CWR)
	}
	if notLast {
		h[13] &^= byte(wire.FIN | wire.PSH)
	}
}

// segment cuts a super-frame into packets, and is a frame by itself otherwise.
// It reports false for a super-frame that can't be cut.
func (f Frame) segment() ([]Frame, bool) {
	if f.SegmentSize == 0 {
		return []Frame{f}, true
	}
	s, ok := newSuper(f)
	if !ok {
		return nil, false
	}
	out := make([]Frame, s.segments())
	for i := range out {
		out[i] = s.cut(i, 1)
	}
	return out, true
}
