package wire

import (
	"net/netip"
	"testing"

	"github.com/zctap/zctap/test/exchanges"
)

// recorded are packets that two Linux kernels sent.
func recorded(f *testing.F) [][]byte {
	packets, err := exchanges.Packets()
	if err != nil {
		f.Fatal(err)
	}
	return packets
}

// FuzzParseIP parses packets, and the same packets of which only a part is in the
// head: that must give the same, or NeedMore as long as there may be a reason.
func FuzzParseIP(f *testing.F) {
	for _, b := range samples(f) {
		f.Add(b, uint16(len(b)), uint8(0))
		f.Add(b, uint16(len(b)/2), uint8(7))
	}
	for _, b := range recorded(f) {
		f.Add(b, uint16(len(b)), uint8(0))
	}
	f.Fuzz(func(t *testing.T, b []byte, headLen uint16, padding uint8) {
		b = behindChecksum(append([]byte(nil), b...))
		totalLen := len(b) + int(padding)
		whole, c := parseAll(b, totalLen)
		checkParsed(t, totalLen, &whole, c)
		if c == NeedMore && (padding == 0 || len(b) >= MaxHeaderLen) {
			t.Fatalf("%v with %d of %d bytes", c, len(b), totalLen)
		}
		head := b[:min(int(headLen), len(b))]
		part, pc := parseAll(head, totalLen)
		checkParsed(t, totalLen, &part, pc)
		if pc != NeedMore && (pc != c || part != whole) {
			t.Fatalf("head of %d: %v %+v\nhead of %d: %v %+v", len(head), pc, part, len(b), c, whole)
		}
		if c == OK && !whole.p.IsFragment() {
			switch whole.p.VerifyL4(b) {
			case OK, BadChecksum, WrongProtocol, Truncated, NeedMore:
			default:
				t.Fatalf("VerifyL4: %v", whole.p.VerifyL4(b))
			}
			whole.p.IsPartial(b)
			out := make([]byte, maxICMPv6Error)
			if _, err := PutICMPError(out, PortUnreachable, b, &whole.p); err != nil && err != ErrNoReply {
				t.Fatal(err)
			}
		}
	})
}

// FuzzParseTCPOptions parses lists of options; what is understood can be built and
// is then parsed to the same, unless its padding makes it too long for a header.
func FuzzParseTCPOptions(f *testing.F) {
	for _, s := range []string{
		"", "020405b40402080a000000010000000201030307", "0101080a0000000100000002",
		"0101050a0000000100000081", "05120000000100000081000000020000008200", "0800", "0204", "1eff",
	} {
		f.Add(unhex(f, s), true)
		f.Add(unhex(f, s), false)
	}
	for _, b := range recorded(f) {
		var p Packet
		var h TCP
		if ParseIP(b, len(b), Verify, &p) == OK && ParseTCP(b, &p, &h) == OK {
			f.Add(b[p.L4Offset+TCPHeaderLen:h.PayloadOffset], h.Flags.Has(SYN))
		}
	}
	f.Fuzz(func(t *testing.T, b []byte, syn bool) {
		var o TCPOptions
		ParseTCPOptions(b, syn, &o)
		if o.WindowScale > MaxWindowScale || o.SACKCount > maxSACKBlocks {
			t.Fatalf("%+v", o)
		}
		if !syn && (o.MSS != 0 || o.HasWindowScale || o.SACKPermitted) {
			t.Fatalf("options of a SYN elsewhere: %+v", o)
		}
		h := TCP{Options: o}
		out := make([]byte, TCPHeaderLen+MaxTCPOptionsLen)
		n, err := PutTCP(out, &h)
		if err != nil {
			if o.Len() <= MaxTCPOptionsLen {
				t.Fatalf("%v: %+v", err, o)
			}
			return
		}
		var again TCPOptions
		ParseTCPOptions(out[TCPHeaderLen:n], syn, &again)
		if again != o {
			t.Fatalf("%+v\nbuilt and parsed %+v", o, again)
		}
	})
}

