package tun

import (
	"encoding/binary"

	"github.com/zctap/zctap/internal/wire"
)

// segmentHeaders is driver.HeaderLen for what nearly all packets of a bulk stream
// are: whole TCP segments or UDP datagrams over IPv4 without options, or over IPv6
// without extension headers. It is 0 for all others, which are for HeaderLen to look
// at.
//
// The stack parses each packet again. All that is wanted here is where headers
// end, and parsing for that alone took a fifth of Poll's time in user mode.
func segmentHeaders(head []byte, length int) int {
	const (
		version4  = 0x45   // IPv4 with a header of 20 bytes
		fragments = 0x3fff // MoreFragments and the offset
		multicast = 0xff   // first byte of an IPv6 address
	)
	ip := wire.IPv4HeaderLen
	switch {
	case len(head) < wire.IPv4HeaderLen+wire.UDPHeaderLen:
		return 0
	case head[0] == version4:
		// Sources from 224.0.0.0 on may be invalid.
		if int(binary.BigEndian.Uint16(head[2:])) != length || binary.BigEndian.Uint16(head[6:])&fragments != 0 ||
			head[12] >= 224 {
			return 0
		}
	case head[0]>>4 == 6 && len(head) >= wire.IPv6HeaderLen+wire.UDPHeaderLen:
		ip = wire.IPv6HeaderLen
		// Addresses that begin with a zero may be IPv4's, mapped, which are invalid.
		if ip+int(binary.BigEndian.Uint16(head[4:])) != length ||
			head[8] == multicast || head[8] == 0 || head[24] == 0 {
			return 0
		}
	default:
		return 0
	}
	proto := head[9]
	if ip == wire.IPv6HeaderLen {
		proto = head[6]
	}
	switch proto {
	case wire.ProtoUDP:
		u := head[ip : ip+wire.UDPHeaderLen]
		if int(binary.BigEndian.Uint16(u[4:])) != length-ip || u[6]|u[7] == 0 {
			return 0
		}
		return ip + wire.UDPHeaderLen
	case wire.ProtoTCP:
		return tcpHeaders(head, ip)
	}
	return 0
}

// tcpHeaders is segmentHeaders of a TCP segment, whose header is at ip.
func tcpHeaders(head []byte, ip int) int {
	if len(head) < ip+wire.TCPHeaderLen {
		return 0
	}
	tcp := int(head[ip+12]>>4) * 4
	if tcp < wire.TCPHeaderLen || ip+tcp > len(head) {
		return 0
	}
	return ip + tcp
}
