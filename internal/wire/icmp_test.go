package wire

import (
	"bytes"
	"errors"
	"net/netip"
	"testing"
)

const (
	// A TCP segment that we sent: 192.0.2.9:9000 > 198.51.100.7:40000, sequence
	// number 0x11223344, as far as RFC 792 wants it quoted. The checksum is that of
	// another TTL, as some routers leave it.
	quoted4 = "4500 05dc 0000 4000 3806 dead c0000209 c6336407 2328 9c40 11223344 "
	// A UDP datagram that we sent: [2001:db8::2]:53 > [2001:db8::1]:40000.
	quoted6 = "6000 0000 0500 11 3f" + addrB + addrA + " 0035 9c40 0500 abcd "
)

func icmp4(t testing.TB, message string) []byte {
	return buildIP(t, netip.MustParseAddr("203.0.113.1"), netip.MustParseAddr("192.0.2.9"), ProtoICMP, unhex(t, message))
}

func icmp6(t testing.TB, message string) []byte {
	return ipv6Packet(t, ProtoICMPv6, unhex(t, message))
}

func TestParseICMP(t *testing.T) {
	tcp4 := Quote{
		Flow: Tuple{netip.MustParseAddrPort("192.0.2.9:9000"), netip.MustParseAddrPort("198.51.100.7:40000"), ProtoTCP},
		Seq:  0x11223344,
	}
	udp6 := Quote{
		Flow: Tuple{netip.MustParseAddrPort("[2001:db8::2]:53"), netip.MustParseAddrPort("[2001:db8::1]:40000"), ProtoUDP},
	}
	icmpFlow := Quote{Flow: Tuple{netip.MustParseAddrPort("192.0.2.9:0"), netip.MustParseAddrPort("198.51.100.7:0"), ProtoICMP}}
	const options = "4600 05dc 0000 4000 3806 dead c0000209 c6336407 94040000 2328 9c40 11223344"
	const sixExt = "6000 0000 0500 3c 3f" + addrB + addrA + " 1100 0104 00000000 0035 9c40 0500 abcd "
	for _, tt := range []struct {
		name string
		b    []byte
		want ICMP
	}{
		{"echo request", icmp4(t, "0800 0000 1234 0007 70696e67"),
			ICMP{Kind: ICMPEchoRequest, Type: 8, EchoID: 0x1234, EchoSeq: 7, PayloadOffset: 28, PayloadLen: 4}},
		{"echo reply", icmp4(t, "0000 0000 1234 0007"),
			ICMP{Kind: ICMPEchoReply, EchoID: 0x1234, EchoSeq: 7, PayloadOffset: 28}},
		{"echo request, IPv6", icmp6(t, "8000 0000 1234 0007 70696e67"),
			ICMP{Kind: ICMPEchoRequest, Type: 128, EchoID: 0x1234, EchoSeq: 7, PayloadOffset: 48, PayloadLen: 4}},
		{"echo reply, IPv6", icmp6(t, "8100 0000 1234 0007"),
			ICMP{Kind: ICMPEchoReply, Type: 129, EchoID: 0x1234, EchoSeq: 7, PayloadOffset: 48}},
		{"redirect", icmp4(t, "0501 0000 c0000201"+quoted4), ICMP{Type: 5, Code: 1, PayloadOffset: 28, PayloadLen: 28}},
		{"neighbour solicitation", icmp6(t, "8700 0000 00000000"+addrA), ICMP{Type: 135, PayloadOffset: 48, PayloadLen: 16}},
		{"host unreachable", icmp4(t, "0301 0000 00000000"+quoted4),
			ICMP{Kind: ICMPUnreachable, Type: 3, Code: 1, PayloadOffset: 28, PayloadLen: 28, Quote: tcp4}},
		{"fragmentation needed", icmp4(t, "0304 0000 0000 0578"+quoted4+"00000000"),
			ICMP{Kind: ICMPPacketTooBig, Type: 3, Code: 4, MTU: 1400, PayloadOffset: 28, PayloadLen: 32, Quote: tcp4}},
		{"fragmentation needed, with the length of RFC 4884", icmp4(t, "0304 0000 0007 0578"+quoted4),
			ICMP{Kind: ICMPPacketTooBig, Type: 3, Code: 4, MTU: 1400, PayloadOffset: 28, PayloadLen: 28, Quote: tcp4}},
		{"fragmentation needed, before RFC 1191", icmp4(t, "0304 0000 0000 0000"+quoted4),
			ICMP{Kind: ICMPPacketTooBig, Type: 3, Code: 4, PayloadOffset: 28, PayloadLen: 28, Quote: tcp4}},
		{"time exceeded", icmp4(t, "0b00 0000 00000000"+quoted4),
			ICMP{Kind: ICMPTimeExceeded, Type: 11, PayloadOffset: 28, PayloadLen: 28, Quote: tcp4}},
		{"parameter problem", icmp4(t, "0c00 0000 14000000"+options),
			ICMP{Kind: ICMPParameterProblem, Type: 12, PayloadOffset: 28, PayloadLen: 32, Quote: tcp4}},
		{"quotes an echo request", icmp4(t, "0301 0000 00000000 4500 0054 0000 4000 3801 dead c0000209 c6336407 0800 0000 00010001"),
			ICMP{Kind: ICMPUnreachable, Type: 3, Code: 1, PayloadOffset: 28, PayloadLen: 28, Quote: icmpFlow}},
		{"port unreachable, IPv6", icmp6(t, "0104 0000 00000000"+quoted6),
			ICMP{Kind: ICMPUnreachable, Type: 1, Code: 4, PayloadOffset: 48, PayloadLen: 48, Quote: udp6}},
		{"packet too big", icmp6(t, "0200 0000 00000578"+quoted6),
			ICMP{Kind: ICMPPacketTooBig, Type: 2, MTU: 1400, PayloadOffset: 48, PayloadLen: 48, Quote: udp6}},
		{"time exceeded, IPv6", icmp6(t, "0300 0000 00000000"+sixExt),
			ICMP{Kind: ICMPTimeExceeded, Type: 3, PayloadOffset: 48, PayloadLen: 56, Quote: udp6}},
		{"parameter problem, IPv6", icmp6(t, "0401 0000 00000028"+quoted6),
			ICMP{Kind: ICMPParameterProblem, Type: 4, Code: 1, PayloadOffset: 48, PayloadLen: 48, Quote: udp6}},
	} {
		var p Packet
		if c := ParseIP(tt.b, len(tt.b), Verify, &p); c != OK {
			t.Fatalf("%s: %v", tt.name, c)
		}
		got := ICMP{MTU: 9, EchoID: 9, Quote: Quote{Seq: 9}}
		if c := ParseICMP(tt.b, &p, &got); c != OK || got != tt.want {
			t.Errorf("%s: %v, %+v\nwant %+v", tt.name, c, got, tt.want)
		}
		if wantErr := tt.want.Quote != (Quote{}); got.Kind.IsError() != wantErr {
			t.Errorf("%s: IsError %v", tt.name, !wantErr)
		}
	}
}

