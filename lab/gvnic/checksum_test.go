//go:build linux

package gvnic

import (
	"bytes"
	"hash/crc32"
	"testing"

	"github.com/zctap/zctap/internal/wire"
)

// TestSettle: a partial checksum becomes the one that the sender would have
// computed, with the pseudo-header's length or without, as Linux leaves it.
func TestSettle(t *testing.T) {
	for _, s := range []spec{
		{payload: pattern(1, 999)}, {v6: true, payload: pattern(1, 999)},
		{proto: wire.ProtoUDP, payload: pattern(1, 1)}, {v6: true, proto: wire.ProtoUDP}, {tags: 2},
	} {
		want := s.frame(t)
		s.partial = true
		f := Frame{Data: s.frame(t), Checksum: Partial}
		if bytes.Equal(f.Data, want) {
			t.Fatal("the test's frame is complete")
		}
		if !f.settle() || f.Checksum != Vouched || !bytes.Equal(f.Data, want) {
			t.Errorf("%+v: not what the sender would have computed", s)
		}
	}
	f := Frame{Data: make([]byte, 60), Checksum: Partial}
	if f.settle() || f.Checksum != Partial {
		t.Error("a checksum was computed of what is not IP")
	}
	f = Frame{Data: spec{proto: protoSCTP}.frame(t), Checksum: Partial}
	if f.settle() {
		t.Error("a checksum of SCTP was computed, of which the device can't")
	}
}

// TestTransportOK flips every byte that a checksum covers.
func TestTransportOK(t *testing.T) {
	sctp := spec{proto: protoSCTP, payload: pattern(3, 50)}.frame(t)
	le.PutUint32(sctp[34+8:], 0)
	le.PutUint32(sctp[34+8:], crc32.Checksum(sctp[34:], crc32.MakeTable(crc32.Castagnoli)))
	for name, f := range map[string][]byte{
		"TCP": spec{payload: pattern(1, 50)}.frame(t), "UDP": spec{proto: wire.ProtoUDP, payload: pattern(1, 51)}.frame(t), "SCTP": sctp,
	} {
		p := parse(f, wire.Verify)
		if p.l4 != 34 || !transportOK(f, &p) {
			t.Fatalf("%s: refused; %+v", name, p)
		}
		for i := 34 + 12; i < len(f); i++ {
			f[i] ^= 0x10
			if name != "TCP" || i != 34+12 { // the header's length
				p := parse(f, wire.Verify)
				if transportOK(f, &p) {
					t.Errorf("%s: byte %d changed, and the checksum is right", name, i)
				}
			}
			f[i] ^= 0x10
		}
	}
}

// TestPtypes: each kind of packet has its own type, and the map says which.
func TestPtypes(t *testing.T) {
	for _, tt := range []struct {
		spec
		l3, l4 byte
	}{
		{spec{}, l3IPv4, l4TCP}, {spec{v6: true}, l3IPv6, l4TCP},
		{spec{proto: wire.ProtoUDP}, l3IPv4, l4UDP}, {spec{v6: true, proto: wire.ProtoUDP}, l3IPv6, l4UDP},
		{spec{proto: wire.ProtoICMP}, l3IPv4, l4ICMP}, {spec{v6: true, proto: wire.ProtoICMPv6}, l3IPv6, l4ICMP},
		{spec{proto: protoSCTP}, l3IPv4, l4SCTP}, {spec{v6: true, proto: protoSCTP}, l3IPv6, l4SCTP},
		{spec{proto: wire.ProtoICMPv6}, l3IPv4, 0}, {spec{v6: true, proto: wire.ProtoICMP}, l3IPv6, 0},
		{spec{proto: 99, tags: 1}, l3IPv4, 0}, {spec{proto: protoESP}, l3IPv4, 0},
	} {
		p := parse(tt.frame(t), wire.Verify)
		if got := ptypes[p.ptype()]; got != [2]byte{tt.l3, tt.l4} {
			t.Errorf("%+v: type %d is %v", tt.spec, p.ptype(), got)
		}
	}
	for _, b := range [][]byte{nil, make([]byte, 13), make([]byte, 60), spec{}.frame(t)[:30]} {
		p := parse(b, wire.Verify)
		if p.ptype() != 0 || p.end != len(b) {
			t.Errorf("%x: %+v", b, p)
		}
	}
}
