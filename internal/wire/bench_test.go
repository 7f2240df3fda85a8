package wire

import (
	"net/netip"
	"testing"
)

func benchSegment(b *testing.B, src, dst string, o TCPOptions) {
	b.Helper()
	t := TCP{SrcPort: 40000, DstPort: 9000, Seq: 1, Ack: 1, Flags: ACK, Window: 512, Options: o}
	pkt := buildTCP(b, netip.MustParseAddr(src), netip.MustParseAddr(dst), &t, make([]byte, 1448))
	head := pkt[:len(pkt)-1448]
	var p Packet
	for b.Loop() {
		if c := ParseIP(head, len(pkt), Verify, &p); c != OK {
			b.Fatal(c)
		}
		if c := ParseTCP(head, &p, &t); c != OK {
			b.Fatal(c)
		}
	}
	if t.PayloadLen != 1448 {
		b.Fatalf("payload %d", t.PayloadLen)
	}
}

func BenchmarkParseTCP(b *testing.B) {
	ts := TCPOptions{HasTimestamps: true, TSVal: 1, TSEcr: 2}
	sack := ts
	sack.SACKCount = 3
	b.Run("IPv4-timestamps", func(b *testing.B) { benchSegment(b, "192.0.2.1", "192.0.2.2", ts) })
	b.Run("IPv4-sack", func(b *testing.B) { benchSegment(b, "192.0.2.1", "192.0.2.2", sack) })
	b.Run("IPv6-timestamps", func(b *testing.B) { benchSegment(b, "2001:db8::1", "2001:db8::2", ts) })
}

func BenchmarkPutTCP(b *testing.B) {
	src, dst := netip.MustParseAddr("192.0.2.1"), netip.MustParseAddr("192.0.2.2")
	t := TCP{SrcPort: 40000, DstPort: 9000, Flags: ACK, Options: TCPOptions{HasTimestamps: true}}
	buf := make([]byte, 128)
	for b.Loop() {
		h := IPHeader{Src: src, Dst: dst, Proto: ProtoTCP, HopLimit: 64, PayloadLen: t.HeaderLen()}
		n, err := PutIP(buf, &h)
		if err != nil {
			b.Fatal(err)
		}
		m, err := PutTCP(buf[n:], &t)
		if err != nil {
			b.Fatal(err)
		}
		if err := FillChecksum(buf[n:n+m], ProtoTCP, PseudoSum(src, dst, ProtoTCP, m)); err != nil {
			b.Fatal(err)
		}
	}
}

func BenchmarkPutAck(b *testing.B) {
	ends := ackEnds(netip.MustParseAddr("192.0.2.1"), netip.MustParseAddr("192.0.2.2"))
	a := Ack{Flags: ACK, Timestamps: true}
	buf := make([]byte, 128)
	for b.Loop() {
		if _, n := PutAck(buf, &ends, 0, 64, &a, false); n == 0 {
			b.Fatal("not written")
		}
	}
}

func BenchmarkHash(b *testing.B) {
	h := NewHasher()
	for _, ends := range [][2]string{
		{"192.0.2.1:9000", "192.0.2.2:40000"},
		{"[2001:db8::1]:9000", "[2001:db8::2]:40000"},
	} {
		key := Tuple{netip.MustParseAddrPort(ends[0]), netip.MustParseAddrPort(ends[1]), ProtoTCP}
		b.Run(ends[0], func(b *testing.B) {
			var x uint64
			for b.Loop() {
				x ^= h.Hash(&key)
			}
			_ = x
		})
	}
}
