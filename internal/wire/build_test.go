package wire

import (
	"bytes"
	"errors"
	"math/rand/v2"
	"net/netip"
	"testing"
)

// randomAddrs returns two unicast addresses of one family.
func randomAddrs(rnd *rand.Rand) (src, dst netip.Addr) {
	addr := func(v6 bool) netip.Addr {
		var a [16]byte
		for i := range a {
			a[i] = byte(rnd.Uint32())
		}
		if v6 {
			a[0] = 0x20
			return netip.AddrFrom16(a)
		}
		return netip.AddrFrom4([4]byte{byte(1 + rnd.IntN(223)), a[1], a[2], a[3]})
	}
	v6 := rnd.IntN(2) == 0
	return addr(v6), addr(v6)
}

// randomOptions returns options that fit into a header.
func randomOptions(rnd *rand.Rand, syn bool) TCPOptions {
	for {
		var o TCPOptions
		if syn && rnd.IntN(2) == 0 {
			o.MSS = uint16(1 + rnd.IntN(65535))
		}
		if syn && rnd.IntN(2) == 0 {
			o.HasWindowScale, o.WindowScale = true, uint8(rnd.IntN(MaxWindowScale+1))
		}
		o.SACKPermitted = syn && rnd.IntN(2) == 0
		if rnd.IntN(2) == 0 {
			o.HasTimestamps, o.TSVal, o.TSEcr = true, rnd.Uint32(), rnd.Uint32()
		}
		o.SACKCount = uint8(rnd.IntN(maxSACKBlocks + 1))
		for i := range o.SACKCount {
			o.SACK[i] = SACKBlock{Seq(rnd.Uint32()), Seq(rnd.Uint32())}
		}
		if o.Len() <= MaxTCPOptionsLen {
			return o
		}
	}
}

// What is built is parsed to what it was built from, with payload in several
// slices, and a bit that flips anywhere in the segment is noticed.
func TestRoundTripTCP(t *testing.T) {
	rnd := rand.New(rand.NewPCG(3, 3))
	for range 3000 {
		src, dst := randomAddrs(rnd)
		want := TCP{
			SrcPort: uint16(rnd.Uint32()), DstPort: uint16(rnd.Uint32()),
			Seq: Seq(rnd.Uint32()), Ack: Seq(rnd.Uint32()), Flags: Flags(rnd.Uint32()),
			Window: uint16(rnd.Uint32()), Urgent: uint16(rnd.Uint32()),
		}
		want.Options = randomOptions(rnd, want.Flags.Has(SYN))
		payload := make([]byte, rnd.IntN(3000))
		for i := range payload {
			payload[i] = byte(rnd.Uint32())
		}
		cut := rnd.IntN(len(payload) + 1)

		h := IPHeader{
			Src: src, Dst: dst, Proto: ProtoTCP, HopLimit: uint8(rnd.Uint32()), TrafficClass: uint8(rnd.Uint32()),
			ID: uint16(rnd.Uint32()), PayloadLen: want.HeaderLen() + len(payload),
		}
		head := make([]byte, 128)
		for i := range head {
			head[i] = byte(rnd.Uint32()) // builders do not rely on zeroed buffers
		}
		n, err := PutIP(head, &h)
		if err != nil || n != h.Len() {
			t.Fatal(n, err)
		}
		m, err := PutTCP(head[n:], &want)
		if err != nil || m != want.HeaderLen() {
			t.Fatal(m, err)
		}
		head = head[:n+m]
		pseudo := PseudoSum(src, dst, ProtoTCP, h.PayloadLen)
		if err := FillChecksum(head[n:], ProtoTCP, pseudo, payload[:cut], payload[cut:]); err != nil {
			t.Fatal(err)
		}
		total := len(head) + len(payload)

		var p Packet
		if c := ParseIP(head, total, Verify, &p); c != OK {
			t.Fatal(c)
		}
		wantP := Packet{
			Src: src, Dst: dst, DontFragment: true, Version: 6, Proto: ProtoTCP, HopLimit: h.HopLimit,
			TrafficClass: h.TrafficClass, L4Offset: n, L4Len: h.PayloadLen,
		}
		if src.Is4() {
			wantP.Version, wantP.ID = 4, uint32(h.ID)
		}
		if p != wantP {
			t.Fatalf("%+v\nwant %+v", p, wantP)
		}
		want.PayloadOffset, want.PayloadLen = n+m, len(payload)
		var got TCP
		if c := ParseTCP(head, &p, &got); c != OK || got != want {
			t.Fatalf("%v, %+v\nwant %+v", c, got, want)
		}
		if c := p.VerifyL4(head, payload[:cut], payload[cut:]); c != OK {
			t.Fatalf("%v: %+v", c, got)
		}
		flip := n + rnd.IntN(total-n)
		if bit := byte(1 << rnd.IntN(8)); flip < len(head) {
			head[flip] ^= bit
		} else {
			payload[flip-len(head)] ^= bit
		}
		if c := p.VerifyL4(head, payload); c != BadChecksum {
			t.Fatalf("byte %d of %d changed: %v", flip, total, c)
		}
	}
}

