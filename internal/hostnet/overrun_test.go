//go:build linux

package hostnet

import (
	"errors"
	"net/netip"
	"slices"
	"testing"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"
)

// TestNSOverrunEndsConsistent changes 5,000 things while nobody reads the
// notifications, of which the socket holds only a few.
func TestNSOverrunEndsConsistent(t *testing.T) {
	l := newLAN(t)
	h := l.watch(options{receiveBuffer: 1})
	// Whoever is told holds up the one who reads.
	hold, held := make(chan struct{}), make(chan struct{})
	first := true
	stop := h.OnChange(func(Event) {
		if first {
			first = false
			close(held)
			<-hold
		}
	})
	defer stop()
	l.setNeighbor("10.1.0.50", [6]byte{2, 0, 0, 0, 0, 1}, Permanent)
	<-held
	l.left(func(k netlink.Link) error {
		index := k.Attrs().Index
		for i := range 1250 {
			low := netip.AddrFrom4([4]byte{10, 1, byte(4 + i>>8), byte(i)})
			n := &netlink.Neigh{
				LinkIndex: index, IP: low.AsSlice(), State: netlink.NUD_PERMANENT,
				HardwareAddr: []byte{2, 0, 0, 0, byte(i >> 8), byte(i)},
			}
			r := &netlink.Route{LinkIndex: index, Dst: ipNet(netip.PrefixFrom(low, 32)), Gw: []byte{10, 1, 0, 2}}
			a := &netlink.Addr{IPNet: ipNet(netip.PrefixFrom(low, 32))}
			do := []error{netlink.NeighSet(n), nil, nil, nil}
			switch i % 5 {
			case 0:
				do[1], do[2], do[3] = netlink.NeighDel(n), netlink.RouteAdd(r), netlink.RouteDel(r)
			case 1:
				do[1], do[2], do[3] = netlink.AddrAdd(k, a), netlink.AddrDel(k, a), netlink.RouteAdd(r)
			case 2:
				do[1], do[2], do[3] = netlink.AddrAdd(k, a), netlink.NeighDel(n), netlink.NeighSet(n)
			default:
				r2 := *r
				r2.Gw = []byte{10, 1, 0, 3}
				do[1], do[2], do[3] = netlink.RouteAdd(r), netlink.RouteReplace(&r2), netlink.NeighDel(n)
			}
			if err := errors.Join(do...); err != nil {
				return err
			}
		}
		return netlink.LinkSetMTU(k, 1300)
	})
	close(hold)
	eventually(t, "the last change", func() bool { return h.MTU() == 1300 })
	eventually(t, "consistency", func() bool { return l.consistent(h) })
	if h.Stats().Overruns == 0 {
		t.Error("no notification was lost: nothing was tested")
	}
	if n := len(h.Addrs()); n != 252 {
		t.Errorf("%d addresses, want the 250 that were left and the first two", n)
	}
}

// consistent compares everything with the kernel's tables.
func (l *lan) consistent(h *Host) (same bool) {
	l.t.Helper()
	l.left(func(k netlink.Link) error {
		want := make(map[netip.Addr]Neighbor)
		list, err := netlink.NeighList(k.Attrs().Index, netlink.FAMILY_ALL)
		if err != nil {
			return err
		}
		for _, n := range list {
			a, _ := netip.AddrFromSlice(n.IP)
			if a = a.Unmap(); !a.IsMulticast() {
				want[a] = Neighbor{Addr: a, State: State(n.State)}
			}
		}
		all := h.neighbors.all()
		if len(all) != len(want) {
			return nil
		}
		for _, n := range all {
			if n.MAC = [6]byte{}; want[n.Addr] != n {
				return nil
			}
		}
		var addrs []netip.Prefix
		for _, family := range []int{netlink.FAMILY_V4, netlink.FAMILY_V6} {
			list, err := netlink.AddrList(k, family)
			if err != nil {
				return err
			}
			for _, a := range list {
				ip, _ := netip.AddrFromSlice(a.IP)
				ones, _ := a.Mask.Size()
				addrs = append(addrs, netip.PrefixFrom(ip.Unmap(), ones))
			}
		}
		if !slices.Equal(h.Addrs(), addrs) {
			return nil
		}
		routes, err := netlink.RouteListFiltered(netlink.FAMILY_V4, &netlink.Route{Table: unix.RT_TABLE_MAIN}, netlink.RT_FILTER_TABLE)
		if err != nil {
			return err
		}
		main := h.state.Load().routes.main[0]
		if main == nil || len(main.nodes) != len(routes) {
			return nil
		}
		for _, r := range routes {
			dst, _ := netip.AddrFromSlice(r.Dst.IP)
			want := plain(dst)
			if r.Gw != nil {
				gw, _ := netip.AddrFromSlice(r.Gw)
				want = gw.Unmap()
			}
			hop, ok := main.lookup(keyOf(plain(dst)))
			if !ok || hop.via(plain(dst)) != want {
				return nil
			}
		}
		same = true
		return nil
	})
	return same
}

// TestNSManyRoutes: ten thousand of them are followed.
func TestNSManyRoutes(t *testing.T) {
	if testing.Short() {
		t.Skip("takes a few seconds")
	}
	l := newLAN(t)
	h := l.watch(options{})
	const n = 10_000
	route := func(i int) (netip.Addr, *netlink.Route) {
		a := netip.AddrFrom4([4]byte{20, byte(i >> 8), byte(i), 0})
		return a, &netlink.Route{Dst: ipNet(netip.PrefixFrom(a, 24)), Gw: []byte{10, 1, 0, byte(2 + i%50)}}
	}
	l.left(func(netlink.Link) error {
		for i := range n {
			if _, r := route(i); netlink.RouteAdd(r) != nil {
				return netlink.RouteAdd(r)
			}
		}
		return nil
	})
	eventually(t, "all routes", func() bool {
		for i := range n {
			a, r := route(i)
			if next, ok := h.NextHop(a.Next()); !ok || next != netip.AddrFrom4([4]byte(r.Gw)) {
				return false
			}
		}
		return true
	})
	eventually(t, "consistency", func() bool { return l.consistent(h) })
	// Dumps are paced: far fewer than notifications.
	if s := h.Stats(); s.Dumps > s.Notifications/10 {
		t.Errorf("%d dumps for %d notifications", s.Dumps, s.Notifications)
	}
}
