package wire

import (
	"encoding/binary"
	"net/netip"
)

// IPHeader is what PutIP needs to know.
type IPHeader struct {
	// Src and Dst are both IPv4 or both IPv6, and decide about the version. They
	// must not be IPv4-mapped; zones are ignored.
	Src, Dst netip.Addr
	Proto    uint8
	// HopLimit is the TTL of IPv4.
	HopLimit uint8
	// TrafficClass is DSCP and ECN.
	TrafficClass uint8
	// ID is the identification of IPv4. As DF is set it identifies nothing
	// (RFC 6864 section 4.1), but some receivers that merge segments want it to
	// count up. IPv6 has none.
	ID uint16
	// PayloadLen is the length in bytes of all that follows the header.
	PayloadLen int
}

// Len returns the length in bytes of the header that PutIP makes.
func (h *IPHeader) Len() int {
	if h.Src.Is4() {
		return IPv4HeaderLen
	}
	return IPv6HeaderLen
}

// PutIP writes an IPv4 or IPv6 header to the start of b and returns its length. The
// IPv4 header has no options, DF set (the TCP above does path MTU discovery, RFC
// 1191) and a checksum. The IPv6 header has no extensions, and a flow label of zero.
func PutIP(b []byte, h *IPHeader) (int, error) {
	if !h.Src.IsValid() || h.Src.Is4() != h.Dst.Is4() || !h.Dst.IsValid() ||
		h.Src.Is4In6() || h.Dst.Is4In6() {
		return 0, ErrAddress
	}
	n := h.Len()
	maxPayload := maxPacketLen
	if n == IPv4HeaderLen {
		maxPayload -= IPv4HeaderLen // whose length field counts the header too
	}
	if h.PayloadLen < 0 || h.PayloadLen > maxPayload {
		return 0, ErrLength
	}
	if len(b) < n {
		return 0, ErrShortBuffer
	}
	if n == IPv4HeaderLen {
		putIPv4(b[:IPv4HeaderLen], h)
	} else {
		putIPv6(b[:IPv6HeaderLen], h)
	}
	return n, nil
}

func putIPv4(b []byte, h *IPHeader) {
	b[0] = 4<<4 | IPv4HeaderLen/4
	b[1] = h.TrafficClass
	binary.BigEndian.PutUint16(b[2:], uint16(IPv4HeaderLen+h.PayloadLen))
	binary.BigEndian.PutUint16(b[4:], h.ID)
	binary.BigEndian.PutUint16(b[6:], 0x4000) // DF
	b[8] = h.HopLimit
	b[9] = h.Proto
	b[10], b[11] = 0, 0
	_, src := words(h.Src)
	_, dst := words(h.Dst)
	binary.BigEndian.PutUint32(b[12:], uint32(src))
	binary.BigEndian.PutUint32(b[16:], uint32(dst))
	var s Sum
	s.Add(b)
	binary.BigEndian.PutUint16(b[10:], s.Checksum())
}

func putIPv6(b []byte, h *IPHeader) {
	binary.BigEndian.PutUint32(b[0:], 6<<28|uint32(h.TrafficClass)<<20)
	binary.BigEndian.PutUint16(b[4:], uint16(h.PayloadLen))
	b[6] = h.Proto
	b[7] = h.HopLimit
	hi, lo := words(h.Src)
	binary.BigEndian.PutUint64(b[8:], hi)
	binary.BigEndian.PutUint64(b[16:], lo)
	hi, lo = words(h.Dst)
	binary.BigEndian.PutUint64(b[24:], hi)
	binary.BigEndian.PutUint64(b[32:], lo)
}
