package wire

import "testing"

func TestParseUDP(t *testing.T) {
	v4 := ipv4Sample(t) // 95 bytes behind the IP header
	v6 := ipv6Packet(t, ProtoUDP, udp12)
	head4 := func(length byte, sum ...byte) []byte {
		return edit(v4, 20, append([]byte{0x30, 0x39, 0, 53, 0, length}, sum...)...)
	}
	for _, tt := range []struct {
		name string
		b    []byte
		want Cause
		u    UDP
	}{
		{"IPv4", head4(95, 1, 2), OK, UDP{12345, 53, true, 28, 87}},
		{"IPv4 without checksum", head4(95, 0, 0), OK, UDP{12345, 53, false, 28, 87}},
		{"shorter than IP says", head4(20, 1, 2), OK, UDP{12345, 53, true, 28, 12}},
		{"no payload", head4(8, 1, 2), OK, UDP{12345, 53, true, 28, 0}},
		{"longer than IP says", head4(96, 1, 2), Truncated, UDP{}},
		{"length 7", head4(7, 1, 2), BadLength, UDP{}},
		{"length 0", head4(0, 1, 2), Jumbogram, UDP{}},
		{"IP has no room for the header", fixIPv4(edit(head4(8, 1, 2), 2, 0, 27)), Truncated, UDP{}},
		{"IPv6", v6, OK, UDP{53, 40000, true, 48, 4}},
		{"IPv6 without checksum", edit(v6, 46, 0, 0), ZeroChecksum, UDP{}},
		{"IPv6 jumbogram", edit(v6, 44, 0, 0), Jumbogram, UDP{}},
	} {
		var p Packet
		if c := ParseIP(tt.b, len(tt.b), Verify, &p); c != OK {
			t.Fatalf("%s: %v", tt.name, c)
		}
		var u UDP
		c := ParseUDP(tt.b[:p.L4Offset+min(8, p.L4Len)], &p, &u)
		if c != tt.want {
			t.Errorf("%s: %v, want %v", tt.name, c, tt.want)
			continue
		}
		if c == OK && (u != tt.u || p.L4Len != 8+tt.u.PayloadLen) {
			t.Errorf("%s: %+v, L4Len %d; want %+v", tt.name, u, p.L4Len, tt.u)
		}
	}
}