func TestRoundTripUDP(t *testing.T) {
	rnd := rand.New(rand.NewPCG(4, 4))
	for range 1000 {
		src, dst := randomAddrs(rnd)
		payload := make([]byte, rnd.IntN(2000))
		for i := range payload {
			payload[i] = byte(rnd.Uint32())
		}
		want := UDP{SrcPort: uint16(rnd.Uint32()), DstPort: uint16(rnd.Uint32()), PayloadLen: len(payload)}
		l4 := make([]byte, UDPHeaderLen)
		if n, err := PutUDP(l4, &want); err != nil || n != UDPHeaderLen {
			t.Fatal(n, err)
		}
		l4 = append(l4, payload...)
		if err := FillChecksum(l4, ProtoUDP, PseudoSum(src, dst, ProtoUDP, len(l4))); err != nil {
			t.Fatal(err)
		}
		b := buildIP(t, src, dst, ProtoUDP, l4)
		var p Packet
		if c := ParseIP(b, len(b), Verify, &p); c != OK {
			t.Fatal(c)
		}
		want.HasChecksum, want.PayloadOffset = true, len(b)-len(payload)
		var got UDP
		if c := ParseUDP(b, &p, &got); c != OK || got != want {
			t.Fatalf("%v, %+v\nwant %+v", c, got, want)
		}
		if c := p.VerifyL4(b); c != OK {
			t.Fatal(c)
		}
	}
}

// Builders write every byte of a header, and no other, whatever the buffer held.
func TestBuildersOverwrite(t *testing.T) {
	v4, v6 := netip.MustParseAddr("192.0.2.1"), netip.MustParseAddr("2001:db8::1")
	request := ICMP{Kind: ICMPEchoRequest}
	orig := Packet{Version: 4, Proto: ProtoUDP, Src: v4, Dst: v4, L4Offset: 20, L4Len: 8}
	orig6 := Packet{Version: 6, Proto: ProtoUDP, Src: v6, Dst: v6, L4Offset: 40, L4Len: 8}
	for name, put := range map[string]func([]byte) (int, error){
		"Ethernet": func(b []byte) (int, error) { return PutEthernet(b, &Ethernet{Tags: 2}) },
		"IPv4":     func(b []byte) (int, error) { return PutIP(b, &IPHeader{Src: v4, Dst: v4}) },
		"IPv6":     func(b []byte) (int, error) { return PutIP(b, &IPHeader{Src: v6, Dst: v6}) },
		"TCP": func(b []byte) (int, error) {
			return PutTCP(b, &TCP{Options: TCPOptions{MSS: 1, HasTimestamps: true, HasWindowScale: true, SACKCount: 1}})
		},
		"UDP":                   func(b []byte) (int, error) { return PutUDP(b, &UDP{}) },
		"echo reply":            func(b []byte) (int, error) { return PutEchoReply(b, &orig, &request) },
		"echo reply IPv6":       func(b []byte) (int, error) { return PutEchoReply(b, &orig6, &request) },
		"port unreachable":      func(b []byte) (int, error) { return PutICMPError(b, PortUnreachable, make([]byte, 28), &orig) },
		"port unreachable IPv6": func(b []byte) (int, error) { return PutICMPError(b, PortUnreachable, make([]byte, 48), &orig6) },
		"vnet header":           func(b []byte) (int, error) { return PutVnetHdr(b[:VnetHdrMergeableLen], 60, &VnetHdr{}) },
	} {
		clean, dirty := make([]byte, 128), bytes.Repeat([]byte{0xff}, 128)
		n, err := put(clean)
		m, err2 := put(dirty)
		if err != nil || err2 != nil || n != m || !bytes.Equal(clean[:n], dirty[:n]) {
			t.Errorf("%s: %x, %v\n%x, %v", name, clean[:n], err, dirty[:m], err2)
		}
		if !bytes.Equal(clean[n:], make([]byte, 128-n)) {
			t.Errorf("%s: wrote beyond its length of %d", name, n)
		}
	}
	// Checksum fields are zero, for the sum to be filled in.
	tcp, udp := make([]byte, 20), make([]byte, 8)
	if _, err := PutTCP(tcp, &TCP{}); err != nil || be16(tcp[16:]) != 0 {
		t.Errorf("TCP: %v, checksum %#x", err, be16(tcp[16:]))
	}
	if _, err := PutUDP(udp, &UDP{}); err != nil || be16(udp[6:]) != 0 {
		t.Errorf("UDP: %v, checksum %#x", err, be16(udp[6:]))
	}
	// The unused word of an unreachable message is zero (RFC 792, RFC 4443).
	b := make([]byte, 64)
	if _, err := PutICMPError(b, PortUnreachable, make([]byte, 28), &orig); err != nil || be32(b[4:]) != 0 {
		t.Errorf("%v, unused word %#x", err, be32(b[4:]))
	}
}

