package wire

import (
	"bytes"
	"math/rand/v2"
	"net/netip"
	"testing"
)

func sumOf(chunks ...[]byte) Sum {
	var s Sum
	for _, b := range chunks {
		s.Add(b)
	}
	return s
}

func TestSumKnown(t *testing.T) {
	for _, tt := range []struct {
		name string
		hex  string
		want uint16
	}{
		{"empty", "", 0},
		{"zeros", "0000 0000 00", 0},
		{"RFC 1071 section 3", "0001 f203 f4f5 f6f7", 0xddf2},
		{"RFC 1071, one byte less", "0001 f203 f4f5 f6", 0xdcfb},
		{"one byte", "ab", 0xab00},
		{"all ones", "ffff ffff ffff ffff ffff", 0xffff},
		{"carry out of the last addition", "ffff 0001", 0x0001},
	} {
		if got := sumOf(unhex(t, tt.hex)).Fold(); got != tt.want {
			t.Errorf("%s: %#04x, want %#04x", tt.name, got, tt.want)
		}
	}
}

// sumPatterns are bytes that make carries certain or impossible, or random.
func sumPatterns(n int) map[string][]byte {
	rnd := rand.New(rand.NewPCG(1, 1))
	random := make([]byte, n)
	for i := range random {
		random[i] = byte(rnd.Uint32())
	}
	return map[string][]byte{
		"random": random,
		"ones":   bytes.Repeat([]byte{0xff}, n),
		"zeros":  make([]byte, n),
	}
}

// All lengths up to many rounds of each loop and all ways that these can be left, at
// all places that a slice can have in a cache line.
func TestSumAgainstReference(t *testing.T) {
	const maxLen, line = 2200, 64
	for name, data := range sumPatterns(maxLen + 2*line) {
		for start := range line {
			var want slow
			for n := 0; ; n++ {
				if got := sumOf(data[start : start+n]).Fold(); got != want.sum() {
					t.Fatalf("%s[%d:%d]: %#04x, want %#04x", name, start, start+n, got, want.sum())
				}
				if n == maxLen {
					break
				}
				want.add(data[start+n])
			}
		}
	}
}

func TestSumLong(t *testing.T) {
	for name, data := range sumPatterns(70_000) {
		var want slow
		for n, v := range data {
			if n%999 == 0 || n > len(data)-300 {
				if got := sumOf(data[:n]).Fold(); got != want.sum() {
					t.Fatalf("%d of %s: %#04x, want %#04x", n, name, got, want.sum())
				}
			}
			want.add(v)
		}
	}
}

func TestSumChunked(t *testing.T) {
	rnd := rand.New(rand.NewPCG(2, 2))
	data := make([]byte, 9001)
	for i := range data {
		data[i] = byte(rnd.Uint32())
	}
	for range 2000 {
		b := data[:rnd.IntN(len(data))]
		want := slowSum(b)
		var s Sum
		var cuts []int
		for rest := b; len(rest) > 0; {
			// Short chunks are the ones that change parity often.
			n := rnd.IntN(1 + min(len(rest), 1<<rnd.IntN(12)))
			s.Add(rest[:n])
			cuts = append(cuts, n)
			rest = rest[n:]
		}
		if got := s.Fold(); got != want {
			t.Fatalf("chunks %v: %#04x, want %#04x", cuts, got, want)
		}
	}
}

func TestSumCarriesAcrossAdds(t *testing.T) {
	// Each Add overflows the accumulator.
	ones := bytes.Repeat([]byte{0xff}, 16)
	var s Sum
	var all []byte
	for i := range 100 {
		s.Add(ones[:15+i%2])
		all = append(all, ones[:15+i%2]...)
		if got, want := s.Fold(), slowSum(all); got != want {
			t.Fatalf("after %d adds: %#04x, want %#04x", i+1, got, want)
		}
	}
}

func TestSumValid(t *testing.T) {
	// The IPv4 header used as an example in many texts; its checksum is b861.
	h := unhex(t, "4500 0073 0000 4000 4011 b861 c0a8 0001 c0a8 00c7")
	if !sumOf(h).Valid() {
		t.Error("header is right, but refused")
	}
	if sum := sumOf(edit(h, 10, 0, 0)).Checksum(); sum != 0xb861 {
		t.Errorf("checksum %#04x, want 0xb861", sum)
	}
	for i := range h {
		if sumOf(edit(h, i, h[i]^0x10)).Valid() {
			t.Errorf("byte %d changed, but accepted", i)
		}
	}
	if (Sum{}).Valid() {
		t.Error("nothing at all has no valid checksum")
	}
}

func TestPseudoSum(t *testing.T) {
	for _, tt := range []struct {
		src, dst string
		proto    uint8
		l4Len    int
		header   string // as the RFCs draw it
	}{
		{"192.0.2.1", "198.51.100.2", ProtoTCP, 1460, "c0000201 c6336402 00 06 05b4"},
		{"255.255.255.255", "255.255.255.255", ProtoUDP, 65515, "ffffffff ffffffff 00 11 ffeb"},
		{"2001:db8::1", "2001:db8:ffff::2", ProtoICMPv6, 64,
			"20010db8000000000000000000000001 20010db8ffff00000000000000000002 00000040 000000 3a"},
		{"2001:db8::1", "fe80::abcd", ProtoTCP, 0x12345,
			"20010db8000000000000000000000001 fe80000000000000000000000000abcd 00012345 000000 06"},
	} {
		s := PseudoSum(netip.MustParseAddr(tt.src), netip.MustParseAddr(tt.dst), tt.proto, tt.l4Len)
		if got, want := s.Fold(), slowSum(unhex(t, tt.header)); got != want {
			t.Errorf("%s > %s: %#04x, want %#04x", tt.src, tt.dst, got, want)
		}
	}
}
