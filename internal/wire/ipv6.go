package wire

import "net/netip"

// IPv6HeaderLen is the length in bytes of the fixed IPv6 header.
const IPv6HeaderLen = 40

// parseIPv6 is ParseIP for IPv6 (RFC 8200 section 3).
func parseIPv6(head []byte, totalLen int, p *Packet) Cause {
	if c := have(head, totalLen, IPv6HeaderLen); c != OK {
		return c
	}
	payloadLen := int(be16(head[4:]))
	if payloadLen == 0 && head[6] == extHopByHop {
		return Jumbogram // the only reason to have both (RFC 2675 section 2)
	}
	end := IPv6HeaderLen + payloadLen
	if end > totalLen {
		return Truncated
	}
	src, dst := [16]byte(head[8:24]), [16]byte(head[24:40])
	if src[0] == 0xff || isMapped(&src) || isMapped(&dst) {
		return BadAddress
	}
	p.Version = 6
	p.HopLimit = head[7]
	p.TrafficClass = head[0]<<4 | head[1]>>4
	p.Src = netip.AddrFrom16(src)
	p.Dst = netip.AddrFrom16(dst)
	p.ID = 0
	p.DontFragment = true
	p.MoreFragments = false
	p.FragOffset = 0
	return walkExtensions(head, IPv6HeaderLen, end, head[6], p)
}

// isMapped reports whether an address is in ::ffff:0:0/96.
func isMapped(a *[16]byte) bool {
	return be32(a[8:]) == 0xffff && be32(a[4:]) == 0 && be32(a[0:]) == 0
}
