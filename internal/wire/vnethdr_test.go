package wire

import (
	"bytes"
	"encoding/binary"
	"errors"
	"testing"
)

// hostHdr returns a virtio_net_hdr with its 16-bit fields in host order.
func hostHdr(flags, gso byte, fields ...uint16) []byte {
	b := []byte{flags, gso}
	for _, f := range fields {
		b = binary.NativeEndian.AppendUint16(b, f)
	}
	return b
}

func TestVnetHdr(t *testing.T) {
	for _, tt := range []struct {
		name string
		b    []byte
		size int
		want Cause
		v    VnetHdr
	}{
		{"nothing said", hostHdr(0, 0, 0, 0, 0, 0), 1500, OK, VnetHdr{}},
		{"verified", hostHdr(2, 0, 0, 0, 0, 0), 1500, OK, VnetHdr{DataValid: true}},
		// A super-segment from a TUN device: 20 bytes of IPv4, 32 of TCP.
		{"TSO", hostHdr(1, 1, 52, 1448, 20, 16), 52 + 40*1448, OK,
			VnetHdr{NeedsCsum: true, GSO: GSOTCPv4, HdrLen: 52, GSOSize: 1448, CsumStart: 20, CsumOffset: 16}},
		{"TSO with ECN", hostHdr(1, 0x84, 72, 1428, 40, 16), 60000, OK,
			VnetHdr{NeedsCsum: true, GSO: GSOTCPv6, ECN: true, HdrLen: 72, GSOSize: 1428, CsumStart: 40, CsumOffset: 16}},
		{"UDP segmentation", hostHdr(1, 5, 28, 1200, 20, 6), 28 + 12000, OK,
			VnetHdr{NeedsCsum: true, GSO: GSOUDPL4, HdrLen: 28, GSOSize: 1200, CsumStart: 20, CsumOffset: 6}},
		{"mergeable", hostHdr(1, 0, 0, 0, 20, 16, 3), 60, OK,
			VnetHdr{NeedsCsum: true, CsumStart: 20, CsumOffset: 16, NumBuffers: 3}},
		{"all of the packet is header", hostHdr(1, 1, 60, 8, 20, 16), 60, OK,
			VnetHdr{NeedsCsum: true, GSO: GSOTCPv4, HdrLen: 60, GSOSize: 8, CsumStart: 20, CsumOffset: 16}},
		{"checksum at the very end", hostHdr(1, 0, 0, 0, 20, 16), 38, OK,
			VnetHdr{NeedsCsum: true, CsumStart: 20, CsumOffset: 16}},
		{"checksum beyond the end", hostHdr(1, 0, 0, 0, 20, 16), 37, BadOffload, VnetHdr{}},
		{"checksum far beyond the end", hostHdr(1, 0, 0, 0, 65535, 65535), 65535, BadOffload, VnetHdr{}},
		{"checksum fields without the flag", hostHdr(0, 0, 0, 0, 65535, 65535), 64, OK, VnetHdr{CsumStart: 65535, CsumOffset: 65535}},
		{"headers beyond the end", hostHdr(1, 1, 61, 8, 20, 16), 60, BadOffload, VnetHdr{}},
		{"segments of no size", hostHdr(1, 1, 52, 0, 20, 16), 60000, BadOffload, VnetHdr{}},
		{"UDP segments of no size", hostHdr(1, 5, 28, 0, 20, 6), 60000, BadOffload, VnetHdr{}},
		{"UDP fragmentation offload", hostHdr(1, 3, 28, 1480, 20, 6), 60000, BadOffload, VnetHdr{}},
		{"unknown type", hostHdr(1, 2, 28, 1480, 20, 6), 60000, BadOffload, VnetHdr{}},
		{"ECN without segmentation", hostHdr(0, 0x80, 0, 0, 0, 0), 60, BadOffload, VnetHdr{}},
		{"ECN with UDP", hostHdr(1, 0x85, 28, 1200, 20, 6), 60000, BadOffload, VnetHdr{}},
		{"9 bytes", make([]byte, 9), 60, Truncated, VnetHdr{}},
		{"11 bytes", make([]byte, 11), 60, Truncated, VnetHdr{}},
		{"20 bytes", make([]byte, 20), 60, Truncated, VnetHdr{}},
		{"no bytes", nil, 60, Truncated, VnetHdr{}},
	} {
		v := VnetHdr{NumBuffers: 9}
		c := ParseVnetHdr(tt.b, tt.size, &v)
		if c != tt.want {
			t.Errorf("%s: %v, want %v", tt.name, c, tt.want)
			continue
		}
		if c != OK {
			continue
		}
		if v != tt.v {
			t.Errorf("%s: %+v, want %+v", tt.name, v, tt.v)
		}
		if want := tt.b[0]&3 != 0; v.ChecksumVouched() != want {
			t.Errorf("%s: ChecksumVouched %v", tt.name, !want)
		}
		out := bytes.Repeat([]byte{0xee}, len(tt.b))
		if n, err := PutVnetHdr(out, tt.size, &v); n != len(tt.b) || err != nil || !bytes.Equal(out, tt.b) {
			t.Errorf("%s: built %x, %d, %v; want %x", tt.name, out, n, err, tt.b)
		}
	}
	// Flags that are not known here are ignored.
	var v VnetHdr
	if c := ParseVnetHdr(hostHdr(0xfc, 0, 0, 0, 0, 0), 60, &v); c != OK || v != (VnetHdr{}) {
		t.Errorf("unknown flags: %v, %+v", c, v)
	}
}

func TestPutVnetHdrErrors(t *testing.T) {
	good := VnetHdr{NeedsCsum: true, GSO: GSOTCPv4, HdrLen: 52, GSOSize: 1448, CsumStart: 20, CsumOffset: 16}
	for _, tt := range []struct {
		name    string
		len     int
		size    int
		gsoSize uint16
		want    error
	}{
		{"good", 10, 9000, 1448, nil},
		{"11 bytes", 11, 9000, 1448, ErrShortBuffer},
		{"packet too short", 10, 51, 1448, ErrOffload},
		{"no segment size", 12, 9000, 0, ErrOffload},
	} {
		v := good
		v.GSOSize = tt.gsoSize
		b := make([]byte, tt.len)
		n, err := PutVnetHdr(b, tt.size, &v)
		if !errors.Is(err, tt.want) || (err != nil && (n != 0 || b[0] != 0)) {
			t.Errorf("%s: %d, %v, wrote %v; want %v", tt.name, n, err, b[0] != 0, tt.want)
		}
	}
}

// The header's layout in memory, as the kernel's structure has it, on a machine of
// known byte order.
func TestVnetHdrBytes(t *testing.T) {
	v := VnetHdr{NeedsCsum: true, GSO: GSOTCPv4, HdrLen: 0x0102, GSOSize: 0x0304, CsumStart: 0x0506, CsumOffset: 0x0708, NumBuffers: 0x090a}
	want := unhex(t, "01 01 0201 0403 0605 0807 0a09")
	if binary.NativeEndian.Uint16([]byte{0, 1}) == 1 { // big-endian
		want = unhex(t, "01 01 0102 0304 0506 0708 090a")
	}
	b := make([]byte, VnetHdrMergeableLen)
	if n, err := PutVnetHdr(b, 65535, &v); n != VnetHdrMergeableLen || err != nil || !bytes.Equal(b, want) {
		t.Errorf("%x, %d, %v; want %x", b, n, err, want)
	}
}
