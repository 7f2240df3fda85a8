package wire

import (
	"errors"
	"testing"
)

func TestVerifyL4(t *testing.T) {
	syn := linuxSYN(t)
	udp6 := edit(ipv6Packet(t, ProtoUDP, udp12), 46, 0x03, 0xe6)
	echo := unhex(t, "4500 0021 0001 0000 4001 f8c2 c0a8 0001 c0a8 00c7 0800 e5f3 1234 0007 70696e6721")
	noSum := edit(ipv4Sample(t), 20, 0x30, 0x39, 0, 53, 0, 95, 0, 0)
	for _, tt := range []struct {
		name string
		b    []byte
		want Cause
	}{
		{"TCP", syn, OK},
		{"TCP, sequence number changed", edit(syn, 27, 0x21), BadChecksum},
		{"TCP, address changed", fixIPv4(edit(syn, 15, 2)), BadChecksum},
		{"TCP, checksum partial", edit(syn, 36, 0x82, 0x47), BadChecksum},
		{"UDP in IPv6", udp6, OK},
		{"UDP in IPv6, payload changed", edit(udp6, 51, 5), BadChecksum},
		{"UDP in IPv6, no checksum", edit(udp6, 46, 0, 0), BadChecksum},
		{"UDP without checksum", noSum, OK},
		{"ICMPv4", echo, OK},
		{"ICMPv4, data changed", edit(echo, 32, '?'), BadChecksum},
		{"unknown protocol", fixIPv4(edit(syn, 9, 132)), WrongProtocol},
		{"too short for a checksum", fixIPv4(edit(syn, 2, 0, 37)), Truncated},
	} {
		var p Packet
		if c := ParseIP(tt.b, len(tt.b), Verify, &p); c != OK {
			t.Fatalf("%s: %v", tt.name, c)
		}
		l4 := p.L4Offset + 18
		if l4 > len(tt.b) {
			l4 = len(tt.b)
		}
		// However the packet is cut up, padded with bytes that would spoil the sum.
		padding := []byte{0xba, 0xdd}
		for cut := l4; cut <= len(tt.b); cut++ {
			head, rest := tt.b[:cut], tt.b[cut:]
			half := len(rest) / 2
			for _, payload := range [][][]byte{
				{rest, padding},
				{rest[:half], nil, rest[half:], padding},
				{join(rest, padding)},
			} {
				if c := p.VerifyL4(head, payload...); c != tt.want {
					t.Fatalf("%s, head of %d: %v, want %v", tt.name, cut, c, tt.want)
				}
			}
		}
		if c := p.VerifyL4(join(tt.b, padding)); c != tt.want {
			t.Errorf("%s, one slice: %v, want %v", tt.name, c, tt.want)
		}
	}

	var p Packet
	if c := ParseIP(syn, len(syn), Verify, &p); c != OK {
		t.Fatal(c)
	}
	if c := p.VerifyL4(syn[:40], syn[40:59]); c != Truncated {
		t.Errorf("a byte short: %v", c)
	}
	if c := p.VerifyL4(syn[:37], syn[37:]); c != NeedMore {
		t.Errorf("checksum not in head: %v", c)
	}
}

func TestIsPartial(t *testing.T) {
	syn := edit(linuxSYN(t), 36, 0x82, 0x47)
	echo := unhex(t, "4500 001c 0001 0000 4001 f8c7 c0a8 0001 c0a8 00c7 0800 0000 1234 0007")
	for _, tt := range []struct {
		name string
		b    []byte
		want bool
	}{
		{"partial", syn, true},
		{"partial, payload changed", edit(syn, 59, 0xff), true},
		{"complete", linuxSYN(t), false},
		{"complement", edit(syn, 36, 0x7d, 0xb8), false},
		{"one off", edit(syn, 36, 0x82, 0x48), false},
		{"ICMPv4", echo, false},
		{"ends before its checksum", fixIPv4(edit(syn, 2, 0, 37)), false},
	} {
		var p Packet
		if c := ParseIP(tt.b, len(tt.b), Verify, &p); c != OK {
			t.Fatalf("%s: %v", tt.name, c)
		}
		if got := p.IsPartial(tt.b); got != tt.want {
			t.Errorf("%s: %v", tt.name, got)
		}
	}
}

func TestFillChecksum(t *testing.T) {
	b := linuxSYN(t)
	var p Packet
	if c := ParseIP(b, len(b), Verify, &p); c != OK {
		t.Fatal(c)
	}
	want := be16(b[36:])
	// Whatever the field held before.
	b[36], b[37] = 0xaa, 0x55
	if err := FillChecksum(b[20:45], ProtoTCP, p.PseudoSum(), b[45:46], b[46:]); err != nil || be16(b[36:]) != want {
		t.Errorf("%v, %#04x, want %#04x", err, be16(b[36:]), want)
	}
	if err := FillPartialChecksum(b[20:40], ProtoTCP, p.PseudoSum()); err != nil || be16(b[36:]) != 0x8247 || !p.IsPartial(b) {
		t.Errorf("partial: %v, %#04x", err, be16(b[36:]))
	}

	// A UDP checksum that comes out as zero is sent as all ones. The word behind the
	// header is what makes it zero.
	udp := []byte{0, 1, 0, 2, 0, 10, 0, 0, 0, 0}
	pseudo := PseudoSum(p.Src, p.Dst, ProtoUDP, len(udp))
	s := pseudo
	s.Add(udp)
	left := s.Checksum()
	udp[8], udp[9] = byte(left>>8), byte(left)
	if err := FillChecksum(udp, ProtoUDP, pseudo); err != nil || be16(udp[6:]) != 0xffff {
		t.Errorf("UDP checksum %#04x, %v; want 0xffff", be16(udp[6:]), err)
	}

	for _, tt := range []struct {
		proto uint8
		size  int
		want  error
	}{
		{ProtoTCP, 17, ErrShortBuffer}, {ProtoUDP, 7, ErrShortBuffer}, {ProtoICMP, 3, ErrShortBuffer},
		{ProtoICMPv6, 3, ErrShortBuffer}, {132, 100, ErrProtocol},
		{ProtoTCP, 18, nil}, {ProtoUDP, 8, nil}, {ProtoICMP, 4, nil}, {ProtoICMPv6, 4, nil},
	} {
		if err := FillChecksum(make([]byte, tt.size), tt.proto, Sum{}); !errors.Is(err, tt.want) {
			t.Errorf("FillChecksum of protocol %d, %d bytes: %v, want %v", tt.proto, tt.size, err, tt.want)
		}
		if err := FillPartialChecksum(make([]byte, tt.size), tt.proto, Sum{}); !errors.Is(err, tt.want) {
			t.Errorf("FillPartialChecksum of protocol %d, %d bytes: %v, want %v", tt.proto, tt.size, err, tt.want)
		}
	}
}
