//go:build linux

package steer

import (
	"bytes"
	"encoding/binary"
	"net/netip"
)

// EtherTypes and protocols of the frames that tests make. Numbers are written out:
// they are not to be those that the program happens to use.
const (
	typeIPv4, typeIPv6, typeARP = 0x0800, 0x86dd, 0x0806
	typeVLAN, typeService       = 0x8100, 0x88a8

	protoTCP, protoUDP, protoICMP4, protoICMP6 = 6, 17, 1, 58

	extHop, extRoute, extFrag, extDest, extAuth, extNone = 0, 43, 44, 60, 51, 59
)

// Addresses: ours, those of a peer, and those of somebody else.
var (
	all4                = netip.MustParseAddr("255.255.255.255")
	group4, group6      = netip.MustParseAddr("239.1.2.3"), netip.MustParseAddr("ff05::1:2")
	our4, peer4, other4 = netip.MustParseAddr("10.1.1.1"), netip.MustParseAddr("10.1.1.2"), netip.MustParseAddr("10.9.9.9")
	our6, peer6, other6 = netip.MustParseAddr("fd01::1"), netip.MustParseAddr("fd01::2"), netip.MustParseAddr("fd09::9")
)

func ether(etherType uint16, payload []byte) []byte {
	b := []byte{2, 0, 0, 0, 0, 1, 2, 0, 0, 0, 0, 2}
	return append(binary.BigEndian.AppendUint16(b, etherType), payload...)
}

// tag is what an EtherType of a VLAN is followed by.
func tag(tci, etherType uint16, payload []byte) []byte {
	b := binary.BigEndian.AppendUint16(nil, tci)
	return append(binary.BigEndian.AppendUint16(b, etherType), payload...)
}

// An ip4 is an IPv4 packet.
type ip4 struct {
	src, dst netip.Addr
	proto    uint8
	options  int    // in words of 4 bytes
	fragment uint16 // the field of flags and offset
}

func (h ip4) packet(payload []byte) []byte {
	b := make([]byte, 20+4*h.options)
	b[0] = 0x40 | uint8(5+h.options)
	binary.BigEndian.PutUint16(b[2:], uint16(len(b)+len(payload)))
	binary.BigEndian.PutUint16(b[6:], h.fragment)
	b[8], b[9] = 64, h.proto
	copy(b[12:], h.src.AsSlice())
	copy(b[16:], h.dst.AsSlice())
	return append(b, payload...)
}

// An ip6 is an IPv6 packet.
type ip6 struct {
	src, dst netip.Addr
	next     uint8
}

func (h ip6) packet(payload []byte) []byte {
	b := make([]byte, 40)
	b[0] = 0x60
	binary.BigEndian.PutUint16(b[4:], uint16(len(payload)))
	b[6], b[7] = h.next, 64
	copy(b[8:], h.src.AsSlice())
	copy(b[24:], h.dst.AsSlice())
	return append(b, payload...)
}

// extensionHeader has units of 8 bytes beyond the first 8; hops matters to a routing
// header.
func extensionHeader(next uint8, units int, hops uint8, payload []byte) []byte {
	b := make([]byte, 8+8*units)
	b[0], b[1], b[3] = next, uint8(units), hops
	return append(b, payload...)
}

// chain is n extension headers of the same type before the payload of type last,
// and the type of the first.
func chain(n int, kind, last uint8, payload []byte) []byte {
	for ; n > 0; n-- {
		payload = extensionHeader(last, 0, 0, payload)
		last = kind
	}
	return payload
}

// transport is a TCP or UDP header, as far as the program looks.
func transport(sport, dport uint16) []byte {
	b := binary.BigEndian.AppendUint16(nil, sport)
	b = binary.BigEndian.AppendUint16(b, dport)
	return append(b, make([]byte, 16)...)
}

func icmpMessage(kind, code uint8, quote []byte) []byte {
	return append([]byte{kind, code, 0, 0, 0, 0, 0, 0}, quote...)
}

// tcp4 and the like are whole frames.
func tcp4(src, dst netip.AddrPort) []byte { return frame4(protoTCP, src, dst) }
func udp4(src, dst netip.AddrPort) []byte { return frame4(protoUDP, src, dst) }
func tcp6(src, dst netip.AddrPort) []byte { return frame6(protoTCP, src, dst) }
func udp6(src, dst netip.AddrPort) []byte { return frame6(protoUDP, src, dst) }

func frame4(proto uint8, src, dst netip.AddrPort) []byte {
	return ether(typeIPv4, ip4{src: src.Addr(), dst: dst.Addr(), proto: proto}.packet(transport(src.Port(), dst.Port())))
}

func frame6(proto uint8, src, dst netip.AddrPort) []byte {
	return ether(typeIPv6, ip6{src.Addr(), dst.Addr(), proto}.packet(transport(src.Port(), dst.Port())))
}

func port(a netip.Addr, p uint16) netip.AddrPort { return netip.AddrPortFrom(a, p) }

// with is a copy of a frame in which one byte is another.
func with(frame []byte, at int, b byte) []byte {
	frame = bytes.Clone(frame)
	frame[at] = b
	return frame
}
