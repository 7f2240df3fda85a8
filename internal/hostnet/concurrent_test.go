//go:build linux

package hostnet

import (
	"fmt"
	"net/netip"
	"slices"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"
)

// TestNSReadersAgainstChanges has readers look everything up while it changes,
// and one that keeps answers by Version, which must be right in the end.
func TestNSReadersAgainstChanges(t *testing.T) {
	l := newLAN(t)
	h := l.watch(options{})
	dsts := []netip.Addr{addr("10.1.0.2"), addr("192.0.2.7"), addr("fd00:1::2"), addr("10.1.0.1"), addr("224.0.0.1"), addr("10.1.0.200")}
	macs := [2][6]byte{{2, 0, 0, 0, 0, 1}, {2, 0, 0, 0, 0, 2}}
	var stop atomic.Bool
	var wg sync.WaitGroup
	for i := range 4 {
		wg.Go(func() {
			for j := i; !stop.Load(); j++ {
				dst := dsts[j%len(dsts)]
				if mac, ok := h.MAC(addr("10.1.0.200")); ok && mac != macs[0] && mac != macs[1] {
					t.Errorf("a MAC that never was: %x", mac)
				}
				h.NextHop(dst)
				h.Source(dst)
				h.IsLocal(dst)
				h.Resolve(addr("10.1.0.2"))
				h.Confirm(dst)
				h.Addrs()
				h.Neighbor(dst)
				h.Stats()
				_, _, _, _ = h.LinkUp(), h.MTU(), h.HardwareAddr(), h.Name()
			}
		})
	}
	type answer struct {
		mac [6]byte
		ok  bool
	}
	kept, version := make(map[netip.Addr]answer), uint64(0)
	keep := func(dst netip.Addr) answer {
		if v := h.Version(); v != version {
			clear(kept)
			version = v
		}
		a, ok := kept[dst]
		if !ok {
			a.mac, a.ok = h.MAC(dst)
			kept[dst] = a
		}
		return a
	}
	rounds := 200
	for i := range rounds {
		mac := macs[i%2]
		l.left(func(k netlink.Link) error {
			r := &netlink.Route{LinkIndex: k.Attrs().Index, Dst: ipNet(prefix("192.0.2.0/24")), Gw: []byte{10, 1, 0, 200}}
			a := &netlink.Addr{IPNet: ipNet(prefix("10.1.0.50/24"))}
			n := &netlink.Neigh{LinkIndex: k.Attrs().Index, IP: []byte{10, 1, 0, 200}, HardwareAddr: mac[:], State: unix.NUD_PERMANENT}
			for _, err := range []error{
				netlink.NeighSet(n), netlink.RouteAdd(r), netlink.AddrAdd(k, a), netlink.LinkSetMTU(k, 1400+i),
				netlink.RouteDel(r), netlink.AddrDel(k, a), netlink.RouteAdd(r),
			} {
				if err != nil {
					return err
				}
			}
			return nil
		})
		if i%20 == 0 {
			eventually(t, fmt.Sprint("round ", i), func() bool { return keep(addr("192.0.2.7")) == answer{mac, true} })
		}
		keep(addr("192.0.2.7"))
		l.left(func(k netlink.Link) error {
			return netlink.RouteDel(&netlink.Route{LinkIndex: k.Attrs().Index, Dst: ipNet(prefix("192.0.2.0/24")), Gw: []byte{10, 1, 0, 200}})
		})
		if i%20 == 0 {
			eventually(t, fmt.Sprint("end of round ", i), func() bool { return keep(addr("192.0.2.7")) == answer{} })
		}
	}
	eventually(t, "the last MTU", func() bool { return h.MTU() == 1400+rounds-1 })
	stop.Store(true)
	wg.Wait()
}

