package wire

import (
	"net/netip"
	"testing"
)

// samples are valid packets of each kind, without padding.
func samples(t testing.TB) map[string][]byte {
	v4a, v4b := netip.MustParseAddr("192.0.2.1"), netip.MustParseAddr("192.0.2.2")
	v6a, v6b := netip.MustParseAddr("2001:db8::1"), netip.MustParseAddr("2001:db8::2")
	full := TCP{SrcPort: 1, DstPort: 2, Flags: SYN, Options: TCPOptions{
		MSS: 1460, HasWindowScale: true, WindowScale: 7, SACKPermitted: true, HasTimestamps: true, TSVal: 1, TSEcr: 2,
	}}
	sack := TCP{SrcPort: 1, DstPort: 2, Flags: ACK, Options: TCPOptions{HasTimestamps: true, SACKCount: 3}}
	chain := join(ext(extDestOptions, 5, 2, 0, 0), ext(extRouting, 1, 2, 0xaa, 0xbb), ext(extFragment, 0, 0), ext(ProtoUDP))
	sixExt := "6000 0000 0500 3c 3f" + addrB + addrA + " 1100 0104 00000000 0035 9c40 0500 abcd "
	return map[string][]byte{
		"TCP SYN":              linuxSYN(t),
		"TCP SYN IPv6":         buildTCP(t, v6a, v6b, &full, nil),
		"TCP SACK":             buildTCP(t, v4a, v4b, &sack, []byte("payload")),
		"TCP SACK IPv6":        buildTCP(t, v6a, v6b, &sack, []byte("payload")),
		"UDP":                  edit(ipv4Sample(t), 20, 0x30, 0x39, 0, 53, 0, 95, 1, 2),
		"UDP IPv4 options":     withOptions(edit(ipv4Sample(t), 20, 0x30, 0x39, 0, 53, 0, 95, 1, 2), []byte{1, 148, 4, 0, 0, 7, 7, 4, 0, 0, 0, 0}),
		"UDP IPv6":             ipv6Packet(t, ProtoUDP, udp12),
		"UDP IPv6 extensions":  ipv6Packet(t, extHopByHop, chain, udp12),
		"fragment":             fixIPv4(edit(ipv4Sample(t), 6, 0, 8)),
		"fragment IPv6":        ipv6Packet(t, extFragment, []byte{ProtoUDP, 0, 0, 9, 1, 2, 3, 4}, make([]byte, 16)),
		"echo":                 icmp4(t, "0800 0000 1234 0007 70696e67"),
		"echo IPv6":            icmp6(t, "8000 0000 1234 0007 70696e67"),
		"unreachable":          icmp4(t, "0301 0000 00000000"+quoted4),
		"packet too big":       icmp6(t, "0200 0000 00000578"+quoted6),
		"quoted IPv6 options":  icmp6(t, "0300 0000 00000000"+sixExt),
		"protocol of somebody": fixIPv4(edit(ipv4Sample(t), 9, 132)),
	}
}

// A packet that is cut short is told from one of which only a part is at hand, at
// every length; and from a head that is long enough comes what the whole gives.
func TestTruncation(t *testing.T) {
	for name, b := range samples(t) {
		want, c := parseAll(b, len(b))
		if c != OK {
			t.Errorf("%s: %v", name, c)
			continue
		}
		enough := false
		for n := range b {
			if _, c := parseAll(b[:n], n); c != Truncated {
				t.Errorf("%s, packet cut to %d: %v", name, n, c)
			}
			got, c := parseAll(b[:n], len(b))
			switch {
			case c == OK && got == want:
				enough = true
			case c == NeedMore && !enough:
			default:
				t.Errorf("%s, head of %d: %v, %+v", name, n, c, got)
			}
			// A head that holds more than the packet is of no use.
			if _, c := parseAll(b, n); c != Truncated {
				t.Errorf("%s, %d bytes in a longer head: %v", name, n, c)
			}
		}
	}
}