func TestParseICMPRefusals(t *testing.T) {
	unreachable := func(quote string) []byte { return icmp4(t, "0301 0000 00000000"+quote) }
	unreachable6 := func(quote string) []byte { return icmp6(t, "0104 0000 00000000"+quote) }
	mapped := "00000000000000000000ffffc0000201"
	for _, tt := range []struct {
		name string
		b    []byte
		want Cause
	}{
		{"7 bytes", icmp4(t, "0800 0000 1234 00"), Truncated},
		{"no quote", unreachable(""), BadQuote},
		{"quote without ports", unreachable(quoted4[:50]), BadQuote},
		{"quote of IPv6 in IPv4", unreachable(quoted6), BadQuote},
		{"quote of IPv4 in IPv6", unreachable6(quoted4), BadQuote},
		{"quote of a later fragment", unreachable("4500 05dc 0000 0001 3806 dead c0000209 c6336407 2328 9c40 11223344"), BadQuote},
		{"quote of a first fragment", unreachable("4500 05dc 0000 2000 3806 dead c0000209 c6336407 2328 9c40 11223344"), OK},
		{"quoted header of 16 bytes", unreachable("44" + quoted4[2:]), BadQuote},
		{"quoted header with options that are not there", unreachable("47" + quoted4[2:]), BadQuote},
		{"quote of mapped addresses", unreachable6("6000 0000 0500 11 3f" + mapped + addrA + " 0035 9c40 0500 abcd"), BadQuote},
		{"quote of an IPv6 fragment", unreachable6("6000 0000 0500 2c 3f" + addrB + addrA + " 1100 0001 00000000 0035 9c40 0500 abcd"), BadQuote},
		{"ICMPv6 in IPv4", buildIP(t, netip.MustParseAddr("203.0.113.1"), netip.MustParseAddr("192.0.2.9"), ProtoICMPv6, make([]byte, 8)), WrongProtocol},
		{"ICMPv4 in IPv6", ipv6Packet(t, ProtoICMP, make([]byte, 8)), WrongProtocol},
	} {
		var p Packet
		if c := ParseIP(tt.b, len(tt.b), Verify, &p); c != OK {
			t.Fatalf("%s: %v", tt.name, c)
		}
		var m ICMP
		if c := ParseICMP(tt.b, &p, &m); c != tt.want {
			t.Errorf("%s: %v, want %v", tt.name, c, tt.want)
		}
	}
}