func TestNSLookupsDoNotAllocate(t *testing.T) {
	l := newLAN(t)
	if err := l.a.AddRoute(prefix("0.0.0.0/0"), addr("10.1.0.2"), "left"); err != nil {
		t.Fatal(err)
	}
	h := l.watch(options{})
	h.Resolve(addr("10.1.0.2"))
	eventually(t, "a neighbor", func() bool { _, ok := h.MAC(addr("192.0.2.1")); return ok })
	dsts := []netip.Addr{
		addr("10.1.0.2"), addr("192.0.2.1"), addr("::ffff:192.0.2.1"), addr("fd00:1::2"), addr("fe80::1%left"),
		addr("10.1.0.1"), addr("224.0.0.1"), addr("10.1.0.99"), {},
	}
	for name, f := range map[string]func(netip.Addr){
		"IsLocal":  func(a netip.Addr) { h.IsLocal(a) },
		"NextHop":  func(a netip.Addr) { h.NextHop(a) },
		"MAC":      func(a netip.Addr) { h.MAC(a) },
		"Neighbor": func(a netip.Addr) { h.Neighbor(a) },
		"Source":   func(a netip.Addr) { h.Source(a) },
		"Resolve":  func(a netip.Addr) { h.Resolve(a) },
		"Confirm":  func(a netip.Addr) { h.Confirm(a) },
		"the rest": func(netip.Addr) { h.Version(); h.LinkUp(); h.MTU(); h.HardwareAddr(); h.Name() },
	} {
		for _, dst := range dsts {
			f(dst) // what it asks the kernel for now it does not ask for again
			if n := testing.AllocsPerRun(100, func() { f(dst) }); n != 0 {
				t.Errorf("%s(%v) allocates %v times", name, dst, n)
			}
		}
	}
}

// TestNSHostUnchanged: following, looking up, and closing leave the host as it
// was, but for the neighbor that was asked for.
func TestNSHostUnchanged(t *testing.T) {
	l := newLAN(t)
	l.addOther()
	before := l.census()
	h := l.watch(options{})
	for _, s := range []string{"10.1.0.2", "10.9.0.2", "192.0.2.1", "fd00:1::9"} {
		h.MAC(addr(s))
		h.Source(addr(s))
		h.Neighbor(addr(s))
		h.Confirm(addr(s))
	}
	if after := l.census(); !slices.Equal(before, after) {
		t.Errorf("lookups changed %q", difference(before, after))
	}
	h.Resolve(addr("10.1.0.2"))
	eventually(t, "the neighbor", func() bool { _, ok := h.MAC(addr("10.1.0.2")); return ok })
	h.Close()
	want := []string{fmt.Sprintf("+ neighbor 10.1.0.2 on %d", h.Index())}
	if got := difference(before, l.census()); !slices.Equal(got, want) {
		t.Errorf("changed %q, want %q", got, want)
	}
}

// difference lists the lines that are only in one of two lists.
func difference(before, after []string) (lines []string) {
	for _, line := range before {
		if !slices.Contains(after, line) {
			lines = append(lines, "- "+line)
		}
	}
	for _, line := range after {
		if !slices.Contains(before, line) {
			lines = append(lines, "+ "+line)
		}
	}
	return lines
}

// census lists what the first host has, on all interfaces.
func (l *lan) census() (lines []string) {
	l.t.Helper()
	l.left(func(netlink.Link) error {
		links, err := netlink.LinkList()
		if err != nil {
			return err
		}
		for _, k := range links {
			a := k.Attrs()
			lines = append(lines, fmt.Sprintf("link %d %s %v mtu %d %v promiscuous %d", a.Index, a.Name, a.HardwareAddr, a.MTU, a.Flags, a.Promisc))
			addrs, err := netlink.AddrList(k, netlink.FAMILY_ALL)
			if err != nil {
				return err
			}
			for _, x := range addrs {
				lines = append(lines, fmt.Sprintf("address %v flags %#x scope %d on %d", x.IPNet, x.Flags, x.Scope, a.Index))
			}
			neighbors, err := netlink.NeighList(a.Index, netlink.FAMILY_ALL)
			if err != nil {
				return err
			}
			for _, n := range neighbors {
				if !n.IP.IsMulticast() {
					lines = append(lines, fmt.Sprintf("neighbor %v on %d", n.IP, n.LinkIndex))
				}
			}
		}
		routes, err := netlink.RouteListFiltered(netlink.FAMILY_ALL, &netlink.Route{Table: unix.RT_TABLE_UNSPEC}, netlink.RT_FILTER_TABLE)
		if err != nil {
			return err
		}
		for _, r := range routes {
			lines = append(lines, "route "+r.String())
		}
		rules, err := netlink.RuleList(netlink.FAMILY_ALL)
		for _, r := range rules {
			lines = append(lines, "rule "+r.String())
		}
		return err
	})
	slices.Sort(lines)
	return lines
}
