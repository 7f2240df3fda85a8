//go:build linux

package xdp

import (
	"encoding/binary"
	"math/rand/v2"
	"net/netip"
	"testing"

	"github.com/zctap/zctap/internal/wire"
)

// TestPartialAgrees: isPartial says of packets what wire's parser and sums say.
func TestPartialAgrees(t *testing.T) {
	r := rand.New(rand.NewPCG(1, 2))
	random := func(b []byte) []byte {
		for i := range b {
			b[i] = byte(r.Uint32())
			if r.IntN(4) == 0 {
				b[i] = 0xff * byte(r.IntN(2)) // sums that wrap, or are zero
			}
		}
		return b
	}
	partial := 0
	for range 20000 {
		src, dst, ethertype := netip.AddrFrom4([4]byte(random(make([]byte, 4)))), netip.AddrFrom4([4]byte(random(make([]byte, 4)))), uint16(wire.EtherTypeIPv4)
		if r.IntN(2) == 0 {
			src, dst, ethertype = netip.AddrFrom16([16]byte(random(make([]byte, 16)))), netip.AddrFrom16([16]byte(random(make([]byte, 16)))), wire.EtherTypeIPv6
		}
		proto := []uint8{wire.ProtoTCP, wire.ProtoUDP}[r.IntN(2)]
		b := make([]byte, 40+20+r.IntN(1400))
		n, err := wire.PutIP(b, &wire.IPHeader{Src: src, Dst: dst, Proto: proto, HopLimit: 1, PayloadLen: len(b) - 40})
		if err != nil {
			continue // addresses that no header may have
		}
		b = b[:n+len(b)-40]
		sum := wire.PseudoSum(src, dst, proto, len(b)-n).Fold()
		want := true
		switch r.IntN(3) {
		case 0:
			sum ^= 1 << r.IntN(16)
			want = false
		case 1:
			if sum = ^sum; sum == 0 || sum == 0xffff {
				continue
			}
			want = false
		default:
			partial++
		}
		at := n + tcpChecksum
		if proto == wire.ProtoUDP {
			at = n + udpChecksum
		}
		binary.BigEndian.PutUint16(b[at:], sum)
		if got := isPartial(b, len(b), ethertype); got != want {
			t.Fatalf("isPartial = %v, want %v: checksum %#x of %x", got, want, sum, b[:n+20])
		}
	}
	if partial < 1000 {
		t.Fatalf("only %d partial packets were made", partial)
	}
}

// FuzzPartial: no packet makes it panic.
func FuzzPartial(f *testing.F) {
	f.Add([]byte{0x45, 0, 0, 28, 0, 0, 0, 0, 64, 17, 0, 0, 1, 2, 3, 4, 5, 6, 7, 8, 0, 1, 0, 2, 0, 8, 0, 0}, 28, uint16(wire.EtherTypeIPv4))
	f.Add(append([]byte{0x60, 0, 0, 0, 0, 16, 0, 1}, make([]byte, 48)...), 56, uint16(wire.EtherTypeIPv6))
	f.Fuzz(func(t *testing.T, head []byte, length int, ethertype uint16) { isPartial(head, length, ethertype) })
}
