//go:build linux

package gvnic

import (
	"net/netip"

	"github.com/zctap/zctap/internal/wire"
)

var broadcast = [6]byte{0xff, 0xff, 0xff, 0xff, 0xff, 0xff}

// arpLen is the length in bytes of an ARP packet for IPv4 over Ethernet (RFC
// 826): types and lengths, operation, then the hardware and protocol address of
// sender and target.
const arpLen = 28

// arpReply answers an ARP request in the frame data whose target has is true
// for, in the name of mac. Requests whose sender is the target (RFC 5227, an
// announcement or a probe) are not answered.
func arpReply(data []byte, mac [6]byte, has func(netip.Addr) bool) ([]byte, bool) {
	p := data[wire.EthernetHeaderLen:]
	if len(p) < arpLen || be.Uint64(p)>>16 != 0x000108000604 || be.Uint16(p[6:]) != 1 {
		return nil, false
	}
	sender, target := netip.AddrFrom4([4]byte(p[14:])), netip.AddrFrom4([4]byte(p[24:]))
	if sender == target || sender.IsUnspecified() || !has(target) {
		return nil, false
	}
	e := wire.Ethernet{Dst: [6]byte(p[8:]), Src: mac, EtherType: wire.EtherTypeARP}
	b := make([]byte, wire.EthernetHeaderLen+arpLen)
	if _, err := wire.PutEthernet(b, &e); err != nil {
		return nil, false
	}
	r := b[wire.EthernetHeaderLen:]
	copy(r, p[:8])
	r[7] = 2 // reply
	copy(r[8:], mac[:])
	copy(r[14:], p[24:28])
	copy(r[18:], p[8:18])
	return b, true
}

// Neighbor discovery (RFC 4861 sections 4.3 and 4.4).
const (
	ndSolicitation  = 135
	ndAdvertisement = 136
	ndLen           = 24         // of both, bytes, without options
	ndAnswer        = 0x60000000 // flags: solicited, override
	ndTargetAddress = 2          // option: target's link-layer address
)

// ndReply is arpReply for IPv6. Probes for duplicate addresses, which have no
// source address, are not answered.
func ndReply(data []byte, mac [6]byte, has func(netip.Addr) bool) ([]byte, bool) {
	p := parse(data, wire.Vouched)
	if p.proto() != wire.ProtoICMPv6 || p.ip.HopLimit != 255 || p.end-p.l4 < ndLen || data[p.l4] != ndSolicitation {
		return nil, false
	}
	target := netip.AddrFrom16([16]byte(data[p.l4+8:]))
	if p.ip.Src.IsUnspecified() || p.ip.Src == target || !has(target) {
		return nil, false
	}
	const l4 = wire.EthernetHeaderLen + wire.IPv6HeaderLen
	b := make([]byte, l4+ndLen+8)
	e := wire.Ethernet{Dst: [6]byte(data[6:]), Src: mac, EtherType: wire.EtherTypeIPv6}
	if _, err := wire.PutEthernet(b, &e); err != nil {
		return nil, false
	}
	ip := wire.IPHeader{Src: target, Dst: p.ip.Src, Proto: wire.ProtoICMPv6, HopLimit: 255, PayloadLen: ndLen + 8}
	if _, err := wire.PutIP(b[wire.EthernetHeaderLen:], &ip); err != nil {
		return nil, false
	}
	m := b[l4:]
	m[0] = ndAdvertisement
	be.PutUint32(m[4:], ndAnswer)
	copy(m[8:], data[p.l4+8:p.l4+24])
	m[ndLen], m[ndLen+1] = ndTargetAddress, 1
	copy(m[ndLen+2:], mac[:])
	err := wire.FillChecksum(m, wire.ProtoICMPv6, wire.PseudoSum(ip.Src, ip.Dst, ip.Proto, len(m)))
	return b, err == nil
}
