//go:build linux

package hostnet

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"net"
	"net/netip"
	"testing"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"

	"github.com/zctap/zctap/internal/netns"
)

// addOther gives the first host a second interface, named other, on 10.9.0.1/24
// and fd00:9::1/64.
func (l *lan) addOther() {
	l.t.Helper()
	err := netns.Veth(l.a, newNS(l.t), netns.VethOptions{
		NameA: "other", AddrA: prefixes("10.9.0.1/24", "fd00:9::1/64"), AddrB: prefixes("10.9.0.2/24", "fd00:9::2/64"),
	})
	if err != nil {
		l.t.Fatal(err)
	}
	settled(l.t, l.a, "10.9.0.1", "fd00:9::1")
}

// oracle is what the kernel answers for a socket that is bound to an interface.
func oracle(dst netip.Addr) (next, source netip.Addr, ok bool, err error) {
	family := netlink.RouteGetOptions{Oif: "left", FIBMatch: true}
	match, err := netlink.RouteGetWithOptions(dst.AsSlice(), &family)
	for _, no := range []error{unix.ENETUNREACH, unix.EHOSTUNREACH, unix.EACCES, unix.EINVAL, unix.EAGAIN} {
		if errors.Is(err, no) {
			return next, source, false, nil
		}
	}
	if err != nil {
		return next, source, false, fmt.Errorf("%s: %w", dst, err)
	}
	switch match[0].Type {
	case unix.RTN_UNICAST:
	default:
		return next, source, false, nil
	}
	routes, err := netlink.RouteGetWithOptions(dst.AsSlice(), &netlink.RouteGetOptions{Oif: "left"})
	if err != nil {
		return next, source, false, fmt.Errorf("%s: %w", dst, err)
	}
	r := routes[0]
	next = dst
	if r.Gw != nil {
		next, _ = netip.AddrFromSlice(r.Gw)
	}
	if v, isVia := r.Via.(*netlink.Via); isVia {
		next, _ = netip.AddrFromSlice(v.Addr)
	}
	source, _ = netip.AddrFromSlice(r.Src)
	return next.Unmap(), source.Unmap(), true, nil
}

// check compares us with the kernel about one destination.
func check(h *Host, dst netip.Addr) error {
	next, source, ok, err := oracle(dst)
	if err != nil {
		return err
	}
	gotNext, gotOK := h.NextHop(dst)
	gotSource, _ := h.Source(dst)
	if gotOK != ok || gotNext != next || ok && gotSource != source {
		return fmt.Errorf("to %s by %v, %v from %v; the kernel: by %v, %v from %v", dst, gotNext, gotOK, gotSource, next, ok, source)
	}
	return nil
}

// randomRoutes makes routes of all sorts, of one family.
func randomRoutes(rng *rand.Rand, n int, v6 bool, left, other int) (list []*netlink.Route) {
	gateways, others, sources := prefixes("10.1.0.2/32", "10.1.0.3/32"), prefixes("10.9.0.2/32"), prefixes("10.1.0.1/32", "10.9.0.1/32")
	if v6 {
		gateways, others, sources = prefixes("fd00:1::2/128", "fd00:1::3/128"), prefixes("fd00:9::2/128"), prefixes("fd00:1::1/128", "fd00:9::1/128")
	}
	pick := func(from []netip.Prefix) net.IP { return from[rng.IntN(len(from))].Addr().AsSlice() }
	for range n {
		a := randomAddr(rng, v6)
		bits := 9 + rng.IntN(a.BitLen()-8)
		if a.IsMulticast() || a.IsLoopback() || a.Is4() && a.As4()[0] >= 224 {
			continue
		}
		r := &netlink.Route{Dst: ipNet(netip.PrefixFrom(a, bits).Masked()), Priority: rng.IntN(3) * 100}
		switch rng.IntN(10) {
		case 0:
			r.LinkIndex, r.Scope = left, netlink.SCOPE_LINK
		case 1:
			r.LinkIndex, r.Scope = other, netlink.SCOPE_LINK
		case 2:
			r.LinkIndex, r.Gw = other, pick(others)
		case 3:
			r.MultiPath = []*netlink.NexthopInfo{{LinkIndex: other, Gw: pick(others)}, {LinkIndex: left, Gw: pick(gateways)}}
		case 4:
			if !v6 { // of IPv6 the kernel takes no notice, if asked about an interface
				r.Type = []int{unix.RTN_BLACKHOLE, unix.RTN_UNREACHABLE, unix.RTN_PROHIBIT}[rng.IntN(3)]
			} else {
				r.LinkIndex, r.Gw = left, pick(gateways)
			}
		case 5:
			if !v6 {
				r.LinkIndex, r.Via = left, &netlink.Via{AddrFamily: unix.AF_INET6, Addr: net.ParseIP("fd00:1::2")}
			} else {
				r.LinkIndex = left
			}
		case 6:
			r.LinkIndex, r.Gw, r.Src = left, pick(gateways), pick(sources)
		default:
			r.LinkIndex, r.Gw = left, pick(gateways)
		}
		list = append(list, r)
	}
	return list
}

