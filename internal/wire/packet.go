package wire

import (
	"encoding/binary"
	"net/netip"
)

// Protocol numbers, as in the IPv4 protocol and the IPv6 next header field.
const (
	ProtoICMP   = 1
	ProtoTCP    = 6
	ProtoUDP    = 17
	ProtoICMPv6 = 58
)

// MaxHeaderLen is the length in bytes, from the start of the IP header, of the
// longest headers that this package accepts: those of an ICMPv6 error that quotes
// a packet, both with MaxExtensionBytes of extension headers. A parser that sees
// so many bytes of a packet never returns NeedMore.
const MaxHeaderLen = 2 * (IPv6HeaderLen + MaxExtensionBytes + icmpHeaderLen)

// Packet is what the IP header of a packet means, its extension headers included.
// It holds no reference to the packet's bytes.
type Packet struct {
	// Src and Dst have Is4 in an IPv4 packet and Is6 in an IPv6 packet, and no
	// zone. IPv4-mapped addresses do not occur.
	Src, Dst netip.Addr
	// ID is the identification of fragments: 16 bits in IPv4, and 32 in IPv6, where
	// it is zero without a fragment header.
	ID uint32
	// FragOffset is where the payload of a fragment belongs, in bytes.
	FragOffset uint16
	// MoreFragments tells that this is not the last fragment.
	MoreFragments bool
	// DontFragment is the DF bit of IPv4. It is set for IPv6, where no router
	// fragments.
	DontFragment bool
	// Version is 4 or 6.
	Version uint8
	// Proto is the protocol that starts at L4Offset. In an IPv6 fragment it is the
	// next header of the fragment header, and may be that of an extension.
	Proto uint8
	// HopLimit is the TTL of IPv4.
	HopLimit uint8
	// TrafficClass is DSCP and ECN: the TOS octet of IPv4.
	TrafficClass uint8
	// L4Offset is the length in bytes of the IP header with its options or
	// extensions: where the protocol's header starts in the packet.
	L4Offset int
	// L4Len is the length in bytes of the protocol's header and payload, as
	// declared by the IP header. Bytes of the packet behind it are padding.
	L4Len int
}

// ECN is the congestion notification codepoint of an IP packet (RFC 3168 section 5).
type ECN uint8

// The ECN codepoints.
const (
	NotECT ECN = 0b00 // the transport does not take part
	ECT1   ECN = 0b01
	ECT0   ECN = 0b10
	CE     ECN = 0b11 // congestion experienced
)

// ECN returns the congestion notification bits of the traffic class.
func (p *Packet) ECN() ECN { return ECN(p.TrafficClass & 3) }

// DSCP returns the differentiated services codepoint (RFC 2474), 6 bits.
func (p *Packet) DSCP() uint8 { return p.TrafficClass >> 2 }

// IsFragment reports whether the packet is a part of a larger one. An IPv6 packet
// that is whole in spite of a fragment header (RFC 6946) is none.
func (p *Packet) IsFragment() bool { return p.MoreFragments || p.FragOffset != 0 }

// Len returns the length in bytes of the packet without padding.
func (p *Packet) Len() int { return p.L4Offset + p.L4Len }

// Tuple returns the key of the flow that the packet belongs to, as its receiver
// sees it: the destination is Local.
func (p *Packet) Tuple(srcPort, dstPort uint16) (t Tuple) {
	p.PutTuple(&t, srcPort, dstPort)
	return t
}

// PutTuple is Tuple, made where it is to lie: a copy, of a struct of this size by vectors,
// would wait for the stores of its fields.
func (p *Packet) PutTuple(t *Tuple, srcPort, dstPort uint16) {
	t.Local = netip.AddrPortFrom(p.Dst, dstPort)
	t.Remote = netip.AddrPortFrom(p.Src, srcPort)
	t.Proto = p.Proto
}

// Trust says whether the checksum of the IPv4 header has to be verified. Checksums
// of the protocols above are never verified by a parser: see Packet.VerifyL4.
type Trust bool

const (
	// Verify: nobody has looked at the header.
	Verify Trust = false
	// Vouched: the device or the kernel has found the header's checksum right.
	Vouched Trust = true
)

// ParseIP parses the IPv4 or IPv6 header of a packet of totalLen bytes that starts
// with head, and fills in p. head is only read, and may be given back or changed
// afterwards. It may hold payload too, which is not looked at, and bytes beyond
// totalLen, which are ignored.
//
// The packet may be longer than its header declares, as short Ethernet frames are
// padded; p.Len tells what counts. See the package comment for what is refused.
// BadAddress means a multicast source (RFC 1122 section 3.2.1.3, RFC 4291 section
// 2.7), the source 255.255.255.255, or an IPv4-mapped IPv6 address. Which other
// addresses are acceptable depends on the interface, and is not judged here.
func ParseIP(head []byte, totalLen int, trust Trust, p *Packet) Cause {
	if c := have(head, totalLen, 1); c != OK {
		return c
	}
	switch head[0] >> 4 {
	case 4:
		return parseIPv4(head, totalLen, trust, p)
	case 6:
		return parseIPv6(head, totalLen, p)
	}
	return BadVersion
}

// be16 and be32 read fields in network byte order. The caller has checked that
// they are there.
func be16(b []byte) uint16 { return binary.BigEndian.Uint16(b) }
func be32(b []byte) uint32 { return binary.BigEndian.Uint32(b) }
