//go:build linux

package steer

import (
	"encoding/binary"
	"math/rand/v2"
	"net/netip"
)

// A generator makes frames that are mostly right, from few addresses and ports, so
// that matches and near misses are frequent, and damages some of them.
type generator struct{ *rand.Rand }

func newGenerator(seed uint64) generator { return generator{rand.New(rand.NewPCG(seed, 5))} }

// oneIn is true once in n times.
func (g generator) oneIn(n int) bool { return g.IntN(n) == 0 }

func pick[T any](g generator, from ...T) T { return from[g.IntN(len(from))] }

func (g generator) frame() []byte {
	v6 := g.oneIn(2)
	kind, packet := uint16(typeIPv4), []byte(nil)
	if v6 {
		kind = typeIPv6
	}
	packet = g.packet(v6, !g.oneIn(4))
	if g.oneIn(20) {
		kind = pick[uint16](g, typeIPv4, typeIPv6, typeARP, 46, typeVLAN, typeService)
	}
	for g.oneIn(6) {
		packet = tag(pick(g, 0, 0x8000, uint16(g.Uint32())), kind, packet)
		kind = pick[uint16](g, typeVLAN, typeVLAN, typeVLAN, typeService)
	}
	b := ether(kind, packet)
	if g.oneIn(30) || destination(packet).IsMulticast() {
		b[0] ^= 1
	}
	return g.damage(b)
}

// packet is an IP packet to us, or from us.
func (g generator) packet(v6, inward bool) []byte {
	src, dst := pick(g, peer4, peer4, other4), pick(g, our4, our4, other4, group4, all4)
	proto := pick[uint8](g, protoTCP, protoTCP, protoUDP, protoICMP4, uint8(g.Uint32()))
	if v6 {
		src, dst = pick(g, peer6, peer6, other6), pick(g, our6, our6, other6, group6, netip.AddrFrom16(our4.As16()))
		proto = pick[uint8](g, protoTCP, protoTCP, protoUDP, protoICMP6, uint8(g.Uint32()))
	}
	sport, dport := pick[uint16](g, 1000, 1000, 5), pick[uint16](g, 80, 53, 2000, 2000, 81)
	if !inward {
		src, dst, sport, dport = dst, src, dport, sport
	}
	payload := transport(sport, dport)
	if proto == protoICMP4 || proto == protoICMP6 {
		payload = g.icmp(v6)
	}
	if !v6 {
		h := ip4{src: src, dst: dst, proto: proto}
		if g.oneIn(4) {
			h.options = g.IntN(11)
		}
		if g.oneIn(10) {
			h.fragment = uint16(g.Uint32())
		}
		return h.packet(payload)
	}
	for n := 0; n < 10 && g.oneIn(3+n/8); n++ {
		payload = extensionHeader(proto, pick(g, 0, 0, 0, 1, g.IntN(256)), uint8(pick(g, 0, 0, 0, 1)), payload)
		proto = pick[uint8](g, extHop, extDest, extDest, extRoute, extFrag, extAuth)
	}
	return ip6{src, dst, proto}.packet(payload)
}

// destination is where a packet goes; invalid if it is too short to say.
func destination(packet []byte) netip.Addr {
	switch {
	case len(packet) >= 40 && packet[0]>>4 == 6:
		return netip.AddrFrom16([16]byte(packet[24:40]))
	case len(packet) >= 20:
		return netip.AddrFrom4([4]byte(packet[16:20]))
	}
	return netip.Addr{}
}

// icmp is a message of one of the first types, which quotes a packet of ours.
func (g generator) icmp(v6 bool) []byte {
	quote := []byte{0x45}
	if !g.oneIn(20) { // of this the depth is bounded
		quote = g.packet(v6 != g.oneIn(30), g.oneIn(10))
	}
	return icmpMessage(pick(g, 1, 2, 3, 11, uint8(g.IntN(13))), uint8(g.IntN(5)), quote)
}

func (g generator) damage(b []byte) []byte {
	if g.oneIn(4) {
		b = b[:14+g.IntN(len(b)-13)]
	}
	for g.oneIn(5) {
		b[g.IntN(len(b))] = byte(g.Uint32())
	}
	if g.oneIn(20) && len(b) > 20 {
		at := 12 + g.IntN(len(b)-14)
		binary.BigEndian.PutUint16(b[at:], uint16(g.Uint32()))
	}
	return b
}
