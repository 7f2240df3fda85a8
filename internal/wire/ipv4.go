package wire

import "net/netip"

// IPv4HeaderLen is the length in bytes of an IPv4 header without options.
const IPv4HeaderLen = 20

// maxPacketLen is what the 16-bit length fields can express, and hence the highest
// end that a reassembled packet's payload can have.
const maxPacketLen = 65535

// Options of IPv4 (RFC 791 section 3.1). The two source routes are the only ones
// that change what a packet means to its receiver.
const (
	ipv4OptEnd         = 0
	ipv4OptNop         = 1
	ipv4OptLooseRoute  = 131
	ipv4OptStrictRoute = 137
)

// parseIPv4 is ParseIP for IPv4 (RFC 791 section 3.1).
func parseIPv4(head []byte, totalLen int, trust Trust, p *Packet) Cause {
	if c := have(head, totalLen, IPv4HeaderLen); c != OK {
		return c
	}
	h := (*[IPv4HeaderLen]byte)(head) // of a length that the compiler knows
	headerLen := int(h[0]&0xf) * 4
	if headerLen < IPv4HeaderLen {
		return BadHeaderLen
	}
	if headerLen > IPv4HeaderLen {
		if c := have(head, totalLen, headerLen); c != OK {
			return c
		}
	}
	if trust != Vouched {
		s := Sum{acc: word64(h[0:])}
		s.addWord(word64(h[8:]))
		s.addWord(uint64(word32(h[16:])))
		if headerLen > IPv4HeaderLen {
			s.Add(head[IPv4HeaderLen:headerLen])
		}
		if !s.Valid() {
			return BadHeaderChecksum
		}
	}
	length := int(be16(h[2:]))
	if length < headerLen {
		return BadLength
	}
	if length > totalLen {
		return Truncated
	}
	if badIPv4Source(be32(h[12:])) {
		return BadAddress
	}
	if headerLen > IPv4HeaderLen {
		if c := checkIPv4Options(head[IPv4HeaderLen:headerLen]); c != OK {
			return c
		}
	}
	p.Version = 4
	p.Proto = h[9]
	p.HopLimit = h[8]
	p.TrafficClass = h[1]
	p.Src = netip.AddrFrom4([4]byte(h[12:16]))
	p.Dst = netip.AddrFrom4([4]byte(h[16:20]))
	p.ID = uint32(be16(h[4:]))
	frag := be16(h[6:])
	p.DontFragment = frag&0x4000 != 0
	p.MoreFragments = frag&0x2000 != 0
	p.FragOffset = frag & 0x1fff * 8 // at most 65528
	p.L4Offset = headerLen
	p.L4Len = length - headerLen
	if p.IsFragment() {
		return checkFragment(p)
	}
	return OK
}

// badIPv4Source reports whether a source address is a multicast address or the
// limited broadcast address (RFC 1122 section 3.2.1.3).
func badIPv4Source(src uint32) bool {
	return src>>28 == 0xe || src == 0xffffffff
}

// checkIPv4Options walks over the options of a header.
func checkIPv4Options(opts []byte) Cause {
	for len(opts) > 0 {
		switch opts[0] {
		case ipv4OptEnd:
			return OK
		case ipv4OptNop:
			opts = opts[1:]
			continue
		case ipv4OptLooseRoute, ipv4OptStrictRoute:
			return SourceRouted
		}
		if len(opts) < 2 {
			return BadOption
		}
		n := int(opts[1])
		if n < 2 || n > len(opts) {
			return BadOption
		}
		opts = opts[n:]
	}
	return OK
}

// checkFragment refuses fragments from which no packet can be put together: those
// without payload, those that reach beyond the longest packet (the "ping of
// death"), and those whose successor could not start where they end, as offsets
// count units of 8 bytes.
func checkFragment(p *Packet) Cause {
	if p.L4Len == 0 || p.MoreFragments && p.L4Len%8 != 0 || int(p.FragOffset)+p.L4Len > maxPacketLen {
		return BadFragment
	}
	return OK
}
