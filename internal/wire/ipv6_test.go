package wire

import (
	"net/netip"
	"testing"
)

const (
	addrA = "20010db8000000000000000000000001"
	addrB = "20010db8000000000000000000000002"
)

// ipv6Packet returns a packet with the given next header and payload.
func ipv6Packet(t testing.TB, next uint8, payload ...[]byte) []byte {
	body := join(payload...)
	b := join(unhex(t, "6000 0000 0000 00 40"+addrA+addrB), body)
	b[4], b[5], b[6] = byte(len(body)>>8), byte(len(body)), next
	return b
}

// ext returns an extension header of 8 bytes or more around its content, filled up
// with Pad1 options.
func ext(next uint8, content ...byte) []byte {
	b := append([]byte{next, 0}, content...)
	for len(b)%8 != 0 {
		b = append(b, 0)
	}
	b[1] = byte(len(b)/8 - 1)
	return b
}

var udp12 = []byte{0, 53, 0x9c, 0x40, 0, 12, 0xab, 0xcd, 1, 2, 3, 4}

func TestParseIPv6(t *testing.T) {
	b := ipv6Packet(t, ProtoUDP, udp12)
	b[0], b[1] = 0x6b, 0xa1 // traffic class 0xba, flow label 0x10000
	want := Packet{
		Src: netip.MustParseAddr("2001:db8::1"), Dst: netip.MustParseAddr("2001:db8::2"),
		DontFragment: true, Version: 6, Proto: ProtoUDP, HopLimit: 64, TrafficClass: 0xba, L4Offset: 40, L4Len: 12,
	}
	p := Packet{ID: 7, FragOffset: 8, MoreFragments: true, Version: 4}
	if c := ParseIP(b, len(b), Verify, &p); c != OK || p != want {
		t.Fatalf("%v, %+v, want %+v", c, p, want)
	}
	if c := ParseIP(b[:40], len(b)+6, Verify, &p); c != OK || p != want {
		t.Errorf("header only, padded: %v, %+v", c, p)
	}
	if c := ParseIP(b, len(b)-1, Verify, &p); c != Truncated {
		t.Errorf("packet one byte short: %v", c)
	}
}

func TestParseIPv6Addresses(t *testing.T) {
	b := ipv6Packet(t, ProtoUDP, udp12)
	mapped := netip.MustParseAddr("::ffff:192.0.2.1").As16()
	group := netip.MustParseAddr("ff02::1").As16()
	compat := netip.MustParseAddr("::192.0.2.1").As16()
	for _, tt := range []struct {
		name string
		b    []byte
		want Cause
	}{
		{"mapped source", edit(b, 8, mapped[:]...), BadAddress},
		{"mapped destination", edit(b, 24, mapped[:]...), BadAddress},
		{"multicast source", edit(b, 8, group[:]...), BadAddress},
		{"multicast destination", edit(b, 24, group[:]...), OK},
		{"compatible, not mapped", edit(b, 8, compat[:]...), OK},
		{"a bit away from mapped, high", edit(b, 8, join([]byte{0x01}, mapped[1:])...), OK},
		{"a bit away from mapped, middle", edit(b, 8, join(mapped[:4], []byte{0x01}, mapped[5:])...), OK},
		{"a bit away from mapped, low", edit(b, 8, join(mapped[:9], []byte{0x01}, mapped[10:])...), OK},
	} {
		var p Packet
		if c := ParseIP(tt.b, len(tt.b), Verify, &p); c != tt.want {
			t.Errorf("%s: %v, want %v", tt.name, c, tt.want)
		}
	}
}

