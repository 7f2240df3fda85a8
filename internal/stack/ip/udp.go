package ip

import (
	"net/netip"
	"syscall"

	"github.com/zctap/zctap/internal/wire"
)

// MaxUDP is the most payload in bytes that a datagram to an address of the given
// version has. Nothing is sent in fragments: they are fragile (RFC 8900).
func (t *Tx) MaxUDP(ipv6 bool) int {
	if ipv6 {
		return t.caps.MTU - wire.IPv6HeaderLen - wire.UDPHeaderLen
	}
	return t.caps.MTU - wire.IPv4HeaderLen - wire.UDPHeaderLen
}

// groupHops is the hop limit of what is sent to a multicast group, which is to stay
// on the link unless somebody asks for more (RFC 1112 section 6.1).
const groupHops = 1

// UDP sends one datagram. tc is its DSCP and ECN. The payload must stay as it is until Flush returns.
// EMSGSIZE if it is longer than MaxUDP; a wire that is full loses it, counted.
func (t *Tx) UDP(src, dst netip.AddrPort, tc uint8, payload []byte) error {
	if len(payload) > t.MaxUDP(src.Addr().Is6()) {
		return syscall.EMSGSIZE
	}
	b := t.begin(len(payload))
	if b == nil {
		return nil
	}
	hops := t.hopLimit
	if dst.Addr().IsMulticast() {
		hops = groupHops
	}
	l4, err := t.putIP(b, &wire.IPHeader{
		Src: src.Addr(), Dst: dst.Addr(), Proto: wire.ProtoUDP, HopLimit: hops, TrafficClass: tc,
		PayloadLen: wire.UDPHeaderLen + len(payload),
	})
	if err != nil {
		t.stats.Unsendable++
		return err
	}
	k, err := wire.PutUDP(b[l4:], &wire.UDP{SrcPort: src.Port(), DstPort: dst.Port(), PayloadLen: len(payload)})
	if err != nil {
		t.stats.Unsendable++
		return err
	}
	t.commit(b[:l4+k], l4, src.Addr(), dst.Addr(), wire.ProtoUDP, [2][]byte{payload}, 0)
	return nil
}