// TestNSRoutesAgreeWithKernel: routes of all sorts come and go, and each time
// lookups come to what the kernel answers.
func TestNSRoutesAgreeWithKernel(t *testing.T) {
	for _, v6 := range []bool{false, true} {
		t.Run(fmt.Sprint("IPv6 ", v6), func(t *testing.T) {
			l := newLAN(t)
			l.addOther()
			add(t, l.a, "left", "10.1.0.7/24", "10.7.0.1/16", "192.0.2.9/32", "fd00:1::7/64", "fd0f:1::7/32", "2001:db8::1/64", "fe80::7/64")
			h := l.watch(options{})
			rng := rand.New(rand.NewPCG(5, 6))
			var all []*netlink.Route
			rounds, size := 4, 150
			if testing.Short() {
				rounds = 2
			}
			for round := range rounds {
				in(t, l.a, func() error {
					left, err := netlink.LinkByName("left")
					if err != nil {
						return err
					}
					other, err := netlink.LinkByName("other")
					if err != nil {
						return err
					}
					for _, r := range randomRoutes(rng, size, v6, left.Attrs().Index, other.Attrs().Index) {
						add := []func(*netlink.Route) error{netlink.RouteAdd, netlink.RouteReplace, netlink.RouteAppend}[rng.IntN(3)]
						if err := add(r); err == nil {
							all = append(all, r)
						} else if !errors.Is(err, unix.EEXIST) {
							return fmt.Errorf("adding %v: %w", r, err)
						}
					}
					for i := 0; round > 0 && i < size/3; i++ {
						j := rng.IntN(len(all))
						_ = netlink.RouteDel(all[j]) // replaced ones are gone
						all[j] = all[len(all)-1]
						all = all[:len(all)-1]
					}
					return nil
				})
				var dsts []netip.Addr
				for range 600 {
					dsts = append(dsts, randomAddr(rng, v6))
				}
				for _, r := range all {
					a, _ := netip.AddrFromSlice(r.Dst.IP)
					dsts = append(dsts, a.Unmap().Next())
				}
				var wrong error
				routed, unrouted := 0, 0
				agree := func() bool {
					wrong, routed, unrouted = nil, 0, 0
					in(t, l.a, func() error {
						for _, dst := range dsts {
							if dst.IsMulticast() || dst.IsLoopback() || dst.Is4() && (dst.As4()[0] >= 224 || dst.As4()[0] == 0) || h.IsLocal(dst) {
								continue
							}
							if wrong = check(h, dst); wrong != nil {
								break
							}
							if _, ok := h.NextHop(dst); ok {
								routed++
							} else {
								unrouted++
							}
						}
						return nil
					})
					return wrong == nil
				}
				waitUnless(t, agree, func() string { return fmt.Sprint(wrong) })
				if routed < 100 || unrouted < 50 {
					t.Errorf("%d destinations with a route, %d without: too few to mean anything", routed, unrouted)
				}
			}
		})
	}
}

// waitUnless is eventually, with a reason that is known only at the end.
func waitUnless(t *testing.T, cond func() bool, why func() string) {
	t.Helper()
	ok := false
	defer func() {
		if !ok {
			t.Log(why())
		}
	}()
	eventually(t, "agreement", cond)
	ok = true
}

