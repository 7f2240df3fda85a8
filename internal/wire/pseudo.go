package wire

import (
	"math/bits"
	"net/netip"
)

// PseudoSum returns the sum of the pseudo-header with which the checksum of a
// protocol above IP starts (RFC 9293 section 3.1 for IPv4, RFC 8200 section 8.1 for
// IPv6). l4Len is the length in bytes of the protocol's header and payload. The
// addresses are of one family, that of the packet; ICMPv4 has no pseudo-header and
// its sum starts at the zero Sum.
func PseudoSum(src, dst netip.Addr, proto uint8, l4Len int) Sum {
	var s Sum
	a0, a1 := words(src)
	b0, b1 := words(dst)
	if src.Is4() && dst.Is4() {
		s.acc = uint64(bits.ReverseBytes32(uint32(a1))) + uint64(bits.ReverseBytes32(uint32(b1)))
	} else {
		s.addWord(bits.ReverseBytes64(a0))
		s.addWord(bits.ReverseBytes64(a1))
		s.addWord(bits.ReverseBytes64(b0))
		s.addWord(bits.ReverseBytes64(b1))
	}
	// The length takes 32 bits in IPv6 and 16 in IPv4, the protocol the low bits of
	// the word after it; as the rest is zero, the sum is the same for both.
	s.addWord(uint64(bits.ReverseBytes32(uint32(l4Len))) + uint64(proto)<<8)
	return s
}

// PseudoSum returns the sum with which the checksum of what the packet carries
// starts.
func (p *Packet) PseudoSum() Sum {
	if p.Version == 4 && p.Proto == ProtoICMP {
		return Sum{}
	}
	return PseudoSum(p.Src, p.Dst, p.Proto, p.L4Len)
}

// checksumOffset returns where in its header a protocol has its checksum.
func checksumOffset(proto uint8) (off int, ok bool) {
	switch proto {
	case ProtoTCP:
		return 16, true
	case ProtoUDP:
		return 6, true
	case ProtoICMP, ProtoICMPv6:
		return 2, true
	}
	return 0, false
}
