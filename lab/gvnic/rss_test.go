//go:build linux

package gvnic

import (
	"net/netip"
	"testing"

	"github.com/zctap/zctap/internal/wire"
)

// TestToeplitz has the vectors of "Verifying the RSS Hash Calculation"
// (Microsoft's documentation of network drivers).
func TestToeplitz(t *testing.T) {
	for _, tt := range []struct {
		src, dst     string
		sport, dport uint16
		addrs, ports uint32
	}{
		{"66.9.149.187", "161.142.100.80", 2794, 1766, 0x323e8fc2, 0x51ccc178},
		{"199.92.111.2", "65.69.140.83", 14230, 4739, 0xd718262a, 0xc626b0ea},
		{"24.19.198.95", "12.22.207.184", 12898, 38024, 0xd2d0a5de, 0x5c2b394a},
		{"38.27.205.30", "209.142.163.6", 48228, 2217, 0x82989176, 0xafc7327f},
		{"153.39.163.191", "202.188.127.2", 44251, 1303, 0x5d1809c5, 0x10e828a2},
		{"3ffe:2501:200:1fff::7", "3ffe:2501:200:3::1", 2794, 1766, 0x2cc18cd5, 0x40207d3d},
		{"3ffe:501:8::260:97ff:fe40:efab", "ff02::1", 14230, 4739, 0x0f0c461c, 0xdde51bbf},
		{"3ffe:1900:4545:3:200:f8ff:fe21:67cf", "fe80::200:f8ff:fe21:67cf", 44251, 38024, 0x4b61e985, 0x02d1feef},
	} {
		src, dst := netip.MustParseAddr(tt.src), netip.MustParseAddr(tt.dst)
		for _, proto := range []uint8{wire.ProtoTCP, wire.ProtoUDP} {
			s := spec{v6: src.Is6(), src: src, dst: dst, sport: tt.sport, dport: tt.dport, proto: proto}
			p := parse(s.frame(t), wire.Verify)
			c := defaultRSS(4)
			if h, ok := c.hash(&p); h != tt.ports || !ok {
				t.Errorf("%v to %v, protocol %d: %#x, %v; want %#x", src, dst, proto, h, ok, tt.ports)
			}
			c.types = hashIPv4 | hashIPv6
			if h, ok := c.hash(&p); h != tt.addrs || !ok {
				t.Errorf("%v to %v, addresses only: %#x, %v; want %#x", src, dst, h, ok, tt.addrs)
			}
			c.types = hashIPv6
			if src.Is6() {
				c.types = hashIPv4 | hashTCPv4 | hashUDPv4
			}
			if h, ok := c.hash(&p); h != 0 || ok {
				t.Errorf("%v to %v: hash %#x of a type that is off", src, dst, h)
			}
		}
	}
}

// TestHashOfOthers: what has no ports is hashed by its addresses, what is not IP
// not at all.
func TestHashOfOthers(t *testing.T) {
	c := defaultRSS(2)
	whole := parse(spec{}.frame(t), wire.Verify)
	want := toeplitz(&c.key, []byte{192, 0, 2, 1, 192, 0, 2, 2})
	frag := spec{payload: pattern(1, 100)}.frame(t)
	be.PutUint16(frag[20:], 0x2000) // more fragments
	for name, f := range map[string][]byte{"ICMP": spec{proto: wire.ProtoICMP}.frame(t), "SCTP": spec{proto: protoSCTP}.frame(t), "fragment": frag} {
		p := parse(f, wire.Vouched)
		if h, ok := c.hash(&p); h != want || !ok {
			t.Errorf("%s: %#x, %v; want %#x", name, h, ok, want)
		}
	}
	if h, _ := c.hash(&whole); h == want {
		t.Error("ports have no effect")
	}
	p := parse(make([]byte, 60), wire.Verify)
	if h, ok := c.hash(&p); h != 0 || ok {
		t.Errorf("not IP: %#x, %v", h, ok)
	}
}