func TestNSRouteReplacedAndRemoved(t *testing.T) {
	l := newLAN(t)
	l.addOther()
	h := l.watch(options{})
	r := record(t, h)
	for _, c := range []struct{ dst, first, second, elsewhere string }{
		{"0.0.0.0/0", "10.1.0.2", "10.1.0.3", "10.9.0.2"},
		{"::/0", "fd00:1::2", "fd00:1::3", "fd00:9::2"},
	} {
		far := addr("203.0.113.5")
		if prefix(c.dst).Addr().Is6() {
			far = addr("2001:db8:5::5")
		}
		hop := func(want string) func() bool {
			return func() bool { next, ok := h.NextHop(far); return ok == (want != "") && (!ok || next == addr(want)) }
		}
		set := func(f func(*netlink.Route) error, via string) {
			in(t, l.a, func() error {
				link := "left"
				if via == c.elsewhere {
					link = "other"
				}
				k, err := netlink.LinkByName(link)
				if err != nil {
					return err
				}
				return f(&netlink.Route{LinkIndex: k.Attrs().Index, Dst: ipNet(prefix(c.dst)), Gw: addr(via).AsSlice(), Priority: 50})
			})
		}
		r.take()
		eventually(t, "no route", hop(""))
		set(netlink.RouteAdd, c.first)
		eventually(t, "the route", hop(c.first))
		if !r.kind(RoutesChanged) {
			eventually(t, "an event", func() bool { return r.kind(RoutesChanged) })
		}
		v := h.Version()
		set(netlink.RouteReplace, c.second)
		eventually(t, "the other gateway", hop(c.second))
		eventually(t, "the version", func() bool { return h.Version() != v })
		set(netlink.RouteReplace, c.elsewhere)
		eventually(t, "the route is out of the other interface", hop(""))
		set(netlink.RouteReplace, c.first)
		eventually(t, "the route is back", hop(c.first))
		set(netlink.RouteDel, c.first)
		eventually(t, "the route is gone", hop(""))
	}
}

// TestNSRejectAndThrow: types of routes for which the kernel cannot be asked
// with an interface.
func TestNSRejectAndThrow(t *testing.T) {
	l := newLAN(t)
	for _, c := range []struct{ dst, via string }{{"0.0.0.0/0", "10.1.0.2"}, {"::/0", "fd00:1::2"}} {
		if err := l.a.AddRoute(prefix(c.dst), addr(c.via), "left"); err != nil {
			t.Fatal(err)
		}
	}
	h := l.watch(options{})
	for _, p := range prefixes("192.0.2.0/24", "2001:db8::/32") {
		dst := p.Addr().Next()
		if _, ok := h.NextHop(dst); !ok {
			t.Fatalf("no default route to %s", dst)
		}
		for _, typ := range []int{unix.RTN_BLACKHOLE, unix.RTN_UNREACHABLE, unix.RTN_PROHIBIT, unix.RTN_THROW} {
			r := &netlink.Route{Dst: ipNet(p), Type: typ}
			in(t, l.a, func() error { return netlink.RouteAdd(r) })
			eventually(t, "the route counts", func() bool { _, ok := h.NextHop(dst); return !ok })
			if _, ok := h.Source(dst); ok {
				t.Errorf("type %d: %s has a source", typ, dst)
			}
			if _, ok := h.MAC(dst); ok {
				t.Errorf("type %d: %s has a MAC", typ, dst)
			}
			in(t, l.a, func() error { return netlink.RouteDel(r) })
			eventually(t, "the default route counts again", func() bool { _, ok := h.NextHop(dst); return ok })
		}
	}
}

func TestNSLocalOfTheWholeHost(t *testing.T) {
	l := newLAN(t)
	l.addOther()
	add(t, l.a, "lo", "198.51.100.1/32", "2001:db8::1/128")
	add(t, l.a, "left", "fe80::1/64")
	add(t, l.a, "other", "fe80::9/64")
	in(t, l.a, func() error {
		lo, err := netlink.LinkByName("lo")
		if err != nil {
			return err
		}
		return netlink.RouteAdd(&netlink.Route{
			LinkIndex: lo.Attrs().Index, Dst: ipNet(prefix("203.0.113.0/24")), Type: unix.RTN_LOCAL, Table: unix.RT_TABLE_LOCAL, Scope: unix.RT_SCOPE_HOST,
		})
	})
	h := l.watch(options{})
	eventually(t, "the link-local address", func() bool { return h.IsLocal(addr("fe80::1")) })
	for s, want := range map[string]bool{
		"10.1.0.1": true, "fd00:1::1": true, // its own
		"10.9.0.1": true, "fd00:9::1": true, "198.51.100.1": true, "2001:db8::1": true, // the host's
		"203.0.113.77": true,                   // a prefix
		"fe80::1":      true, "fe80::9": false, // on each link again
		"::ffff:10.1.0.1": true, "fe80::1%left": true, // other spellings
		"10.1.0.2": false, "10.1.0.255": false, "10.1.0.0": false, "127.0.0.1": false, "::1": false,
		"224.0.0.1": false, "ff02::1": false, "0.0.0.0": false, "::": false, "255.255.255.255": false,
	} {
		if got := h.IsLocal(addr(s)); got != want {
			t.Errorf("IsLocal(%s) = %v", s, got)
		}
		if _, ok := h.NextHop(addr(s)); ok && want {
			t.Errorf("%s is local and has a next hop", s)
		}
		if src, ok := h.Source(addr(s)); want && (!ok || src != plain(addr(s))) {
			t.Errorf("Source(%s) = %v, %v; want itself", s, src, ok)
		}
	}
	if h.IsLocal(netip.Addr{}) {
		t.Error("the zero address is local")
	}
}

