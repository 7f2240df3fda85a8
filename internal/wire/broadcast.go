package wire

import "net/netip"

// LimitedBroadcast is the address of all hosts on the wire (RFC 919 section 7).
var LimitedBroadcast = netip.AddrFrom4([4]byte{255, 255, 255, 255})

// Broadcast is the address of all hosts in the network of p (RFC 922). It is no valid
// address if there is none: in IPv6, and for /31 (RFC 3021) and /32.
func Broadcast(p netip.Prefix) netip.Addr {
	if !p.Addr().Is4() || p.Bits() > 30 {
		return netip.Addr{}
	}
	b := p.Addr().As4()
	for i := p.Bits(); i < 32; i++ {
		b[i/8] |= 1 << (7 - i%8)
	}
	return netip.AddrFrom4(b)
}