// FuzzParseICMP parses ICMP messages in sound packets of either version.
func FuzzParseICMP(f *testing.F) {
	for _, b := range samples(f) {
		var p Packet
		if c := ParseIP(b, len(b), Verify, &p); c != OK {
			f.Fatal(c)
		}
		if p.Proto == ProtoICMP || p.Proto == ProtoICMPv6 {
			f.Add(b[p.L4Offset:], p.Version == 6, uint16(len(b)))
		}
	}
	for _, b := range recorded(f) {
		var p Packet
		ParseIP(b, len(b), Verify, &p) // what is fragmented, or no protocol of ours, has no headers to add
		if p.Proto == ProtoICMP || p.Proto == ProtoICMPv6 {
			f.Add(b[p.L4Offset:], p.Version == 6, uint16(len(b)))
		}
	}
	f.Add(unhex(f, "0304 0000 0000 0578"+quoted4), false, uint16(28))
	v4, v6 := netip.MustParseAddr("192.0.2.1"), netip.MustParseAddr("2001:db8::1")
	f.Fuzz(func(t *testing.T, message []byte, six bool, headLen uint16) {
		if len(message) > maxPacketLen-IPv4HeaderLen {
			return
		}
		addr, proto := v4, uint8(ProtoICMP)
		if six {
			addr, proto = v6, ProtoICMPv6
		}
		b := buildIP(t, addr, addr, proto, message)
		whole, c := parseAll(b, len(b))
		checkParsed(t, len(b), &whole, c)
		if c != OK && c != Truncated && c != BadQuote {
			t.Fatalf("cause %v", c)
		}
		m := &whole.m
		if flow := m.Quote.Flow; c == OK && m.Kind.IsError() {
			if flow.Local.Addr().Is4() == six || flow.Remote.Addr().Is4() == six || flow.Local.Addr().Is4In6() {
				t.Fatalf("quote %+v", m.Quote)
			}
			if flow.Proto != ProtoTCP && m.Quote.Seq != 0 {
				t.Fatalf("sequence number of protocol %d", flow.Proto)
			}
		}
		part, pc := parseAll(b[:min(int(headLen), len(b))], len(b))
		if pc != NeedMore && (pc != c || part != whole) {
			t.Fatalf("head of %d: %v %+v, whole %v %+v", headLen, pc, part, c, whole)
		}
		reply := make([]byte, EchoHeaderLen)
		if _, err := PutEchoReply(reply, &whole.p, m); (err == nil) != (m.Kind == ICMPEchoRequest) {
			t.Fatalf("reply to kind %d: %v", m.Kind, err)
		}
	})
}

// FuzzVnetHdr parses offload headers; what is accepted can be built again.
func FuzzVnetHdr(f *testing.F) {
	f.Add(hostHdr(1, 1, 52, 1448, 20, 16), 57972)
	f.Add(hostHdr(1, 0x84, 72, 1428, 40, 16, 1), 60000)
	f.Add(hostHdr(2, 0, 0, 0, 0, 0), 60)
	f.Add(hostHdr(0xff, 0xff, 0xffff, 0xffff, 0xffff, 0xffff), 65535)
	f.Fuzz(func(t *testing.T, b []byte, packetLen int) {
		var v VnetHdr
		if c := ParseVnetHdr(b, packetLen, &v); c != OK {
			return
		}
		if v.NeedsCsum && int(v.CsumStart)+int(v.CsumOffset) > packetLen-2 || int(v.HdrLen) > packetLen {
			t.Fatalf("beyond a packet of %d: %+v", packetLen, v)
		}
		if v.GSO != GSONone && v.GSOSize == 0 {
			t.Fatalf("segments of no size: %+v", v)
		}
		out := make([]byte, len(b))
		if n, err := PutVnetHdr(out, packetLen, &v); n != len(b) || err != nil {
			t.Fatal(n, err)
		}
		var again VnetHdr
		if c := ParseVnetHdr(out, packetLen, &again); c != OK || again != v {
			t.Fatalf("%v, %+v, want %+v", c, again, v)
		}
	})
}
