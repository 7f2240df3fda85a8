package wire

import (
	"net/netip"
	"testing"
)

// ipv4Sample is the header that TestSumValid knows, with 95 bytes of payload.
func ipv4Sample(t testing.TB) []byte {
	return join(unhex(t, "4500 0073 0000 4000 4011 b861 c0a8 0001 c0a8 00c7"), make([]byte, 95))
}

// withOptions inserts options, padded with zeros, into an IPv4 packet.
func withOptions(b, opts []byte) []byte {
	for len(opts)%4 != 0 {
		opts = append(opts, 0)
	}
	c := join(b[:20], opts, b[20:])
	c[0] = 4<<4 | byte(5+len(opts)/4)
	c[2], c[3] = byte(len(c)>>8), byte(len(c))
	return fixIPv4(c)
}

func TestParseIPv4(t *testing.T) {
	b := ipv4Sample(t)
	want := Packet{
		Src: netip.MustParseAddr("192.168.0.1"), Dst: netip.MustParseAddr("192.168.0.199"),
		DontFragment: true, Version: 4, Proto: ProtoUDP, HopLimit: 64, L4Offset: 20, L4Len: 95,
	}
	// Old content of the result must not shine through.
	p := Packet{ID: 7, FragOffset: 8, MoreFragments: true, Version: 6}
	if c := ParseIP(b, len(b), Verify, &p); c != OK || p != want {
		t.Fatalf("%v, %+v, want %+v", c, p, want)
	}
	if p.Len() != len(b) || p.IsFragment() {
		t.Errorf("Len %d, IsFragment %v", p.Len(), p.IsFragment())
	}
	// Only the header is needed, and padding is not counted.
	if c := ParseIP(b[:20], len(b)+9, Verify, &p); c != OK || p != want {
		t.Errorf("header only, padded: %v, %+v", c, p)
	}
	marked := fixIPv4(edit(b, 1, 0xba)) // DSCP 46 (EF), ECT(0)
	if c := ParseIP(marked, len(b), Verify, &p); c != OK || p.DSCP() != 46 || p.ECN() != ECT0 {
		t.Errorf("traffic class: %v, DSCP %d, ECN %d", c, p.DSCP(), p.ECN())
	}
}

func TestParseIPv4Refusals(t *testing.T) {
	b := ipv4Sample(t)
	for _, tt := range []struct {
		name string
		b    []byte
		want Cause
	}{
		{"version 5", edit(b, 0, 0x55), BadVersion},
		{"header of 16 bytes", edit(b, 0, 0x44), BadHeaderLen},
		{"checksum", edit(b, 10, 0xb8, 0x62), BadHeaderChecksum},
		{"total length below header", fixIPv4(edit(b, 2, 0, 19)), BadLength},
		{"total length zero", fixIPv4(edit(b, 2, 0, 0)), BadLength},
		{"total length beyond packet", fixIPv4(edit(b, 2, 0, 0x74)), Truncated},
		{"multicast source", fixIPv4(edit(b, 12, 224, 0, 0, 1)), BadAddress},
		{"multicast source, last", fixIPv4(edit(b, 12, 239, 255, 255, 255)), BadAddress},
		{"broadcast source", fixIPv4(edit(b, 12, 255, 255, 255, 255)), BadAddress},
		{"class E source", fixIPv4(edit(b, 12, 240, 0, 0, 1)), OK},
		{"multicast destination", fixIPv4(edit(b, 16, 224, 0, 0, 1)), OK},
		{"loose source route", withOptions(b, []byte{131, 7, 4, 10, 0, 0, 1}), SourceRouted},
		{"strict source route after NOP", withOptions(b, []byte{1, 137, 7, 4, 10, 0, 0, 1}), SourceRouted},
		{"router alert", withOptions(b, []byte{148, 4, 0, 0}), OK},
		{"record route", withOptions(b, []byte{7, 39, 4}), BadOption}, // is longer than the header
		{"source route behind the end", withOptions(b, []byte{0, 131, 3, 4}), OK},
		{"option of length 0", withOptions(b, []byte{68, 0, 1, 1}), BadOption},
		{"option of length 1", withOptions(b, []byte{68, 1, 1, 1}), BadOption},
		{"option of length 2 at the end", withOptions(b, []byte{1, 1, 130, 2}), OK},
		{"kind without length", withOptions(b, []byte{1, 1, 1, 68}), BadOption},
		{"40 bytes of options", withOptions(b, append([]byte{7, 39, 4}, make([]byte, 37)...)), OK},
	} {
		var p Packet
		if c := ParseIP(tt.b, len(tt.b), Verify, &p); c != tt.want {
			t.Errorf("%s: %v, want %v", tt.name, c, tt.want)
		} else if c == OK && p.L4Offset != int(tt.b[0]&0xf)*4 {
			t.Errorf("%s: L4Offset %d", tt.name, p.L4Offset)
		}
	}
	var p Packet
	if c := ParseIP(edit(b, 10, 0, 0), len(b), Vouched, &p); c != OK {
		t.Errorf("wrong checksum that is vouched for: %v", c)
	}
	if c := ParseIP(nil, 0, Verify, &p); c != Truncated {
		t.Errorf("no packet: %v", c)
	}
	if c := ParseIP(b, -1, Verify, &p); c != Truncated {
		t.Errorf("negative length: %v", c)
	}
	if c := ParseIP(b, 30, Verify, &p); c != Truncated {
		t.Errorf("bytes beyond totalLen believed: %v", c)
	}
}

