//go:build linux

package hostnet

import (
	"encoding/binary"
	"net/netip"

	"golang.org/x/sys/unix"
)

// A route that was parsed, as far as it concerns one interface.
type route struct {
	table  uint32
	prefix netip.Prefix
	metric uint32
	rank   uint8 // of the router preference: the lowest is the best
	hop    hop
}

// nexthop is one way on that a route has.
type nexthop struct {
	index   int // of the interface; 0 if there is none
	flags   uint8
	gateway netip.Addr
	encap   bool
}

// parseRoute reads a route (RTM_NEWROUTE, struct rtmsg). It is not ok if it
// does not count for an interface, the one with the index.
func parseRoute(p []byte, index int) (r route, ok bool) {
	if len(p) < unix.SizeofRtMsg {
		return r, false
	}
	family, bits, srcBits, dscp, typ := p[0], int(p[1]), p[2], p[3], p[7]
	r.table = uint32(p[4])
	r.hop.scope = p[6]
	flags := binary.NativeEndian.Uint32(p[8:])
	if srcBits != 0 || dscp != 0 || flags&unix.RTM_F_CLONED != 0 {
		return r, false
	}
	var dst netip.Addr
	switch family {
	case unix.AF_INET:
		dst = netip.IPv4Unspecified()
	case unix.AF_INET6:
		dst = netip.IPv6Unspecified()
	default:
		return r, false
	}
	single := nexthop{flags: uint8(flags)}
	var several []byte
	for b := p[unix.SizeofRtMsg:]; ; {
		a, rest, ok := nextAttribute(b)
		if !ok {
			break
		}
		b = rest
		switch a.typ {
		case unix.RTA_DST:
			dst = addrOf(a.value)
		case unix.RTA_TABLE:
			r.table = a.u32()
		case unix.RTA_PRIORITY:
			r.metric = a.u32()
		case unix.RTA_PREFSRC:
			r.hop.source = addrOf(a.value)
		case unix.RTA_PREF:
			r.rank = preferenceRank(a.value)
		case unix.RTA_MULTIPATH:
			several = a.value
		default:
			single.attribute(a)
		}
	}
	prefix := netip.PrefixFrom(dst, bits)
	if !validFamily(dst, family) || !prefix.IsValid() {
		return r, false
	}
	r.prefix = prefix.Masked()
	r.hop.verdict = routeVerdict(typ)
	switch r.hop.verdict {
	case local:
		// The host's, whatever interface it is on; but fe80::/10 is on each
		// link again.
		return r, single.index == index || !dst.IsLinkLocalUnicast()
	case broadcast:
		return r, single.index == index
	case reject, throw:
		return r, true
	case unicast:
		next, ok := chooseNexthop(single, several, index)
		r.hop.gateway = next.gateway
		if next.encap {
			r.hop.verdict = reject
		}
		return r, ok
	}
	return r, false
}

// routeVerdict is what a type of route (RTN_*) means; noRoute if it is not
// followed.
func routeVerdict(typ uint8) verdict {
	switch typ {
	case unix.RTN_UNICAST:
		return unicast
	case unix.RTN_LOCAL, unix.RTN_ANYCAST:
		return local
	case unix.RTN_BROADCAST:
		return broadcast
	case unix.RTN_BLACKHOLE, unix.RTN_UNREACHABLE, unix.RTN_PROHIBIT:
		return reject
	case unix.RTN_THROW:
		return throw
	}
	return noRoute
}

// preferenceRank orders router preferences (RFC 4191 section 2.1).
func preferenceRank(b []byte) uint8 {
	const high, low = 1, 3
	switch {
	case len(b) == 1 && b[0] == high:
		return 0
	case len(b) == 1 && b[0] == low:
		return 2
	}
	return 1
}

// attribute takes in an attribute of a route or of one of its next hops.
func (n *nexthop) attribute(a attribute) {
	switch a.typ {
	case unix.RTA_OIF:
		n.index = int(int32(a.u32()))
	case unix.RTA_GATEWAY:
		n.gateway = addrOf(a.value)
	case unix.RTA_VIA: // struct rtvia: a gateway of the other family
		if len(a.value) > 2 {
			n.gateway = addrOf(a.value[2:])
		}
	case unix.RTA_ENCAP:
		n.encap = true
	}
}

// chooseNexthop returns the first next hop that is alive and out of the
// interface, as the kernel does for a socket bound to that. several is a list
// of struct rtnexthop; if it is empty there is but the single one.
func chooseNexthop(single nexthop, several []byte, index int) (nexthop, bool) {
	if len(several) == 0 {
		return single, single.index == index && single.flags&unix.RTNH_F_DEAD == 0
	}
	for b := several; len(b) >= unix.SizeofRtNexthop; {
		n := int(binary.NativeEndian.Uint16(b))
		if n < unix.SizeofRtNexthop || n > len(b) {
			break
		}
		next := nexthop{flags: b[2], index: int(int32(binary.NativeEndian.Uint32(b[4:])))}
		for attrs := b[unix.SizeofRtNexthop:n]; ; {
			a, rest, ok := nextAttribute(attrs)
			if !ok {
				break
			}
			attrs = rest
			next.attribute(a)
		}
		if next.index == index && next.flags&unix.RTNH_F_DEAD == 0 {
			return next, true
		}
		b = b[min(len(b), align(n)):]
	}
	return nexthop{}, false
}
