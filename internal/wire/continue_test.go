package wire

import (
	"encoding/binary"
	"net/netip"
	"testing"
)

// continuation is a packet, without payload, for a Continuation to be made of.
func continuation(t testing.TB, src, dst string, o TCPOptions, seq Seq, ident uint16) []byte {
	t.Helper()
	h := TCP{SrcPort: 1, DstPort: 2, Seq: seq, Ack: 7, Flags: ACK, Window: 99, Options: o}
	ip := IPHeader{Src: netip.MustParseAddr(src), Dst: netip.MustParseAddr(dst), Proto: ProtoTCP, HopLimit: 64, PayloadLen: h.HeaderLen() + 1000}
	b := make([]byte, 128)
	n, err := PutIP(b, &ip)
	if err != nil {
		t.Fatal(err)
	}
	k, err := PutTCP(b[n:], &h)
	if err != nil {
		t.Fatal(err)
	}
	if ip.Src.Is4() {
		binary.BigEndian.PutUint16(b[4:], ident)
		sealIPv4(b)
	}
	return b[:n+k]
}

// sealIPv4 sets the header checksum.
func sealIPv4(b []byte) {
	b[10], b[11] = 0, 0
	var s Sum
	s.Add(b[:IPv4HeaderLen])
	binary.BigEndian.PutUint16(b[10:], s.Checksum())
}

// both parses a packet's headers with 1000 bytes of payload behind them.
func both(b []byte) (p Packet, h TCP, c Cause) {
	if c = ParseIP(b, len(b)+1000, Verify, &p); c != OK {
		return p, h, c
	}
	if p.Proto != ProtoTCP {
		return p, h, WrongProtocol
	}
	return p, h, ParseTCP(b, &p, &h)
}

// TestContinuation changes each byte of a packet's headers to every value: if the
// packet still counts as the next one, the parsers say so, too.
func TestContinuation(t *testing.T) {
	stamps := TCPOptions{HasTimestamps: true, TSVal: 5, TSEcr: 6}
	for _, ends := range [][2]string{{"192.0.2.1", "192.0.2.2"}, {"2001:db8::1", "2001:db8::2"}} {
		for _, o := range []TCPOptions{{}, stamps, {SACKCount: 1, SACK: [4]SACKBlock{{1, 2}}}} {
			first := continuation(t, ends[0], ends[1], o, 100, 0xfffe)
			p, h, cause := both(first)
			if cause != OK {
				t.Fatal(cause)
			}
			c, ok := ContinuationOf(first, &p, &h)
			if !ok || c.HeaderLen() != len(first) {
				t.Fatalf("no continuation of %x", first)
			}
			for i, id := range []uint16{0xfffe, 0xffff, 0, 1} {
				next := continuation(t, ends[0], ends[1], o, Seq(100+i*1000), id)
				if flags, ok := c.Next(next, Seq(100+i*1000)); !ok || flags != ACK {
					t.Errorf("%x does not continue %x", next, first)
				}
			}
			if _, ok := c.Next(first[:len(first)-1], 100); ok {
				t.Error("part of the headers is enough")
			}
			next := continuation(t, ends[0], ends[1], o, 1100, 1)
			found := 0
			for _, seal := range []bool{false, true} {
				for i := range next {
					for v := range 256 {
						b := append([]byte(nil), next...)
						b[i] = byte(v)
						if seal && p.Version == 4 {
							sealIPv4(b)
						}
						flags, ok := c.Next(b, 1100)
						if !ok {
							continue
						}
						found++
						q, g, cause := both(b)
						if cause != OK || g.Seq != 1100 || g.Flags != flags || flags&^PSH != ACK {
							t.Fatalf("byte %d = %d: %v, %+v", i, v, cause, g)
						}
						q.ID, g.Seq, g.Flags = p.ID, h.Seq, h.Flags
						if q != p || g != h {
							t.Fatalf("byte %d = %d: %+v %+v, want %+v %+v", i, v, q, g, p, h)
						}
					}
				}
			}
			// Each byte as it is, PSH, and what is in the TCP checksum.
			if least := 2 * (len(next) + 1 + 2*255); found < least {
				t.Errorf("%d of the packets continue, want at least %d", found, least)
			}
		}
	}
}

// TestContinuationOfOptions: IP headers of other lengths are not compared.
func TestContinuationOfOptions(t *testing.T) {
	b := continuation(t, "192.0.2.1", "192.0.2.2", TCPOptions{}, 100, 1)
	long := append(append(append([]byte(nil), b[:20]...), 1, 1, 1, 1), b[20:]...)
	long[0]++
	long[3] += 4
	long[10], long[11] = 0, 0
	var s Sum
	s.Add(long[:24])
	binary.BigEndian.PutUint16(long[10:], s.Checksum())
	p, h, cause := both(long)
	if cause != OK {
		t.Fatal(cause)
	}
	if _, ok := ContinuationOf(long, &p, &h); ok {
		t.Error("IP options are not compared")
	}
}
