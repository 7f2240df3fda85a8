package wire

import (
	"net/netip"
	"testing"
)

// linuxSYN is a SYN as Linux sends it, with right checksums.
func linuxSYN(t testing.TB) []byte {
	return unhex(t, `4500 003c 1c46 4000 4006 9c5d c0a8 0001 c0a8 00c7
		9c40 0050 1d1e1f20 00000000 a002 faf0 238d 0000
		0204 05b4 0402 080a 00abcdef 00000000 0103 0307`)
}

func TestParseTCP(t *testing.T) {
	b := linuxSYN(t)
	var p Packet
	if c := ParseIP(b, len(b), Verify, &p); c != OK {
		t.Fatal(c)
	}
	want := TCP{
		SrcPort: 40000, DstPort: 80, Seq: 0x1d1e1f20, Flags: SYN, Window: 64240,
		Options: TCPOptions{
			MSS: 1460, WindowScale: 7, HasWindowScale: true, SACKPermitted: true,
			HasTimestamps: true, TSVal: 0x00abcdef,
		},
		PayloadOffset: 60,
	}
	got := TCP{Ack: 1, Urgent: 1, PayloadLen: 1, Options: TCPOptions{SACKCount: 2}}
	if c := ParseTCP(b, &p, &got); c != OK || got != want {
		t.Fatalf("%v, %+v\nwant %+v", c, got, want)
	}
	if c := p.VerifyL4(b); c != OK {
		t.Errorf("checksum: %v", c)
	}
	tuple := Tuple{
		Local:  netip.MustParseAddrPort("192.168.0.199:80"),
		Remote: netip.MustParseAddrPort("192.168.0.1:40000"),
		Proto:  ProtoTCP,
	}
	if k := p.Tuple(got.SrcPort, got.DstPort); k != tuple || k.Reverse().Reverse() != tuple || k.Reverse() == tuple {
		t.Errorf("tuple %+v", k)
	}
}

func TestParseTCPPayload(t *testing.T) {
	// A segment with payload, urgent data and padding behind it.
	b := join(ipv4Sample(t)[:20], unhex(t, "0050 9c40 00000001 fffffffe 50f8 1234 0000 0003"), make([]byte, 75+6))
	b = fixIPv4(edit(b, 9, ProtoTCP))
	var p Packet
	if c := ParseIP(b, len(b), Verify, &p); c != OK {
		t.Fatal(c)
	}
	want := TCP{
		SrcPort: 80, DstPort: 40000, Seq: 1, Ack: 0xfffffffe, Flags: PSH | ACK | URG | ECE | CWR,
		Window: 0x1234, Urgent: 3, PayloadOffset: 40, PayloadLen: 75,
	}
	var got TCP
	if c := ParseTCP(b[:40], &p, &got); c != OK || got != want {
		t.Fatalf("%v, %+v\nwant %+v", c, got, want)
	}
}

func TestParseTCPRefusals(t *testing.T) {
	b := linuxSYN(t)
	for _, tt := range []struct {
		name string
		b    []byte
		want Cause
	}{
		{"data offset 4", edit(b, 32, 0x40), BadHeaderLen},
		{"data offset 0", edit(b, 32, 0x00), BadHeaderLen},
		{"data offset beyond packet", edit(b, 32, 0xb0), Truncated},
		{"packet ends in header", fixIPv4(edit(b, 2, 0, 39)), Truncated},
		{"no options", edit(b, 32, 0x50), OK},
	} {
		var p Packet
		if c := ParseIP(tt.b, len(tt.b), Verify, &p); c != OK {
			t.Fatal(c)
		}
		var seg TCP
		if c := ParseTCP(tt.b, &p, &seg); c != tt.want {
			t.Errorf("%s: %v, want %v", tt.name, c, tt.want)
		}
	}
}

func TestFlags(t *testing.T) {
	for f, want := range map[Flags]string{
		0: "", SYN: "S", SYN | ACK: "S.", FIN | PSH | ACK: "FP.", 0xff: "FSRP.UEW", RST: "R", URG | CWR: "UW",
	} {
		if f.String() != want {
			t.Errorf("%#x: %q, want %q", uint8(f), f.String(), want)
		}
	}
	if f := SYN | ACK; !f.Has(SYN) || !f.Has(SYN|ACK) || f.Has(SYN|FIN) || !f.Has(0) {
		t.Error("Has")
	}
}
