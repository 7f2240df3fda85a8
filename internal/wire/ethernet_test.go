package wire

import (
	"bytes"
	"errors"
	"testing"
)

const macs = "020000000002 020000000001 "

func TestParseEthernet(t *testing.T) {
	dst, src := [6]byte{2, 0, 0, 0, 0, 2}, [6]byte{2, 0, 0, 0, 0, 1}
	for _, tt := range []struct {
		name, hex string
		cause     Cause
		want      Ethernet
	}{
		{"IPv4", macs + "0800", OK, Ethernet{dst, src, EtherTypeIPv4, 0, [2]uint16{}, 14}},
		{"ARP", macs + "0806", OK, Ethernet{dst, src, EtherTypeARP, 0, [2]uint16{}, 14}},
		{"802.3 length", macs + "0026", OK, Ethernet{dst, src, 0x26, 0, [2]uint16{}, 14}},
		{"802.1Q", macs + "8100 6064 86dd", OK, Ethernet{dst, src, EtherTypeIPv6, 1, [2]uint16{0x6064}, 18}},
		{"802.1ad", macs + "88a8 0064 8100 0065 0800", OK, Ethernet{dst, src, EtherTypeIPv4, 2, [2]uint16{0x64, 0x65}, 22}},
		{"three tags", macs + "88a8 0064 8100 0065 8100 0066 0800", TooManyTags, Ethernet{}},
	} {
		b := unhex(t, tt.hex)
		var e Ethernet
		if c := ParseEthernet(b, len(b), &e); c != tt.cause {
			t.Errorf("%s: %v, want %v", tt.name, c, tt.cause)
			continue
		}
		if tt.cause != OK {
			continue
		}
		if e != tt.want {
			t.Errorf("%s: %+v, want %+v", tt.name, e, tt.want)
		}
		for n := range b {
			if c := ParseEthernet(b[:n], n, &e); c != Truncated {
				t.Errorf("%s, frame of %d bytes: %v", tt.name, n, c)
			}
			if c := ParseEthernet(b[:n], len(b), &e); c != NeedMore {
				t.Errorf("%s, head of %d bytes: %v", tt.name, n, c)
			}
		}
		out := make([]byte, len(b))
		if n, err := PutEthernet(out, &tt.want); err != nil || n != len(b) || !bytes.Equal(out, b) {
			t.Errorf("%s: built %x, %d, %v; want %x", tt.name, out, n, err, b)
		}
	}
}

func TestPutEthernetErrors(t *testing.T) {
	for _, tt := range []struct {
		tags, size int
		want       error
	}{
		{0, 13, ErrShortBuffer}, {1, 17, ErrShortBuffer}, {2, 21, ErrShortBuffer},
		{3, 64, ErrTags}, {-1, 64, ErrTags},
	} {
		b := make([]byte, tt.size)
		n, err := PutEthernet(b, &Ethernet{Dst: [6]byte{1}, Tags: tt.tags})
		if n != 0 || !errors.Is(err, tt.want) || b[0] != 0 {
			t.Errorf("%d tags in %d bytes: %d, %v, wrote %v", tt.tags, tt.size, n, err, b[0] != 0)
		}
	}
}