// A quote in the head that goes on as Ethernet padding is no quote.
func TestParseICMPIgnoresPadding(t *testing.T) {
	b := icmp4(t, "0301 0000 00000000"+quoted4[:50])
	b = append(b, unhex(t, quoted4[50:])...)
	var p Packet
	var m ICMP
	if c := ParseIP(b, len(b), Verify, &p); c != OK {
		t.Fatal(c)
	}
	if c := ParseICMP(b, &p, &m); c != BadQuote {
		t.Errorf("%v, want %v", c, BadQuote)
	}
}

func TestPutEchoReply(t *testing.T) {
	data := []byte("ping!")
	for _, request := range [][]byte{
		icmp4(t, "0800 e5f3 1234 0007 70696e6721"),
		icmp6(t, "8000 1237 1234 0007 70696e6721"),
	} {
		var p Packet
		var m ICMP
		if c := ParseIP(request, len(request), Verify, &p); c != OK {
			t.Fatal(c)
		}
		if c := ParseICMP(request, &p, &m); c != OK {
			t.Fatal(c)
		}
		if c := p.VerifyL4(request[:m.PayloadOffset], data); c != OK {
			t.Fatalf("request: %v", c)
		}
		b := make([]byte, EchoHeaderLen)
		if n, err := PutEchoReply(b, &p, &m); n != len(b) || err != nil {
			t.Fatal(n, err)
		}
		var pseudo Sum
		if p.Version == 6 {
			pseudo = PseudoSum(p.Dst, p.Src, p.Proto, len(b)+len(data))
		}
		if err := FillChecksum(b, p.Proto, pseudo, data); err != nil {
			t.Fatal(err)
		}
		reply := buildIP(t, p.Dst, p.Src, p.Proto, join(b, data))
		var rp Packet
		var rm ICMP
		if c := ParseIP(reply, len(reply), Verify, &rp); c != OK {
			t.Fatal(c)
		}
		if c := ParseICMP(reply, &rp, &rm); c != OK || rm.Kind != ICMPEchoReply ||
			rm.EchoID != m.EchoID || rm.EchoSeq != m.EchoSeq || rm.PayloadLen != len(data) {
			t.Errorf("%v, %+v", c, rm)
		}
		if c := rp.VerifyL4(reply); c != OK {
			t.Errorf("reply: %v", c)
		}
		if n, err := PutEchoReply(b[:7], &p, &m); n != 0 || !errors.Is(err, ErrShortBuffer) {
			t.Errorf("7 bytes: %d, %v", n, err)
		}
		if n, err := PutEchoReply(b, &rp, &rm); n != 0 || !errors.Is(err, ErrNoReply) {
			t.Errorf("reply to a reply: %d, %v", n, err)
		}
	}
}