func TestParseIPv4Fragments(t *testing.T) {
	// 115 bytes: 95 of payload, not a multiple of 8, so only good as a last one.
	odd := ipv4Sample(t)
	even := fixIPv4(edit(odd[:20+88], 2, 0, 20+88))
	none := fixIPv4(edit(odd[:20], 2, 0, 20))
	for _, tt := range []struct {
		name   string
		b      []byte
		field  [2]byte
		want   Cause
		offset uint16
		more   bool
	}{
		{"first", even, [2]byte{0x20, 0x00}, OK, 0, true},
		{"middle", even, [2]byte{0x20, 0x0b}, OK, 88, true},
		{"last", odd, [2]byte{0x00, 0x0b}, OK, 88, false},
		{"odd length in the middle", odd, [2]byte{0x20, 0x0b}, BadFragment, 0, false},
		{"nothing in it", none, [2]byte{0x20, 0x0b}, BadFragment, 0, false},
		{"up to the longest packet", even, [2]byte{0x1f, 0xf4}, OK, 65440, false},
		{"beyond the longest packet", even, [2]byte{0x1f, 0xf5}, BadFragment, 0, false},
		{"last offset", even, [2]byte{0x1f, 0xff}, BadFragment, 0, false},
	} {
		b := fixIPv4(edit(tt.b, 4, 0x12, 0x34, tt.field[0], tt.field[1]))
		var p Packet
		c := ParseIP(b, len(b), Verify, &p)
		if c != tt.want {
			t.Errorf("%s: %v, want %v", tt.name, c, tt.want)
			continue
		}
		if c != OK {
			continue
		}
		if !p.IsFragment() || p.FragOffset != tt.offset || p.MoreFragments != tt.more || p.ID != 0x1234 {
			t.Errorf("%s: %+v", tt.name, p)
		}
		var u UDP
		if c := ParseUDP(b, &p, &u); c != Fragment {
			t.Errorf("%s: ParseUDP: %v", tt.name, c)
		}
		var seg TCP
		if c := ParseTCP(b, &p, &seg); c != Fragment {
			t.Errorf("%s: ParseTCP: %v", tt.name, c)
		}
		var m ICMP
		if c := ParseICMP(b, &p, &m); c != Fragment {
			t.Errorf("%s: ParseICMP: %v", tt.name, c)
		}
		if c := p.VerifyL4(b); c != Fragment {
			t.Errorf("%s: VerifyL4: %v", tt.name, c)
		}
	}
}
