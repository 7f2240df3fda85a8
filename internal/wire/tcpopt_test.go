package wire

import "testing"

func TestParseTCPOptions(t *testing.T) {
	ts := TCPOptions{HasTimestamps: true, TSVal: 0x01020304, TSEcr: 0x05060708}
	const tsHex = "080a 01020304 05060708 "
	blocks := func(n uint8) TCPOptions {
		o := TCPOptions{SACKCount: n}
		for i := range n {
			o.SACK[i] = SACKBlock{Seq(i) + 1, Seq(i) + 0x81}
		}
		return o
	}
	const block1, block2, block3, block4 = "00000001 00000081 ", "00000002 00000082 ", "00000003 00000083 ", "00000004 00000084 "
	for _, tt := range []struct {
		name, hex string
		syn       bool
		want      TCPOptions
	}{
		{"none", "", true, TCPOptions{}},
		{"MSS", "0204 05b4", true, TCPOptions{MSS: 1460}},
		{"MSS without SYN", "0204 05b4", false, TCPOptions{}},
		{"MSS zero", "0204 0000", true, TCPOptions{}},
		{"MSS zero does not undo another", "0204 05b4 0204 0000", true, TCPOptions{MSS: 1460}},
		{"MSS twice", "0204 05b4 0204 0218", true, TCPOptions{MSS: 536}},
		{"MSS of wrong length", "0203 05 0204 0218", true, TCPOptions{MSS: 536}},
		{"window scale", "0303 08", true, TCPOptions{HasWindowScale: true, WindowScale: 8}},
		{"window scale 0", "0303 00", true, TCPOptions{HasWindowScale: true}},
		{"window scale 14", "0303 0e", true, TCPOptions{HasWindowScale: true, WindowScale: 14}},
		{"window scale 15", "0303 0f", true, TCPOptions{HasWindowScale: true, WindowScale: 14}},
		{"window scale 255", "0303 ff", true, TCPOptions{HasWindowScale: true, WindowScale: 14}},
		{"window scale without SYN", "0303 08", false, TCPOptions{}},
		{"SACK permitted", "0402", true, TCPOptions{SACKPermitted: true}},
		{"SACK permitted without SYN", "0402", false, TCPOptions{}},
		{"SACK permitted of wrong length", "0403 00", true, TCPOptions{}},
		{"timestamps as RFC 7323 appendix A has them", "0101" + tsHex, false, ts},
		{"timestamps in front", tsHex + "0101", false, ts},
		{"timestamps of wrong length", "0809 010203 04050607", false, TCPOptions{}},
		{"timestamps layout, but a longer list", "0101" + tsHex + "0303 08 00", true,
			TCPOptions{HasTimestamps: true, TSVal: 0x01020304, TSEcr: 0x05060708, HasWindowScale: true, WindowScale: 8}},
		{"one SACK block", "0101 050a" + block1, false, blocks(1)},
		{"four SACK blocks", "0101 0522" + block1 + block2 + block3 + block4, false, blocks(4)},
		{"five SACK blocks, in a list longer than a header's", "052a" + block1 + block2 + block3 + block4 + block1, false, blocks(4)},
		{"SACK twice", "050a" + block2 + "0512" + block1 + block2, false, blocks(2)},
		{"SACK twice, the last one shorter", "0512" + block1 + block2 + "050a" + block1, false, blocks(1)},
		{"SACK without blocks", "0502 0402", true, TCPOptions{SACKPermitted: true}},
		{"SACK of wrong length", "0509 00000001 000000 0402", true, TCPOptions{SACKPermitted: true}},
		{"SACK of half a block more", "050e" + block1 + "00000002 0402", true, TCPOptions{SACKPermitted: true}},
		{"SACK without blocks does not undo another", "050a" + block1 + "0502", false, blocks(1)},
		{"unknown kind", "1e04 aabb 0204 05b4", true, TCPOptions{MSS: 1460}},
		{"end of list", "0204 05b4 00 0402", true, TCPOptions{MSS: 1460}},
		{"length 0 ends the list", "0204 05b4 0800 0402", true, TCPOptions{MSS: 1460}},
		{"length 1 ends the list", "0204 05b4 0801 0402", true, TCPOptions{MSS: 1460}},
		{"length beyond the header ends the list", "0402 0205 05b4", true, TCPOptions{SACKPermitted: true}},
		{"kind without length ends the list", "0402 02", true, TCPOptions{SACKPermitted: true}},
	} {
		got := TCPOptions{MSS: 9, SACKCount: 3, TSVal: 9}
		ParseTCPOptions(unhex(t, tt.hex), tt.syn, &got)
		if got != tt.want {
			t.Errorf("%s: %+v\nwant %+v", tt.name, got, tt.want)
		}
	}
}

func TestTCPOptionsLayout(t *testing.T) {
	const ts, block = "080a 0a0b0c0d 01020304", "00000010 00000020"
	stamps := TCPOptions{HasTimestamps: true, TSVal: 0x0a0b0c0d, TSEcr: 0x01020304}
	with := func(f func(*TCPOptions)) TCPOptions {
		o := stamps
		f(&o)
		return o
	}
	one := [maxSACKBlocks]SACKBlock{{0x10, 0x20}}
	for _, tt := range []struct {
		name string
		o    TCPOptions
		hex  string
	}{
		{"none", TCPOptions{}, ""},
		{"MSS", TCPOptions{MSS: 8960}, "0204 2300"},
		{"SACK permitted alone", TCPOptions{SACKPermitted: true}, "0101 0402"},
		{"window scale", TCPOptions{HasWindowScale: true, WindowScale: 10}, "0103 030a"},
		{"timestamps", stamps, "0101" + ts},
		{"all of a SYN", with(func(o *TCPOptions) {
			o.MSS, o.SACKPermitted, o.HasWindowScale, o.WindowScale = 1460, true, true, 7
		}), "0204 05b4 0402" + ts + "0103 0307"},
		{"SACK", TCPOptions{SACKCount: 1, SACK: one}, "0101 050a" + block},
		{"timestamps and SACK", with(func(o *TCPOptions) { o.SACKCount, o.SACK = 1, one }), "0101" + ts + "0101 050a" + block},
	} {
		want := unhex(t, tt.hex)
		h := TCP{Options: tt.o}
		if tt.o.Len() != len(want) || h.HeaderLen() != 20+len(want) {
			t.Errorf("%s: Len %d, HeaderLen %d, want %d", tt.name, tt.o.Len(), h.HeaderLen(), len(want))
			continue
		}
		b := make([]byte, 64)
		n, err := PutTCP(b, &h)
		if err != nil || n != 20+len(want) || string(b[20:n]) != string(want) || int(b[12]>>4)*4 != n {
			t.Errorf("%s: %x, %v, want %x", tt.name, b[20:n], err, want)
		}
	}
}
