package wire

import (
	"encoding/binary"
	"encoding/hex"
	"net/netip"
	"strings"
	"testing"
)

// unhex decodes hexadecimal bytes; white space is ignored.
func unhex(t testing.TB, s string) []byte {
	t.Helper()
	b, err := hex.DecodeString(strings.Join(strings.Fields(s), ""))
	if err != nil {
		t.Fatal(err)
	}
	return b
}

// slow is RFC 1071 to the letter, byte by byte: 16-bit words in network order, an odd
// last byte padded with zero, carries added back.
type slow struct {
	acc uint32
	odd bool
}

func (s *slow) add(v byte) {
	if s.odd {
		s.acc += uint32(v)
	} else {
		s.acc += uint32(v) << 8
	}
	s.odd = !s.odd
	for s.acc > 0xffff {
		s.acc = s.acc&0xffff + s.acc>>16
	}
}

func (s *slow) sum() uint16 { return uint16(s.acc) }

// slowSum is slow of b.
func slowSum(b []byte) uint16 {
	var s slow
	for _, v := range b {
		s.add(v)
	}
	return s.sum()
}

// fixIPv4 makes the header checksum of an IPv4 packet right, after a test changed a
// field, and returns the packet.
func fixIPv4(b []byte) []byte {
	n := int(b[0]&0xf) * 4
	b[10], b[11] = 0, 0
	binary.BigEndian.PutUint16(b[10:], ^slowSum(b[:n]))
	return b
}

// edit returns a copy of b with the bytes from off on replaced.
func edit(b []byte, off int, with ...byte) []byte {
	c := append([]byte(nil), b...)
	copy(c[off:], with)
	return c
}

// join returns the concatenation of its arguments.
func join(parts ...[]byte) []byte {
	var b []byte
	for _, p := range parts {
		b = append(b, p...)
	}
	return b
}

// buildIP returns a packet around l4, the checksum of which it does not touch.
func buildIP(t testing.TB, src, dst netip.Addr, proto uint8, l4 []byte) []byte {
	t.Helper()
	h := IPHeader{Src: src, Dst: dst, Proto: proto, HopLimit: 64, PayloadLen: len(l4)}
	b := make([]byte, h.Len()+len(l4))
	n, err := PutIP(b, &h)
	if err != nil || n != h.Len() {
		t.Fatalf("PutIP: %d, %v; want %d", n, err, h.Len())
	}
	copy(b[n:], l4)
	return b
}

// buildTCP returns a whole packet with right checksums.
func buildTCP(t testing.TB, src, dst netip.Addr, h *TCP, payload []byte) []byte {
	t.Helper()
	l4 := make([]byte, h.HeaderLen()+len(payload))
	n, err := PutTCP(l4, h)
	if err != nil || n != h.HeaderLen() {
		t.Fatalf("PutTCP: %d, %v; want %d", n, err, h.HeaderLen())
	}
	copy(l4[n:], payload)
	if err := FillChecksum(l4, ProtoTCP, PseudoSum(src, dst, ProtoTCP, len(l4))); err != nil {
		t.Fatal(err)
	}
	return buildIP(t, src, dst, ProtoTCP, l4)
}

// parsed is all that the parsers make of a packet. It is comparable.
type parsed struct {
	p Packet
	t TCP
	u UDP
	m ICMP
}

// parseAll parses a packet and what it carries.
func parseAll(head []byte, totalLen int) (r parsed, c Cause) {
	if c = ParseIP(head, totalLen, Verify, &r.p); c != OK {
		return parsed{}, c
	}
	if r.p.IsFragment() {
		return r, OK
	}
	switch r.p.Proto {
	case ProtoTCP:
		c = ParseTCP(head, &r.p, &r.t)
	case ProtoUDP:
		c = ParseUDP(head, &r.p, &r.u)
	case ProtoICMP, ProtoICMPv6:
		c = ParseICMP(head, &r.p, &r.m)
	}
	if c != OK {
		return parsed{}, c
	}
	return r, OK
}
