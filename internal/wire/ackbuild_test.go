package wire

import (
	"bytes"
	"math/rand/v2"
	"net/netip"
	"testing"
)

// TestPutAck: it writes what PutIP, PutTCP and the filling of checksums do, and nothing else.
func TestPutAck(t *testing.T) {
	rnd := rand.New(rand.NewPCG(7, 7))
	for i := range 20_000 {
		src, dst := randomAddrs(rnd)
		seg := TCP{
			SrcPort: uint16(rnd.Uint32()), DstPort: uint16(rnd.Uint32()),
			Seq: Seq(rnd.Uint32()), Ack: Seq(rnd.Uint32()), Flags: Flags(rnd.Uint32()),
			Window: uint16(rnd.Uint32()),
		}
		if i%2 == 0 {
			seg.Options = TCPOptions{HasTimestamps: true, TSVal: rnd.Uint32(), TSEcr: rnd.Uint32()}
		}
		if i%5 == 0 { // many bits alike: carries, and sums of 0xffff
			seg.Seq, seg.Ack, seg.Window, seg.Options.TSVal = 0xffffffff, 0xffff0000, 0xffff, 0xffffffff
		}
		h := IPHeader{Src: src, Dst: dst, Proto: ProtoTCP, HopLimit: uint8(rnd.Uint32()), TrafficClass: uint8(rnd.Uint32())}
		got := make([]byte, 128)
		for k := range got {
			got[k] = byte(rnd.Uint32())
		}
		partial := rnd.IntN(2) == 0
		var ack Ack
		if !seg.PutAck(&ack) {
			t.Fatalf("%+v is no ACK", seg)
		}
		ends := ackEnds(src, dst)
		ends.Local, ends.Remote = netip.AddrPortFrom(src, seg.SrcPort), netip.AddrPortFrom(dst, seg.DstPort)
		l4, n := PutAck(got, &ends, h.TrafficClass, h.HopLimit, &ack, partial)

		h.PayloadLen = seg.HeaderLen()
		want := make([]byte, 128)
		m, err := PutIP(want, &h)
		if err != nil {
			t.Fatal(err)
		}
		k, err := PutTCP(want[m:], &seg)
		if err != nil {
			t.Fatal(err)
		}
		fill, pseudo := FillChecksum, PseudoSum(src, dst, ProtoTCP, k)
		if partial {
			fill = func(l4 []byte, proto uint8, pseudo Sum, _ ...[]byte) error {
				return FillPartialChecksum(l4, proto, pseudo)
			}
		}
		if err := fill(want[m:m+k], ProtoTCP, pseudo); err != nil {
			t.Fatal(err)
		}
		if l4 != m || n != m+k || !bytes.Equal(got[:n], want[:m+k]) {
			t.Fatalf("%+v\n%+v\npartial %v: header at %d, %d bytes\n%x\nwant %d, %d\n%x", h, seg, partial, l4, n, got[:n], m, m+k, want[:m+k])
		}
	}
}

// ackEnds are two ends, with ports.
func ackEnds(src, dst netip.Addr) Tuple {
	return Tuple{Local: netip.AddrPortFrom(src, 1), Remote: netip.AddrPortFrom(dst, 2), Proto: ProtoTCP}
}

// TestPutAckLeaves: it writes nothing that PutIP would refuse, nor where there is no room.
func TestPutAckLeaves(t *testing.T) {
	ip4, ip6, mapped := netip.MustParseAddr("192.0.2.1"), netip.MustParseAddr("2001:db8::1"), netip.MustParseAddr("::ffff:192.0.2.1")
	good := ackEnds(ip4, ip4)
	for name, c := range map[string]struct {
		ends Tuple
		room int
	}{
		"two versions":     {ackEnds(ip4, ip6), 128},
		"versions, turned": {ackEnds(ip6, ip4), 128},
		"mapped":           {ackEnds(mapped, mapped), 128},
		"mapped to":        {ackEnds(ip6, mapped), 128},
		"no source":        {ackEnds(netip.Addr{}, ip4), 128},
		"no destination":   {ackEnds(ip6, netip.Addr{}), 128},
		"no room":          {good, MaxAckLen - 1},
		"nothing":          {good, 0},
	} {
		if l4, n := PutAck(make([]byte, c.room), &c.ends, 0, 64, &Ack{}, false); l4 != 0 || n != 0 {
			t.Errorf("%s: header at %d, %d bytes", name, l4, n)
		}
	}
	if _, n := PutAck(make([]byte, MaxAckLen), &good, 0, 64, &Ack{}, false); n != IPv4HeaderLen+TCPHeaderLen {
		t.Errorf("%d bytes of an ordinary one", n)
	}
}

// TestTCPPutAck: what an Ack can't say is none.
func TestTCPPutAck(t *testing.T) {
	for name, h := range map[string]TCP{
		"MSS":            {Options: TCPOptions{MSS: 1460}},
		"window scale":   {Options: TCPOptions{HasWindowScale: true}},
		"SACK-permitted": {Options: TCPOptions{SACKPermitted: true}},
		"SACK":           {Options: TCPOptions{SACKCount: 1}},
		"urgent":         {Urgent: 1},
	} {
		var a Ack
		if h.PutAck(&a) || a != (Ack{}) {
			t.Errorf("%s: %+v", name, a)
		}
	}
}
