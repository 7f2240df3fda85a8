//go:build linux

package gvnic

import (
	"encoding/binary"

	"github.com/zctap/zctap/internal/wire"
)

var (
	be = binary.BigEndian
	le = binary.LittleEndian
)

// Protocol numbers that package wire has no use for.
const (
	protoESP  = 50
	protoAH   = 51
	protoSCTP = 132
)

const sctpHeaderLen = 12

// A packet is what the device's parser finds in a frame. Offsets are in bytes
// from the frame's start.
type packet struct {
	ip       wire.Packet // valid if l3 is not 0
	l3       int         // the IP header; 0 if there is none that makes sense
	l4       int         // the header behind it; 0 if it is not known or not whole
	payload  int         // what follows l4's header, for TCP and UDP
	end      int         // of the packet; behind it is padding
	src, dst uint16      // ports
	spi      uint32      // of AH and ESP
	badIP    bool        // the checksum of the IPv4 header is wrong
}

// parse looks at a frame's headers. trust says whether IPv4's header checksum
// is known to be right.
func parse(data []byte, trust wire.Trust) (p packet) {
	p.end = len(data)
	var e wire.Ethernet
	if wire.ParseEthernet(data, len(data), &e) != wire.OK ||
		e.EtherType != wire.EtherTypeIPv4 && e.EtherType != wire.EtherTypeIPv6 {
		return p
	}
	b := data[e.HeaderLen:]
	c := wire.ParseIP(b, len(b), trust, &p.ip)
	if c == wire.BadHeaderChecksum {
		p.badIP = true
		c = wire.ParseIP(b, len(b), wire.Vouched, &p.ip)
	}
	if c != wire.OK || (p.ip.Version == 4) != (e.EtherType == wire.EtherTypeIPv4) {
		return packet{end: len(data)}
	}
	p.l3 = e.HeaderLen
	p.end = p.l3 + p.ip.Len()
	if !p.ip.IsFragment() {
		p.transport(b)
	}
	return p
}

// transport looks at the header behind IP's, of a packet b that is whole.
func (p *packet) transport(b []byte) {
	l4 := b[p.ip.L4Offset:p.ip.Len()]
	known := false
	switch p.ip.Proto {
	case wire.ProtoTCP:
		var t wire.TCP
		if known = wire.ParseTCP(b, &p.ip, &t) == wire.OK; known {
			p.src, p.dst, p.payload = t.SrcPort, t.DstPort, p.l3+t.PayloadOffset
		}
	case wire.ProtoUDP:
		var u wire.UDP
		if known = wire.ParseUDP(b, &p.ip, &u) == wire.OK; known {
			p.src, p.dst, p.payload = u.SrcPort, u.DstPort, p.l3+u.PayloadOffset
		}
	case protoSCTP:
		if known = len(l4) >= sctpHeaderLen; known {
			p.src, p.dst = be.Uint16(l4), be.Uint16(l4[2:])
		}
	case wire.ProtoICMP:
		known = p.ip.Version == 4 && len(l4) >= 8
	case wire.ProtoICMPv6:
		known = p.ip.Version == 6 && len(l4) >= 8
	case protoESP:
		if known = len(l4) >= 8; known {
			p.spi = be.Uint32(l4)
		}
	case protoAH:
		if known = len(l4) >= 12; known {
			p.spi = be.Uint32(l4[4:])
		}
	}
	if known {
		p.l4 = p.l3 + p.ip.L4Offset
	}
}

// proto is the protocol of a packet whose transport header is known, else 0.
func (p *packet) proto() uint8 {
	if p.l4 == 0 {
		return 0
	}
	return p.ip.Proto
}

// Types of headers in the map from packet types (gve_adminq.h, gve_l3_type and
// gve_l4_type).
const (
	l3IPv4 = 2
	l3IPv6 = 3

	l4TCP  = 2
	l4UDP  = 3
	l4ICMP = 4
	l4SCTP = 5
)

// ptypes is the device's numbering of packet types, which GET_PTYPE_MAP tells
// the driver: the types of header of packet type i. The driver takes the hash of
// a packet with an L4 type for one over ports.
var ptypes = [...][2]byte{
	{}, // whatever is not below
	{l3IPv4, l4TCP}, {l3IPv6, l4TCP},
	{l3IPv4, l4UDP}, {l3IPv6, l4UDP},
	{l3IPv4, l4SCTP}, {l3IPv6, l4SCTP},
	{l3IPv4, l4ICMP}, {l3IPv6, l4ICMP},
	{l3IPv4, 0}, {l3IPv6, 0}, // fragments, other protocols
}

// ptype is the packet's type: an index of ptypes.
func (p *packet) ptype() uint16 {
	if p.l3 == 0 {
		return 0
	}
	t := uint16(9)
	switch p.proto() {
	case wire.ProtoTCP:
		t = 1
	case wire.ProtoUDP:
		t = 3
	case protoSCTP:
		t = 5
	case wire.ProtoICMP, wire.ProtoICMPv6:
		t = 7
	}
	if p.ip.Version == 6 {
		t++
	}
	return t
}