func TestParseIPv6Extensions(t *testing.T) {
	var (
		udp     = uint8(ProtoUDP)
		atomic  = []byte{udp, 0xff, 0, 0, 1, 2, 3, 4} // the reserved byte is no length
		srh     = ext(udp, 4, 0, 0, 0, 0, 0)          // segment routing header, nothing left
		eightDO []byte
	)
	for range 8 {
		eightDO = append(eightDO, ext(extDestOptions)...)
	}
	eightDO[7*8] = udp
	long := func(n int) []byte { return ext(udp, append([]byte{0x1e, byte(n - 4)}, make([]byte, n-4)...)...) }

	for _, tt := range []struct {
		name  string
		next  uint8
		chain []byte
		want  Cause
		l4    int
		proto uint8
	}{
		{"hop-by-hop with router alert", extHopByHop, ext(udp, 5, 2, 0, 0), OK, 48, udp},
		{"hop-by-hop, destination, routing, fragment", extHopByHop,
			join(ext(extDestOptions), ext(extRouting), ext(extFragment, 0, 0), ext(udp)), OK, 72, udp},
		{"routing with nothing left", extRouting, srh, OK, 48, udp},
		{"routing type 0", extRouting, ext(udp, 0, 1), SourceRouted, 0, 0},
		{"segments left", extRouting, ext(udp, 4, 2), SourceRouted, 0, 0},
		{"two routing headers", extRouting, join(ext(extRouting), srh), BadExtension, 0, 0},
		{"atomic fragment", extFragment, atomic, OK, 48, udp},
		{"two fragment headers", extFragment, join(ext(extFragment), atomic), BadExtension, 0, 0},
		{"hop-by-hop not first", extDestOptions, join(ext(extHopByHop), ext(udp)), BadExtension, 0, 0},
		{"two hop-by-hop", extHopByHop, join(ext(extHopByHop), ext(udp)), BadExtension, 0, 0},
		{"as many as may be", extDestOptions, eightDO, OK, 40 + 64, udp},
		{"one more", extDestOptions, join(ext(extDestOptions), eightDO), BadExtension, 0, 0},
		{"as long as may be", extDestOptions, long(MaxExtensionBytes), OK, 40 + MaxExtensionBytes, udp},
		{"longer", extDestOptions, long(MaxExtensionBytes + 8), BadExtension, 0, 0},
		{"longer together", extDestOptions, join(ext(extDestOptions), long(MaxExtensionBytes)), BadExtension, 0, 0},
		{"unknown option to skip", extDestOptions, ext(udp, 0x3e, 1, 9), OK, 48, udp},
		{"unknown option to discard", extDestOptions, ext(udp, 0x40, 0), RefusedOption, 0, 0},
		{"unknown option to report", extDestOptions, ext(udp, 0x80, 0), RefusedOption, 0, 0},
		{"home address", extDestOptions, ext(udp, append([]byte{0xc9, 16}, make([]byte, 16)...)...), RefusedOption, 0, 0},
		{"jumbo payload", extHopByHop, ext(udp, 0xc2, 4, 0, 1, 0, 0), Jumbogram, 0, 0},
		{"option beyond header", extDestOptions, ext(udp, 1, 5, 0, 0, 0, 0), BadOption, 0, 0},
		{"option without length", extDestOptions, ext(udp, 1, 3, 0, 0, 0, 1), BadOption, 0, 0},
		{"no next header", extDestOptions, ext(59), OK, 48, 59},
		{"authentication header is not walked", 51, ext(udp), OK, 40, 51},
	} {
		b := ipv6Packet(t, tt.next, tt.chain, udp12)
		var p Packet
		c := ParseIP(b, len(b), Verify, &p)
		if c != tt.want {
			t.Errorf("%s: %v, want %v", tt.name, c, tt.want)
		} else if c == OK && (p.L4Offset != tt.l4 || p.Proto != tt.proto || p.Len() != len(b) || p.IsFragment()) {
			t.Errorf("%s: %+v", tt.name, p)
		}
	}

	// A length of zero with a hop-by-hop header is a jumbogram, before its option
	// has been seen. Without one it is a packet without payload.
	b := ipv6Packet(t, extHopByHop, ext(udp, 0xc2, 4, 0, 1, 0, 0), udp12)
	var p Packet
	if c := ParseIP(edit(b, 4, 0, 0), len(b), Verify, &p); c != Jumbogram {
		t.Errorf("length 0 with hop-by-hop: %v", c)
	}
	empty := append(ipv6Packet(t, 59), make([]byte, 6)...) // Ethernet padding
	if c := ParseIP(empty, len(empty), Verify, &p); c != OK || p.L4Len != 0 || p.Proto != 59 {
		t.Errorf("no payload: %v, %+v", c, p)
	}
}

func TestParseIPv6Fragments(t *testing.T) {
	for _, tt := range []struct {
		name   string
		field  uint16
		size   int
		want   Cause
		offset uint16
		more   bool
	}{
		{"first", 0x0001, 16, OK, 0, true},
		{"middle", 0x0011, 16, OK, 16, true},
		{"last", 0x0020, 13, OK, 32, false},
		{"reserved bits set", 0x0026, 13, OK, 32, false},
		{"odd length in the middle", 0x0011, 13, BadFragment, 0, false},
		{"nothing in it", 0x0011, 0, BadFragment, 0, false},
		{"up to the longest packet", 0xfff0, 15, OK, 65520, false},
		{"beyond the longest packet", 0xfff0, 16, BadFragment, 0, false},
	} {
		h := []byte{extDestOptions, 0, byte(tt.field >> 8), byte(tt.field), 0xde, 0xad, 0xbe, 0xef}
		b := ipv6Packet(t, extFragment, h, make([]byte, tt.size))
		var p Packet
		c := ParseIP(b, len(b), Verify, &p)
		if c != tt.want {
			t.Errorf("%s: %v, want %v", tt.name, c, tt.want)
			continue
		}
		// The walk stops at the fragment header: Proto is an extension's.
		if c == OK && (!p.IsFragment() || p.FragOffset != tt.offset || p.MoreFragments != tt.more ||
			p.ID != 0xdeadbeef || p.Proto != extDestOptions || p.L4Offset != 48 || p.L4Len != tt.size) {
			t.Errorf("%s: %+v", tt.name, p)
		}
	}
}

// UpperLayer finds what is behind the headers of a first fragment, and asks for as much of it as
// that takes.
func TestUpperLayer(t *testing.T) {
	chain := join(ext(extDestOptions), ext(extRouting), ext(ProtoUDP, 4, 0), make([]byte, 40))
	b := ipv6Packet(t, extFragment, ext(extDestOptions, 0, 1, 0, 0, 0, 7), chain)
	b[IPv6HeaderLen+1] = 0 // reserved
	var p Packet
	if c := ParseIP(b, len(b), Verify, &p); c != OK || !p.IsFragment() || p.L4Offset != 48 {
		t.Fatalf("%v, %+v", c, p)
	}
	for n := p.L4Offset; n <= len(b); n++ {
		proto, off, c := p.UpperLayer(b[:n])
		if n < 72 {
			if c != NeedMore {
				t.Errorf("%d bytes: %v", n, c)
			}
		} else if proto != ProtoUDP || off != 72 || c != OK {
			t.Errorf("%d bytes: protocol %d at %d, %v", n, proto, off, c)
		}
	}
	p.L4Len = 20 // the fragment ends within them
	if _, _, c := p.UpperLayer(b); c != Truncated {
		t.Errorf("an incomplete chain: %v", c)
	}
	p = Packet{Version: 4, Proto: ProtoTCP, L4Offset: 24, L4Len: 8}
	if proto, off, c := p.UpperLayer(nil); proto != ProtoTCP || off != 24 || c != OK {
		t.Errorf("IPv4: protocol %d at %d, %v", proto, off, c)
	}
}
