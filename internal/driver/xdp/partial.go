//go:build linux

package xdp

import (
	"encoding/binary"

	"github.com/zctap/zctap/internal/wire"
)

// isPartial reports whether the transport checksum of a packet holds the sum of
// its pseudo-header only, as a sender on this machine leaves it for a device
// (wire.Packet.IsPartial). head is the first bytes of the packet, from the IP
// header on, length that of all of it.
//
// It is asked of every frame, so that IPv4, and IPv6 without extension headers,
// are looked at without parsing all of the header: what is not right about it
// the stack will find.
func isPartial(head []byte, length int, ethertype uint16) bool {
	var sum uint64 // of the pseudo-header, in 32-bit words
	var proto byte
	var l4, l4Len int
	switch {
	case ethertype == wire.EtherTypeIPv4 && len(head) >= wire.IPv4HeaderLen && head[0]>>4 == 4:
		if binary.BigEndian.Uint16(head[6:])&0x3fff != 0 {
			return false // a fragment
		}
		l4 = int(head[0]&15) * 4
		l4Len = int(binary.BigEndian.Uint16(head[2:])) - l4
		proto, sum = head[9], addWords(head[12:20])
	case ethertype == wire.EtherTypeIPv6 && len(head) >= wire.IPv6HeaderLen && head[0]>>4 == 6:
		l4 = wire.IPv6HeaderLen
		l4Len = int(binary.BigEndian.Uint16(head[4:]))
		proto, sum = head[6], addWords(head[8:40])
	default:
		return false
	}
	field := l4
	switch proto {
	case wire.ProtoTCP:
		field += tcpChecksum
	case wire.ProtoUDP:
		field += udpChecksum
	default:
		return ethertype == wire.EtherTypeIPv6 && parsedPartial(head, length)
	}
	if l4Len < 0 || field+2 > len(head) || l4+l4Len > length {
		return false
	}
	return binary.BigEndian.Uint16(head[field:]) == fold(sum+uint64(proto)+uint64(l4Len))
}

// addWords adds 32-bit words, a whole number of them.
func addWords(b []byte) (sum uint64) {
	for ; len(b) >= 4; b = b[4:] {
		sum += uint64(binary.BigEndian.Uint32(b))
	}
	return sum
}

// fold is the ones' complement sum of the 16-bit words of a sum of 32-bit ones
// (RFC 1071).
func fold(sum uint64) uint16 {
	sum = sum>>32 + sum&0xffffffff
	sum = sum>>16 + sum&0xffff
	sum = sum>>16 + sum&0xffff
	return uint16(sum>>16 + sum&0xffff)
}

// Offsets in bytes of the checksum in its header.
const (
	tcpChecksum = 16
	udpChecksum = 6
)

// parsedPartial is isPartial for packets with extension headers.
func parsedPartial(head []byte, length int) bool {
	var p wire.Packet
	return wire.ParseIP(head, length, wire.Vouched, &p) == wire.OK &&
		(p.Proto == wire.ProtoTCP || p.Proto == wire.ProtoUDP) && p.IsPartial(head)
}
