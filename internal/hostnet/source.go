//go:build linux

package hostnet

import (
	"net/netip"

	"golang.org/x/sys/unix"
)

// Source returns the address from which the host sends to dst, if a socket has
// not been bound to one: the route's preferred source; or else, for IPv4, the
// first primary address in the gateway's subnet, or just the first, of at least
// the route's scope (as the kernel's inet_select_addr does); or else, for IPv6,
// by RFC 6724 among the addresses of the interface. It is not ok without a route
// out of the interface, and without a fitting address on it. For an address of
// the host it is that address.
func (h *Host) Source(dst netip.Addr) (netip.Addr, bool) { return h.state.Load().source(plain(dst)) }

func (s *state) source(dst netip.Addr) (netip.Addr, bool) {
	h := s.route(dst)
	switch {
	case h.verdict == local:
		return dst, true
	case h.verdict != unicast && h.verdict != broadcast && h.verdict != multicast:
		return netip.Addr{}, false
	case h.source.IsValid():
		return h.source, true
	case dst.Is4():
		return s.source4(h.gateway, h.scope)
	default:
		return s.source6(dst)
	}
}

// source4 selects an IPv4 address that is known at least as far away as scope
// says; the farther, the lower the number (rtnetlink(7)).
func (s *state) source4(gateway netip.Addr, scope uint8) (first netip.Addr, ok bool) {
	for i := range s.addrs {
		a := &s.addrs[i]
		if !a.prefix.Addr().Is4() || !a.usable() || a.flags&unix.IFA_F_SECONDARY != 0 || a.scope > scope {
			continue
		}
		if !gateway.Is4() || a.prefix.Contains(gateway) {
			return a.prefix.Addr(), true
		}
		if !ok {
			first, ok = a.prefix.Addr(), true
		}
	}
	return first, ok
}

// source6 selects an IPv6 address by the rules of RFC 6724 section 5 that tell
// addresses of one interface apart. Of addresses that are equally good the first
// is taken.
func (s *state) source6(dst netip.Addr) (best netip.Addr, ok bool) {
	var chosen *address
	for i := range s.addrs {
		a := &s.addrs[i]
		if !a.prefix.Addr().Is6() || !a.usable() {
			continue
		}
		if chosen == nil || better6(a, chosen, dst) {
			chosen = a
		}
	}
	if chosen == nil {
		return netip.Addr{}, false
	}
	return chosen.prefix.Addr(), true
}

// better6 reports whether a is better than b as a source to reach dst.
func better6(a, b *address, dst netip.Addr) bool {
	// Rule 1, the destination itself, does not arise: it is local.
	// Rule 2: appropriate scope.
	sa, sb, sd := scope6(a.prefix.Addr()), scope6(b.prefix.Addr()), scope6(dst)
	if sa != sb {
		if sa < sb {
			return sa >= sd
		}
		return sb < sd
	}
	// Rule 3: not deprecated.
	if da, db := a.deprecated(), b.deprecated(); da != db {
		return db
	}
	// Rule 6: matching label. (4 is about Mobile IPv6, 5 about interfaces.)
	if label := label6(dst); (label6(a.prefix.Addr()) == label) != (label6(b.prefix.Addr()) == label) {
		return label6(a.prefix.Addr()) == label
	}
	// Rule 7: public addresses, which is the kernel's default (use_tempaddr=1),
	// not the RFC's.
	if ta, tb := a.flags&unix.IFA_F_TEMPORARY != 0, b.flags&unix.IFA_F_TEMPORARY != 0; ta != tb {
		return tb
	}
	// Rule 8: longest matching prefix, within the source's subnet prefix.
	return common6(a, dst) > common6(b, dst)
}

// scope6 is the scope of an IPv6 address as RFC 6724 section 3.1 numbers them.
func scope6(a netip.Addr) uint8 {
	const linkLocal, siteLocal, global = 0x2, 0x5, 0xe
	b := a.As16()
	switch {
	case a.IsMulticast():
		return b[1] & 0xf
	case a.IsLinkLocalUnicast(), a.IsLoopback():
		return linkLocal
	case b[0] == 0xfe && b[1]&0xc0 == 0xc0:
		return siteLocal
	}
	return global
}

// labels is the default policy table, the longest prefix first (RFC 6724
// section 2.1, with the values of the kernel's net/ipv6/addrlabel.c, which
// differ, but not in what is equal to what).
var labels = []struct {
	prefix netip.Prefix
	label  uint8
}{
	{netip.MustParsePrefix("::1/128"), 0},
	{netip.MustParsePrefix("::ffff:0:0/96"), 4},
	{netip.MustParsePrefix("::/96"), 3},
	{netip.MustParsePrefix("2001::/32"), 6},
	{netip.MustParsePrefix("2001:10::/28"), 7},
	{netip.MustParsePrefix("2002::/16"), 2},
	{netip.MustParsePrefix("3ffe::/16"), 12},
	{netip.MustParsePrefix("fec0::/10"), 11},
	{netip.MustParsePrefix("fc00::/7"), 5},
}

func label6(a netip.Addr) uint8 {
	for i := range labels {
		if labels[i].prefix.Contains(a) {
			return labels[i].label
		}
	}
	return 1
}

// common6 is the length of the prefix that the address has in common with dst.
func common6(a *address, dst netip.Addr) int {
	return min(keyOf(a.prefix.Addr()).common(keyOf(dst)), a.prefix.Bits())
}