func TestNSGroupsAndBroadcasts(t *testing.T) {
	l := newLAN(t)
	h := l.watch(options{})
	eventually(t, "routes of both families", func() bool { _, ok := h.NextHop(addr("fd00:1::2")); return ok })
	for s, want := range map[string][6]byte{
		"224.0.0.1":       {0x01, 0, 0x5e, 0, 0, 1},
		"239.255.129.5":   {0x01, 0, 0x5e, 0x7f, 129, 5},
		"ff02::1":         {0x33, 0x33, 0, 0, 0, 1},
		"ff02::1:ff12:34": {0x33, 0x33, 0xff, 0x12, 0, 0x34},
		"255.255.255.255": {255, 255, 255, 255, 255, 255},
		"10.1.0.255":      {255, 255, 255, 255, 255, 255},
	} {
		if mac, ok := h.MAC(addr(s)); !ok || mac != want {
			t.Errorf("MAC(%s) = %x, %v; want %x", s, mac, ok, want)
		}
		if next, ok := h.NextHop(addr(s)); !ok || next != addr(s) {
			t.Errorf("NextHop(%s) = %v, %v", s, next, ok)
		}
		own := addr("10.1.0.1")
		if addr(s).Is6() {
			own = addr("fd00:1::1")
		}
		if src, ok := h.Source(addr(s)); !ok || src != own {
			t.Errorf("Source(%s) = %v, %v", s, src, ok)
		}
	}
	for _, s := range []string{"127.0.0.1", "::1", "0.0.0.0", "::", "8.8.8.8", "10.1.0.1"} {
		if next, ok := h.NextHop(addr(s)); ok {
			t.Errorf("NextHop(%s) = %v", s, next)
		}
		if _, ok := h.MAC(addr(s)); ok {
			t.Errorf("%s has a MAC", s)
		}
	}
}

// TestNSLinksWithoutResolution: the loopback interface and one with ARP off.
func TestNSLinksWithoutResolution(t *testing.T) {
	l := newLAN(t)
	l.left(netlink.LinkSetARPOff)
	h := l.watch(options{})
	if mac, ok := h.MAC(addr("10.1.0.2")); !ok || mac != h.HardwareAddr() {
		t.Errorf("MAC %x, %v; want the link's own as the kernel has it", mac, ok)
	}
	if h.Resolve(addr("10.1.0.2")) {
		t.Error("there is something to resolve")
	}
	lo := watchIn(t, l.a, "lo", options{})
	if !lo.LinkUp() || lo.HardwareAddr() != [6]byte{} {
		t.Errorf("lo: up %v, MAC %x", lo.LinkUp(), lo.HardwareAddr())
	}
}

func TestNSPolicyRules(t *testing.T) {
	l := newLAN(t)
	h := l.watch(options{})
	for _, family := range []int{netlink.FAMILY_V4, netlink.FAMILY_V6} {
		if h.PolicyRules() {
			t.Fatal("rules are seen that are not there")
		}
		rule := netlink.NewRule()
		rule.Family, rule.Table, rule.Priority, rule.Mark = family, 100, 1000, 7
		in(t, l.a, func() error { return netlink.RuleAdd(rule) })
		eventually(t, "the rule is seen", h.PolicyRules)
		in(t, l.a, func() error { return netlink.RuleDel(rule) })
		eventually(t, "it is gone", func() bool { return !h.PolicyRules() })
	}
}
