package wire

import (
	"net/netip"
	"testing"
)

// Nothing on the way of a packet allocates, whatever becomes of it.
func TestNoAllocations(t *testing.T) {
	none := func(name string, f func()) {
		t.Helper()
		if n := testing.AllocsPerRun(100, f); n != 0 {
			t.Errorf("%s: %v allocations", name, n)
		}
	}
	var r parsed
	for name, b := range samples(t) {
		none("parse "+name, func() { r, _ = parseAll(b, len(b)) })
		none("refuse "+name, func() { r, _ = parseAll(b[:len(b)-1], len(b)-1) })
	}

	frame := join(unhex(t, macs+"8100 0001 0800"), linuxSYN(t))
	var e Ethernet
	none("ParseEthernet", func() { ParseEthernet(frame, len(frame), &e) })
	none("PutEthernet", func() { PutEthernet(frame, &e) })

	payload := [][]byte{make([]byte, 701), make([]byte, 747)}
	buf := make([]byte, 600)
	for _, ends := range [][2]string{{"192.0.2.1", "192.0.2.2"}, {"2001:db8::1", "2001:db8::2"}} {
		h := IPHeader{Src: netip.MustParseAddr(ends[0]), Dst: netip.MustParseAddr(ends[1]), Proto: ProtoTCP, PayloadLen: 1448 + 56}
		seg := TCP{Options: TCPOptions{HasTimestamps: true, SACKCount: 3}}
		var err error
		none("build TCP", func() {
			if _, err = PutIP(buf, &h); err != nil {
				return
			}
			n := h.Len()
			if _, err = PutTCP(buf[n:], &seg); err != nil {
				return
			}
			pseudo := PseudoSum(h.Src, h.Dst, ProtoTCP, h.PayloadLen)
			err = FillChecksum(buf[n:n+seg.HeaderLen()], ProtoTCP, pseudo, payload...)
		})
		if err != nil {
			t.Fatal(err)
		}
		head := append([]byte(nil), buf[:h.Len()+seg.HeaderLen()]...)
		c := ParseIP(head, len(head)+1448, Verify, &r.p)
		none("VerifyL4", func() { c |= r.p.VerifyL4(head, payload...) })
		if c != OK {
			t.Fatalf("VerifyL4: %v", c)
		}
		none("PutPortUnreachable", func() { _, err = PutICMPError(buf, PortUnreachable, head, &r.p) })
		if err != nil {
			t.Fatal(err)
		}
		hasher := NewHasher()
		var x uint64
		none("Tuple and Hash", func() {
			key := r.p.Tuple(1, 2)
			x += hasher.Hash(&key)
		})
		var udp UDP
		none("PutUDP", func() { _, err = PutUDP(buf, &udp) })
		r.m.Kind = ICMPEchoRequest
		none("PutEchoReply", func() { _, err = PutEchoReply(buf, &r.p, &r.m) })
	}
	var v VnetHdr
	none("vnet header", func() {
		PutVnetHdr(buf[:VnetHdrLen], 1500, &v)
		ParseVnetHdr(buf[:VnetHdrLen], 1500, &v)
	})
	none("error", func() { PutTCP(nil, &r.t) })
}
