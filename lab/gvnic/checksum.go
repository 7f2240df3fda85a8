//go:build linux

package gvnic

import (
	"hash/crc32"

	"github.com/zctap/zctap/internal/wire"
)

var castagnoli = crc32.MakeTable(crc32.Castagnoli)

// complete computes the transport checksum of data, which parse understood as
// p, into its header, and reports whether it knows how to.
func complete(data []byte, p *packet) bool {
	if p.l4 == 0 {
		return false
	}
	return wire.FillChecksum(data[p.l4:p.l3+p.ip.Len()], p.ip.Proto, p.ip.PseudoSum()) == nil
}

// transportOK reports whether the transport checksum of data is right. Of a
// protocol that the device knows no checksum of, it is.
func transportOK(data []byte, p *packet) bool {
	switch p.proto() {
	case wire.ProtoTCP, wire.ProtoUDP, wire.ProtoICMP, wire.ProtoICMPv6:
		return p.ip.VerifyL4(data[p.l3:p.end]) == wire.OK
	case protoSCTP:
		return sctpOK(data[p.l4:p.end])
	}
	return true
}

// sctpOK reports whether the CRC32c of an SCTP packet is right (RFC 9260
// section 6.8): over the packet with zeros for the checksum at byte 8, which is
// stored with its low byte first.
func sctpOK(b []byte) bool {
	sum := crc32.Update(0, castagnoli, b[:8])
	sum = crc32.Update(sum, castagnoli, make([]byte, 4))
	sum = crc32.Update(sum, castagnoli, b[sctpHeaderLen:])
	return sum == le.Uint32(b[8:])
}

// settle turns a frame into what a wire carries: checksums that were left to
// the device are computed. It reports false for a frame of which the device
// does not know how to. A super-frame gets the checksum of the whole.
func (f *Frame) settle() bool {
	if f.Checksum != Partial {
		return true
	}
	p := parse(f.Data, wire.Vouched)
	if !complete(f.Data, &p) {
		return false
	}
	f.Checksum = Vouched
	return true
}
