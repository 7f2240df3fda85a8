package driver

import "github.com/zctap/zctap/internal/wire"

// HeaderLen is the length in bytes of a frame's headers, its link header of
// Caps.LinkHeader bytes included: where a device that splits header from data
// makes the cut. head is the first bytes of a frame of frameLen bytes. It is 0
// for what is not split: a frame that is no whole TCP segment or UDP datagram,
// is malformed, or has headers longer than head.
func HeaderLen(head []byte, frameLen, linkHeader int) int {
	if linkHeader > 0 {
		var e wire.Ethernet
		if wire.ParseEthernet(head, frameLen, &e) != wire.OK ||
			e.EtherType != wire.EtherTypeIPv4 && e.EtherType != wire.EtherTypeIPv6 {
			return 0
		}
		linkHeader = e.HeaderLen // with its VLAN tags
	}
	head, frameLen = head[linkHeader:], frameLen-linkHeader
	var p wire.Packet
	if wire.ParseIP(head, frameLen, wire.Vouched, &p) != wire.OK {
		return 0
	}
	switch p.Proto {
	case wire.ProtoTCP:
		var t wire.TCP
		if wire.ParseTCP(head, &p, &t) == wire.OK {
			return linkHeader + t.PayloadOffset
		}
	case wire.ProtoUDP:
		var u wire.UDP
		if wire.ParseUDP(head, &p, &u) == wire.OK {
			return linkHeader + u.PayloadOffset
		}
	}
	return 0
}