func TestPutPortUnreachable(t *testing.T) {
	big4 := join(ipv4Sample(t), make([]byte, 1400))
	big4 = fixIPv4(edit(big4, 2, byte(len(big4)>>8), byte(len(big4))))
	for _, tt := range []struct {
		name string
		orig []byte
		head int
		want int // length of the message
	}{
		{"IPv4", ipv4Sample(t), 115, 8 + 115},
		{"IPv4, head only", ipv4Sample(t), 28, 8 + 28},
		{"IPv4, padding is not quoted", append(ipv4Sample(t), 1, 2, 3), 118, 8 + 115},
		{"IPv4, long", big4, len(big4), 576 - 20},
		{"IPv6", ipv6Packet(t, ProtoUDP, udp12), 52, 8 + 52},
		{"IPv6, long", ipv6Packet(t, ProtoUDP, udp12, make([]byte, 1400)), 1452, 1280 - 40},
	} {
		var p Packet
		if c := ParseIP(tt.orig, len(tt.orig), Verify, &p); c != OK {
			t.Fatalf("%s: %v", tt.name, c)
		}
		head := tt.orig[:tt.head]
		if n := ICMPErrorLen(head, &p); n != tt.want {
			t.Errorf("%s: ICMPErrorLen %d, want %d", tt.name, n, tt.want)
		}
		b := bytes.Repeat([]byte{0xee}, tt.want+1)
		n, err := PutICMPError(b, PortUnreachable, head, &p)
		if n != tt.want || err != nil || b[n] != 0xee {
			t.Fatalf("%s: %d, %v; byte behind it %#x", tt.name, n, err, b[n])
		}
		proto, code := uint8(ProtoICMP), uint8(3)
		if p.Version == 6 {
			proto, code = ProtoICMPv6, 4
		}
		pkt := buildIP(t, p.Dst, p.Src, proto, b[:n])
		var rp Packet
		var m ICMP
		if c := ParseIP(pkt, len(pkt), Verify, &rp); c != OK {
			t.Fatalf("%s: %v", tt.name, c)
		}
		if c := rp.VerifyL4(pkt); c != OK {
			t.Errorf("%s: %v", tt.name, c)
		}
		c := ParseICMP(pkt, &rp, &m)
		src, dst := be16(tt.orig[p.L4Offset:]), be16(tt.orig[p.L4Offset+2:])
		if c != OK || m.Kind != ICMPUnreachable || m.Code != code || m.Quote.Flow != p.Tuple(src, dst).Reverse() {
			t.Errorf("%s: %v, %+v", tt.name, c, m)
		}
		if n, err := PutICMPError(b[:tt.want], PortUnreachable, head, &p); n != tt.want || err != nil {
			t.Errorf("%s, buffer just long enough: %d, %v", tt.name, n, err)
		}
		if n, err := PutICMPError(b[:tt.want-1], PortUnreachable, head, &p); n != 0 || !errors.Is(err, ErrShortBuffer) {
			t.Errorf("%s, short buffer: %d, %v", tt.name, n, err)
		}
	}
}

func TestPutPortUnreachableRefuses(t *testing.T) {
	addr := netip.MustParseAddr
	good := Packet{Version: 4, Proto: ProtoUDP, Src: addr("192.0.2.1"), Dst: addr("192.0.2.2"), L4Offset: 20, L4Len: 8}
	for name, change := range map[string]func(*Packet){
		"multicast":              func(p *Packet) { p.Dst = addr("224.0.0.251") },
		"broadcast":              func(p *Packet) { p.Dst = addr("255.255.255.255") },
		"IPv6 multicast":         func(p *Packet) { p.Version, p.Src, p.Dst = 6, addr("2001:db8::1"), addr("ff02::fb") },
		"from nobody":            func(p *Packet) { p.Src = addr("0.0.0.0") },
		"IPv6 from nobody":       func(p *Packet) { p.Version, p.Src, p.Dst = 6, addr("::"), addr("2001:db8::1") },
		"later fragment":         func(p *Packet) { p.FragOffset = 8 },
		"ICMP":                   func(p *Packet) { p.Proto = ProtoICMP },
		"ICMPv6":                 func(p *Packet) { p.Proto = ProtoICMPv6 },
		"from a multicast group": func(p *Packet) { p.Src = addr("224.0.0.1") },
	} {
		p := good
		change(&p)
		b := make([]byte, 64)
		if n, err := PutICMPError(b, PortUnreachable, make([]byte, 28), &p); n != 0 || !errors.Is(err, ErrNoReply) || b[0] != 0 {
			t.Errorf("%s: %d, %v", name, n, err)
		}
	}
	if _, err := PutICMPError(make([]byte, 64), PortUnreachable, make([]byte, 28), &good); err != nil {
		t.Errorf("good: %v", err)
	}
}