// checkParsed checks what a stack relies on without looking again.
func checkParsed(t testing.TB, totalLen int, r *parsed, c Cause) {
	t.Helper()
	if c >= Cause(NumCauses) {
		t.Fatalf("cause %d", c)
	}
	if c != OK {
		return
	}
	p := &r.p
	if p.L4Offset < IPv4HeaderLen || p.L4Len < 0 || p.Len() > totalLen || p.L4Len > maxPacketLen ||
		int(p.FragOffset)+p.L4Len > maxPacketLen && p.IsFragment() {
		t.Fatalf("bounds: %+v, packet of %d", p, totalLen)
	}
	if p.Src.Is4() != (p.Version == 4) || p.Dst.Is4() != (p.Version == 4) ||
		p.Src.Is4In6() || p.Dst.Is4In6() || p.Src.IsMulticast() || !p.Src.IsValid() {
		t.Fatalf("addresses: %+v", p)
	}
	if p.IsFragment() {
		return
	}
	switch {
	case p.Proto == ProtoTCP && (r.t.PayloadLen < 0 || r.t.PayloadOffset+r.t.PayloadLen != p.Len()),
		p.Proto == ProtoUDP && (r.u.PayloadLen < 0 || r.u.PayloadOffset+r.u.PayloadLen != p.Len()),
		r.m.PayloadLen < 0, r.m.PayloadOffset+r.m.PayloadLen > p.Len():
		t.Fatalf("payload: %+v", r)
	case r.t.Options.SACKCount > maxSACKBlocks, r.t.Options.WindowScale > MaxWindowScale:
		t.Fatalf("options: %+v", r.t.Options)
	}
}

// behindChecksum makes the header checksum of b right, if b looks like IPv4, so that
// a test gets to see what is behind it.
func behindChecksum(b []byte) []byte {
	if len(b) >= IPv4HeaderLen && b[0]>>4 == 4 && b[0]&0xf >= 5 && len(b) >= int(b[0]&0xf)*4 {
		return fixIPv4(b)
	}
	return b
}

// Every byte of every sample is given every value: no parser panics, and what is
// accepted is within bounds.
func TestEveryByteChanged(t *testing.T) {
	for name, b := range samples(t) {
		for i := range b {
			for v := range 256 {
				m := behindChecksum(edit(b, i, byte(v)))
				r, c := parseAll(m, len(m))
				checkParsed(t, len(m), &r, c)
				if c == NeedMore {
					t.Fatalf("%s, byte %d is %#x: %v, but there is no more", name, i, v, c)
				}
			}
		}
	}
}

func TestCauseNames(t *testing.T) {
	seen := map[string]bool{}
	for c := range Cause(NumCauses) {
		if s := c.String(); s == "" || s == "unknown" || seen[s] {
			t.Errorf("cause %d is called %q", c, s)
		} else {
			seen[s] = true
		}
	}
	if s := Cause(NumCauses).String(); s != "unknown" {
		t.Errorf("a cause that does not exist is called %q", s)
	}
}

func TestMaxHeaderLen(t *testing.T) {
	if MaxHeaderLen != 512 {
		t.Errorf("MaxHeaderLen %d; the comment on MaxExtensionBytes says 512", MaxHeaderLen)
	}
	// The longest headers that there are: extensions in an error and in its quote.
	long := append([]byte{0x1e, MaxExtensionBytes - 4}, make([]byte, MaxExtensionBytes-4)...)
	quote := ipv6Packet(t, extDestOptions, ext(ProtoUDP, long...), udp12)
	message := join([]byte{1, 4, 0, 0, 0, 0, 0, 0}, quote)
	b := ipv6Packet(t, extDestOptions, ext(ProtoICMPv6, long...), message)
	if _, c := parseAll(b[:MaxHeaderLen], len(b)); c != OK {
		t.Errorf("head of MaxHeaderLen: %v", c)
	}
	if _, c := parseAll(b[:MaxHeaderLen-1], len(b)); c != NeedMore {
		t.Errorf("a byte less: %v", c)
	}
}
