package wire

import (
	"encoding/binary"
	"math/bits"
	"net/netip"
	"testing"
)

// The published test vectors of SipHash-1-3 hash the bytes 0, 1, 2... with the key
// 0...15. These are tuples whose fields are just those bytes.
func TestHashVectors(t *testing.T) {
	var key [16]byte
	var msg [hashedLen6]byte
	for i := range msg {
		msg[i] = byte(i)
		if i < len(key) {
			key[i] = byte(i)
		}
	}
	h := KeyedHasher(key)
	le16 := binary.LittleEndian.Uint16
	t4 := Tuple{
		Local:  netip.AddrPortFrom(netip.AddrFrom4([4]byte(msg[0:4])), le16(msg[8:])),
		Remote: netip.AddrPortFrom(netip.AddrFrom4([4]byte(msg[4:8])), le16(msg[10:])),
		Proto:  msg[12],
	}
	t6 := Tuple{
		Local:  netip.AddrPortFrom(netip.AddrFrom16([16]byte(msg[0:16])), le16(msg[32:])),
		Remote: netip.AddrPortFrom(netip.AddrFrom16([16]byte(msg[16:32])), le16(msg[34:])),
		Proto:  msg[36],
	}
	for _, tt := range []struct {
		tuple Tuple
		want  uint64
	}{
		{t4, 0x306f760c1229ffa7}, // 13 bytes
		{t6, 0xb6101c2da3c33057}, // 37 bytes
	} {
		if got := h.Hash(&tt.tuple); got != tt.want {
			t.Errorf("%v: %#x, want %#x", tt.tuple, got, tt.want)
		}
	}
}

// Each field of the key counts, and so does the secret.
func TestHashDistinguishes(t *testing.T) {
	ap := netip.MustParseAddrPort
	tuples := []Tuple{
		{ap("192.0.2.1:1"), ap("192.0.2.2:2"), ProtoTCP},
		{ap("192.0.2.1:1"), ap("192.0.2.2:2"), ProtoUDP},
		{ap("192.0.2.1:1"), ap("192.0.2.2:3"), ProtoTCP},
		{ap("192.0.2.1:3"), ap("192.0.2.2:2"), ProtoTCP},
		{ap("192.0.2.1:1"), ap("192.0.2.3:2"), ProtoTCP},
		{ap("192.0.2.3:1"), ap("192.0.2.2:2"), ProtoTCP},
		{ap("192.0.2.2:2"), ap("192.0.2.1:1"), ProtoTCP},
		{ap("[2001:db8::1]:1"), ap("[2001:db8::2]:2"), ProtoTCP},
		{ap("[2001:db9::1]:1"), ap("[2001:db8::2]:2"), ProtoTCP},
		{ap("[2001:db8::1]:1"), ap("[2001:db9::2]:2"), ProtoTCP},
		{ap("[2001:db8::1]:1"), ap("[2001:db8::3]:2"), ProtoTCP},
		{ap("[2001:db8::3]:1"), ap("[2001:db8::2]:2"), ProtoTCP},
		{ap("192.0.2.1:1"), netip.AddrPort{}, ProtoTCP}, // a listener's
		{},
	}
	h := KeyedHasher([16]byte{1})
	seen := map[uint64]Tuple{}
	for _, tuple := range tuples {
		x := h.Hash(&tuple)
		if other, ok := seen[x]; ok {
			t.Errorf("%v and %v have the same hash", tuple, other)
		}
		seen[x] = tuple
		again := tuple
		if h.Hash(&again) != x {
			t.Errorf("%v: two hashes", tuple)
		}
		if KeyedHasher([16]byte{2}).Hash(&tuple) == x {
			t.Errorf("%v: the key does not count", tuple)
		}
	}
	if a, b := NewHasher(), NewHasher(); a == b {
		t.Error("two hashers have the same key")
	}
}

// Flows that differ in a port only, as those of one peer do, fill a table evenly,
// and a changed bit changes half of the hash on average.
func TestHashSpreads(t *testing.T) {
	const flows, slots = 1 << 16, 1 << 12
	h := KeyedHasher([16]byte{3})
	tuple := Tuple{netip.MustParseAddrPort("192.0.2.1:9000"), netip.MustParseAddrPort("192.0.2.2:0"), ProtoTCP}
	addr := tuple.Remote.Addr()
	var low, high [slots]int
	flipped := 0
	var last uint64
	for port := range flows {
		tuple.Remote = netip.AddrPortFrom(addr, uint16(port))
		x := h.Hash(&tuple)
		low[x%slots]++
		high[x>>(64-12)]++
		if port > 0 {
			flipped += bits.OnesCount64(x ^ last)
		}
		last = x
	}
	for _, table := range []*[slots]int{&low, &high} {
		// 16 flows a slot on average. The chance that a good function puts 48 or
		// more into any of the slots is below 10^-6.
		for slot, n := range table {
			if n >= 48 {
				t.Errorf("%d flows in slot %d", n, slot)
			}
		}
	}
	if mean := float64(flipped) / (flows - 1); mean < 31.5 || mean > 32.5 {
		t.Errorf("%.2f bits of 64 change on average", mean)
	}
}

// TestHashEnds: of the bytes of a packet, what its receiver's tuple has.
func TestHashEnds(t *testing.T) {
	h := KeyedHasher([16]byte{1, 2, 3})
	for _, c := range []struct {
		ends string
		at   Tuple
	}{
		{"c0000201 c6336402 1234 5678", Tuple{netip.MustParseAddrPort("198.51.100.2:22136"), netip.MustParseAddrPort("192.0.2.1:4660"), ProtoTCP}},
		{
			"20010db8 01020304 05060708 090a0b0c 20010db8 11121314 15161718 191a1b1c 1234 5678",
			Tuple{netip.MustParseAddrPort("[2001:db8:1112:1314:1516:1718:191a:1b1c]:22136"), netip.MustParseAddrPort("[2001:db8:102:304:506:708:90a:b0c]:4660"), ProtoTCP},
		},
	} {
		ends := unhex(t, c.ends)
		if got := h.HashEnds(ends, ProtoTCP); got != h.Hash(&c.at) {
			t.Errorf("%v: %#x, want %#x", c.at, got, h.Hash(&c.at))
		}
		for i := range ends {
			was := h.HashEnds(ends, ProtoTCP)
			ends[i] ^= 0x10
			if h.HashEnds(ends, ProtoTCP) == was {
				t.Errorf("%v: byte %d is not hashed", c.at, i)
			}
		}
		if h.HashEnds(ends, ProtoTCP) == h.HashEnds(ends, ProtoUDP) {
			t.Errorf("%v: the protocol is not hashed", c.at)
		}
	}
}
