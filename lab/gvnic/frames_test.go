//go:build linux

package gvnic

import (
	"math/rand/v2"
	"net/netip"
	"testing"

	"github.com/zctap/zctap/internal/wire"
)

var (
	src4 = netip.MustParseAddr("192.0.2.1")
	dst4 = netip.MustParseAddr("192.0.2.2")
	src6 = netip.MustParseAddr("2001:db8::1")
	dst6 = netip.MustParseAddr("2001:db8::2")

	macA = [6]byte{0x02, 0x1a, 0xe0, 0, 0, 1}
	macB = [6]byte{0x02, 0x1a, 0xe0, 0, 0, 2}
)

// pattern is n bytes that depend on the seed.
func pattern(seed uint64, n int) []byte {
	r := rand.New(rand.NewPCG(seed, 1))
	b := make([]byte, n)
	for i := range b {
		b[i] = byte(r.Uint32())
	}
	return b
}

// spec says what a frame for a test is like.
type spec struct {
	v6       bool
	proto    uint8 // 0: TCP
	sport    uint16
	dport    uint16
	seq      uint32
	flags    wire.Flags
	payload  []byte
	tags     int  // VLAN
	sack     int  // blocks of SACK options
	partial  bool // the checksum is left to the device, as Linux does for TSO: without the length
	stamps   bool
	tos      uint8
	src, dst netip.Addr
}

// frame builds the frame.
func (s spec) frame(t testing.TB) []byte {
	t.Helper()
	must := func(n int, err error) int {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
		return n
	}
	src, dst, etype := s.src, s.dst, uint16(wire.EtherTypeIPv4)
	if s.v6 {
		etype = wire.EtherTypeIPv6
	}
	if !src.IsValid() {
		src, dst = src4, dst4
		if s.v6 {
			src, dst = src6, dst6
		}
	}
	if s.sport == 0 {
		s.sport = 40000
	}
	if s.dport == 0 {
		s.dport = 9999
	}
	if s.proto == 0 {
		s.proto = wire.ProtoTCP
	}
	tcp := wire.TCP{SrcPort: s.sport, DstPort: s.dport, Seq: wire.Seq(s.seq), Ack: 77, Flags: s.flags | wire.ACK, Window: 1000}
	tcp.Options.HasTimestamps, tcp.Options.TSVal = s.stamps, 5
	tcp.Options.SACKCount = uint8(s.sack)
	l4len := wire.UDPHeaderLen
	switch s.proto {
	case wire.ProtoTCP:
		l4len = tcp.HeaderLen()
	case wire.ProtoUDP:
	case protoSCTP:
		l4len = sctpHeaderLen
	default:
		l4len = 8
	}
	ip := wire.IPHeader{Src: src, Dst: dst, Proto: s.proto, HopLimit: 64, TrafficClass: s.tos, ID: 100, PayloadLen: l4len + len(s.payload)}
	eth := wire.Ethernet{Dst: macB, Src: macA, EtherType: etype, Tags: s.tags}
	b := make([]byte, 22+40+l4len+len(s.payload))
	n := must(wire.PutEthernet(b, &eth))
	n += must(wire.PutIP(b[n:], &ip))
	l4 := b[n : n+l4len+len(s.payload)]
	copy(l4[l4len:], s.payload)
	switch s.proto {
	case wire.ProtoTCP:
		must(wire.PutTCP(l4, &tcp))
	case wire.ProtoUDP:
		must(wire.PutUDP(l4, &wire.UDP{SrcPort: s.sport, DstPort: s.dport, PayloadLen: len(s.payload)}))
	default:
		be.PutUint16(l4, s.sport)
		be.PutUint16(l4[2:], s.dport)
	}
	b = b[:n+len(l4)]
	if s.proto != wire.ProtoTCP && s.proto != wire.ProtoUDP {
		return b
	}
	length := len(l4)
	if s.partial {
		length = 0
	}
	pseudo := wire.PseudoSum(src, dst, s.proto, length)
	var err error
	if s.partial {
		err = wire.FillPartialChecksum(l4, s.proto, pseudo)
	} else {
		err = wire.FillChecksum(l4, s.proto, pseudo)
	}
	if err != nil {
		t.Fatal(err)
	}
	return b
}

// checkFrame holds a frame against package wire: its headers are sound, its
// checksums right. It returns what it found.
func checkFrame(t testing.TB, b []byte) (p wire.Packet, tcp wire.TCP, payload []byte) {
	t.Helper()
	var e wire.Ethernet
	if c := wire.ParseEthernet(b, len(b), &e); c != wire.OK {
		t.Fatalf("Ethernet: %v", c)
	}
	b = b[e.HeaderLen:]
	if c := wire.ParseIP(b, len(b), wire.Verify, &p); c != wire.OK {
		t.Fatalf("IP: %v", c)
	}
	if p.Len() != len(b) {
		t.Fatalf("packet of %d bytes says that it has %d", len(b), p.Len())
	}
	switch p.Proto {
	case wire.ProtoTCP:
		if c := wire.ParseTCP(b, &p, &tcp); c != wire.OK {
			t.Fatalf("TCP: %v", c)
		}
		payload = b[tcp.PayloadOffset:]
	case wire.ProtoUDP:
		var u wire.UDP
		if c := wire.ParseUDP(b, &p, &u); c != wire.OK {
			t.Fatalf("UDP: %v", c)
		}
		if u.PayloadOffset+u.PayloadLen != len(b) {
			t.Fatalf("UDP payload of %d bytes at %d in a packet of %d", u.PayloadLen, u.PayloadOffset, len(b))
		}
		payload = b[u.PayloadOffset:]
	default:
		return
	}
	if c := p.VerifyL4(b); c != wire.OK {
		t.Fatalf("checksum: %v", c)
	}
	return
}
