//go:build linux

package hostnet

import (
	"net/netip"

	"golang.org/x/sys/unix"
)

var limitedBroadcast = netip.AddrFrom4([4]byte{255, 255, 255, 255})

// IsLocal reports whether the kernel takes packets to a, received on the
// interface, for its own. As in the kernel (the weak host model of RFC 1122,
// section 3.3.4.2) that includes addresses of the host's other interfaces, and
// whole prefixes that are routed to the host. Loopback addresses are not local
// here: no packet on a wire may have them. Neither are addresses that multicasts
// and broadcasts go to, nor tentative ones: the kernel has no route for them yet.
func (h *Host) IsLocal(a netip.Addr) bool { return h.state.Load().route(plain(a)).verdict == local }

// NextHop returns where packets to dst are sent on the link: the gateway, or
// dst itself if it is on the link, a broadcast or a multicast. It is not ok if
// no route out of the interface leads there, or dst is the host itself. The next
// hop for an IPv4 address may be an IPv6 gateway (RFC 5549).
func (h *Host) NextHop(dst netip.Addr) (netip.Addr, bool) { return h.state.Load().nextHop(plain(dst)) }

// MAC returns the destination address of a frame to dst: that of the next hop
// as the kernel's neighbor table has it, even if the kernel would verify it
// soon; or that of the multicast group (RFC 1112, RFC 2464) or broadcast. If it
// is not ok although there is a next hop, Resolve asks the kernel to find it.
func (h *Host) MAC(dst netip.Addr) (mac [6]byte, ok bool) {
	s := h.state.Load()
	dst = plain(dst)
	hop := s.route(dst)
	if !s.link.ethernet() {
		return mac, false
	}
	switch hop.verdict {
	case unicast:
	case broadcast:
		return [6]byte{255, 255, 255, 255, 255, 255}, true
	case multicast:
		return multicastMAC(dst), true
	default:
		return mac, false
	}
	// On links without address resolution the kernel makes the entries up.
	switch {
	case s.link.flags&(unix.IFF_NOARP|unix.IFF_LOOPBACK) != 0:
		return s.link.mac, true
	case s.link.flags&unix.IFF_POINTOPOINT != 0:
		return s.link.broadcast, true
	}
	n, ok := h.neighbors.get(hop.via(dst))
	if !ok || !n.State.Usable() {
		return mac, false
	}
	return n.MAC, true
}

// Neighbor returns the kernel's entry for the next hop to dst, in whatever
// state it is.
func (h *Host) Neighbor(dst netip.Addr) (Neighbor, bool) {
	dst = plain(dst)
	hop := h.state.Load().route(dst)
	if hop.verdict != unicast {
		return Neighbor{}, false
	}
	return h.neighbors.get(hop.via(dst))
}

// plain is a without a zone, and as IPv4 if it is that.
func plain(a netip.Addr) netip.Addr { return a.Unmap().WithZone("") }

// family is the index of a's address family in routes.
func family(a netip.Addr) int {
	if a.Is4() {
		return 0
	}
	return 1
}

// via is where a packet to dst goes on the link.
func (h *hop) via(dst netip.Addr) netip.Addr {
	if h.verdict == unicast && h.gateway.IsValid() {
		return h.gateway
	}
	return dst
}

// route looks dst up.
func (s *state) route(dst netip.Addr) hop {
	switch {
	case !dst.IsValid() || s.link.deleted || dst.IsUnspecified() || dst.IsLoopback():
		return hop{}
	case dst.IsMulticast():
		return hop{verdict: multicast, scope: unix.RT_SCOPE_LINK}
	case dst == limitedBroadcast:
		return hop{verdict: broadcast, scope: unix.RT_SCOPE_LINK}
	}
	f, k := family(dst), keyOf(dst)
	if h, ok := s.routes.local[f].lookup(k); ok && h.verdict != throw {
		return h
	}
	if h, ok := s.routes.main[f].lookup(k); ok && h.verdict != throw {
		return h
	}
	return hop{}
}

func (s *state) nextHop(dst netip.Addr) (netip.Addr, bool) {
	h := s.route(dst)
	switch h.verdict {
	case unicast, broadcast, multicast:
		return h.via(dst), true
	}
	return netip.Addr{}, false
}

// multicastMAC is the MAC address that a group maps to: 23 bits of it in IPv4
// (RFC 1112 section 6.4), 32 in IPv6 (RFC 2464 section 7).
func multicastMAC(group netip.Addr) [6]byte {
	if group.Is4() {
		b := group.As4()
		return [6]byte{0x01, 0x00, 0x5e, b[1] & 0x7f, b[2], b[3]}
	}
	b := group.As16()
	return [6]byte{0x33, 0x33, b[12], b[13], b[14], b[15]}
}
