package wire

import "net/netip"

// Tuple identifies a flow by its two ends and its protocol. It is comparable, and
// meant as the key of the stack's own hash tables: see Hasher.
//
// Addresses of packets carry no zone and are never IPv4-mapped. A Tuple that comes
// from elsewhere has to be brought to that form (netip.Addr.Unmap, WithZone("")),
// or it compares as different.
type Tuple struct {
	// Local is the end on this machine, Remote the peer's.
	Local, Remote netip.AddrPort
	// Proto is the protocol number, ProtoTCP or ProtoUDP.
	Proto uint8
}

// Reverse returns the same flow as its other end sees it.
func (t Tuple) Reverse() Tuple {
	return Tuple{Local: t.Remote, Remote: t.Local, Proto: t.Proto}
}