// A wrong argument gets an error, and nothing is written.
func TestBuilderErrors(t *testing.T) {
	v4, v6 := netip.MustParseAddr("192.0.2.1"), netip.MustParseAddr("2001:db8::1")
	mapped := netip.MustParseAddr("::ffff:192.0.2.1")
	ip := func(src, dst netip.Addr, payload int) func([]byte) (int, error) {
		return func(b []byte) (int, error) {
			return PutIP(b, &IPHeader{Src: src, Dst: dst, PayloadLen: payload})
		}
	}
	tcp := func(o TCPOptions) func([]byte) (int, error) {
		return func(b []byte) (int, error) { return PutTCP(b, &TCP{SrcPort: 0x0101, Options: o}) }
	}
	udp := func(payload int) func([]byte) (int, error) {
		return func(b []byte) (int, error) { return PutUDP(b, &UDP{SrcPort: 0x0101, PayloadLen: payload}) }
	}
	for _, tt := range []struct {
		name string
		size int
		put  func([]byte) (int, error)
		want error
	}{
		{"IPv4", 20, ip(v4, v4, 65515), nil},
		{"IPv4 in 19 bytes", 19, ip(v4, v4, 0), ErrShortBuffer},
		{"IPv4 too long", 64, ip(v4, v4, 65516), ErrLength},
		{"IPv4 negative", 64, ip(v4, v4, -1), ErrLength},
		{"IPv6", 40, ip(v6, v6, 65535), nil},
		{"IPv6 in 39 bytes", 39, ip(v6, v6, 0), ErrShortBuffer},
		{"IPv6 too long", 64, ip(v6, v6, 65536), ErrLength},
		{"IPv6 negative", 64, ip(v6, v6, -1), ErrLength},
		{"two families", 64, ip(v4, v6, 0), ErrAddress},
		{"two families, reversed", 64, ip(v6, v4, 0), ErrAddress},
		{"mapped source", 64, ip(mapped, v6, 0), ErrAddress},
		{"mapped destination", 64, ip(v6, mapped, 0), ErrAddress},
		{"mapped and IPv4", 64, ip(v4, mapped, 0), ErrAddress},
		{"no source", 64, ip(netip.Addr{}, v6, 0), ErrAddress},
		{"no destination", 64, ip(v6, netip.Addr{}, 0), ErrAddress},
		{"no address", 64, ip(netip.Addr{}, netip.Addr{}, 0), ErrAddress},
		{"TCP", 20, tcp(TCPOptions{}), nil},
		{"TCP in 19 bytes", 19, tcp(TCPOptions{}), ErrShortBuffer},
		{"TCP with timestamps in 31 bytes", 31, tcp(TCPOptions{HasTimestamps: true}), ErrShortBuffer},
		{"as many SACK blocks as fit", 64, tcp(TCPOptions{SACKCount: uint8(MaxSACKBlocks(false))}), nil},
		{"one more", 64, tcp(TCPOptions{SACKCount: uint8(MaxSACKBlocks(false) + 1)}), ErrOptions},
		{"SACK blocks beside timestamps", 64, tcp(TCPOptions{HasTimestamps: true, SACKCount: uint8(MaxSACKBlocks(true))}), nil},
		{"one more beside timestamps", 64, tcp(TCPOptions{HasTimestamps: true, SACKCount: uint8(MaxSACKBlocks(true) + 1)}), ErrOptions},
		{"255 SACK blocks", 4096, tcp(TCPOptions{SACKCount: 255}), ErrOptions},
		{"window scale 15", 64, tcp(TCPOptions{HasWindowScale: true, WindowScale: 15}), ErrOptions},
		{"UDP", 8, udp(65527), nil},
		{"UDP in 7 bytes", 7, udp(0), ErrShortBuffer},
		{"UDP too long", 64, udp(65528), ErrLength},
		{"UDP negative", 64, udp(-1), ErrLength},
	} {
		b := make([]byte, tt.size)
		n, err := tt.put(b)
		if !errors.Is(err, tt.want) {
			t.Errorf("%s: %v, want %v", tt.name, err, tt.want)
			continue
		}
		if tt.want == nil {
			continue
		}
		wrote := false
		for _, v := range b {
			wrote = wrote || v != 0
		}
		if n != 0 || wrote {
			t.Errorf("%s: length %d, wrote %v", tt.name, n, wrote)
		}
	}
}
