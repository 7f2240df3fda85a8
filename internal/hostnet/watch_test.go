//go:build linux

package hostnet

import (
	"errors"
	"net"
	"net/netip"
	"os"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"

	"github.com/zctap/zctap/internal/netns"
)

func TestNSWatchShowsWhatIsThere(t *testing.T) {
	l := newLAN(t)
	h := l.watch(options{})
	var want netlink.Link
	l.left(func(link netlink.Link) error { want = link; return nil })
	a := want.Attrs()
	if h.Name() != "left" || h.Index() != a.Index || h.MTU() != 1500 || !h.LinkUp() || h.Deleted() || h.PolicyRules() {
		t.Errorf("name %q index %d MTU %d up %v deleted %v rules %v", h.Name(), h.Index(), h.MTU(), h.LinkUp(), h.Deleted(), h.PolicyRules())
	}
	if mac := h.HardwareAddr(); net.HardwareAddr(mac[:]).String() != a.HardwareAddr.String() {
		t.Errorf("hardware address %v, want %v", mac, a.HardwareAddr)
	}
	if got, want := h.Addrs(), prefixes("10.1.0.1/24", "fd00:1::1/64"); !slices.Equal(got, want) {
		t.Errorf("addresses %v, want %v", got, want)
	}
	var byIndex *Host
	in(t, l.a, func() (err error) { byIndex, err = WatchIndex(a.Index); return err })
	defer byIndex.Close()
	if byIndex.Name() != "left" {
		t.Errorf("interface %d is %q", a.Index, byIndex.Name())
	}
}

func TestNSWatchErrors(t *testing.T) {
	l := newLAN(t)
	in(t, l.a, func() error {
		for _, name := range []string{"", "right", strings.Repeat("x", 15), strings.Repeat("x", 99)} {
			if h, err := Watch(name); !errors.Is(err, unix.ENODEV) || h != nil || !strings.Contains(err.Error(), name) {
				t.Errorf("Watch(%q) = %v, %v; want ENODEV", name, h, err)
			}
		}
		for _, index := range []int{-1, 0, 1 << 20} {
			if h, err := WatchIndex(index); !errors.Is(err, unix.ENODEV) || h != nil {
				t.Errorf("WatchIndex(%d) = %v, %v; want ENODEV", index, h, err)
			}
		}
		return nil
	})
}

func TestNSAddresses(t *testing.T) {
	l := newLAN(t)
	h := l.watch(options{})
	r := record(t, h)
	for _, s := range []string{"10.1.0.9/24", "192.0.2.1/32", "fd00:1::9/64", "2001:db8::1/128"} {
		p := prefix(s)
		v := h.Version()
		in(t, l.a, func() error { return netns.ConfigureLink("left", []netip.Prefix{p}, 0) })
		eventually(t, s+" is there", func() bool { return r.has(Event{Kind: AddressAdded, Prefix: p}) })
		eventually(t, s+" is local", func() bool { return h.IsLocal(p.Addr()) })
		if !slices.Contains(h.Addrs(), p) || h.Version() == v {
			t.Errorf("%s was added: addresses %v, version %d before and %d after", p, h.Addrs(), v, h.Version())
		}
		if _, ok := h.NextHop(p.Addr()); ok {
			t.Errorf("%s is local and has a next hop", p)
		}
		l.left(func(link netlink.Link) error { return netlink.AddrDel(link, &netlink.Addr{IPNet: ipNet(p)}) })
		eventually(t, s+" is gone", func() bool { return r.has(Event{Kind: AddressRemoved, Prefix: p}) })
		eventually(t, s+" is not local", func() bool { return !h.IsLocal(p.Addr()) })
		if slices.Contains(h.Addrs(), p) {
			t.Errorf("%s was removed: addresses %v", p, h.Addrs())
		}
	}
}

func TestNSAddressTentativeAndDeprecated(t *testing.T) {
	l := newLAN(t)
	h := l.watch(options{})
	r := record(t, h)
	p := prefix("fd00:1::77/64")
	// The kernel checks for duplicates for so long (RetransTimer of RFC 4862 section 5.4).
	checks := func(milliseconds string) {
		if err := l.a.SetSysctl("net/ipv6/neigh/left/retrans_time_ms", milliseconds); err != nil {
			t.Fatal(err)
		}
	}
	checks("600000")
	l.left(func(link netlink.Link) error { return netlink.AddrAdd(link, &netlink.Addr{IPNet: ipNet(p)}) })
	l.left(func(link netlink.Link) error { // has it look: the kernel does not say
		return netlink.AddrAdd(link, &netlink.Addr{IPNet: ipNet(prefix("10.1.0.77/24"))})
	})
	eventually(t, "the second address is there", func() bool { return slices.Contains(h.Addrs(), prefix("10.1.0.77/24")) })
	if slices.Contains(h.Addrs(), p) || h.IsLocal(p.Addr()) {
		t.Error("a tentative address is used")
	}
	l.left(func(link netlink.Link) error { return netlink.AddrDel(link, &netlink.Addr{IPNet: ipNet(p)}) })
	checks("1000")
	l.left(func(link netlink.Link) error { return netlink.AddrAdd(link, &netlink.Addr{IPNet: ipNet(p)}) })
	eventually(t, "the address is checked", func() bool { return slices.Contains(h.Addrs(), p) && h.IsLocal(p.Addr()) })
	eventually(t, "that is told", func() bool { return r.has(Event{Kind: AddressAdded, Prefix: p}) })
	if src, ok := h.Source(addr("fd00:1::76")); !ok || src != p.Addr() {
		t.Errorf("source %v, want the address with the longest common prefix", src)
	}
	l.left(func(link netlink.Link) error {
		return netlink.AddrReplace(link, &netlink.Addr{IPNet: ipNet(p), ValidLft: 1000, PreferedLft: 0, Flags: unix.IFA_F_NODAD})
	})
	eventually(t, "the address is deprecated", func() bool { return r.has(Event{Kind: AddressChanged, Prefix: p}) })
	if src, ok := h.Source(addr("fd00:1::76")); !ok || src != addr("fd00:1::1") {
		t.Errorf("source %v, want the one that is not deprecated", src)
	}
	if !slices.Contains(h.Addrs(), p) || !h.IsLocal(p.Addr()) {
		t.Error("a deprecated address is not used any more")
	}
}

func TestNSAddressDuplicate(t *testing.T) {
	l := newLAN(t)
	h := l.watch(options{})
	p := prefix("fd00:1::2/64") // the neighbor's
	l.left(func(link netlink.Link) error { return netlink.AddrAdd(link, &netlink.Addr{IPNet: ipNet(p)}) })
	eventually(t, "the kernel finds the duplicate", func() bool {
		failed := false
		l.left(func(link netlink.Link) error {
			list, err := netlink.AddrList(link, netlink.FAMILY_V6)
			for _, a := range list {
				failed = failed || a.IP.Equal(p.Addr().AsSlice()) && a.Flags&unix.IFA_F_DADFAILED != 0
			}
			return err
		})
		return failed
	})
	h2 := l.watch(options{}) // sees it for sure
	for _, h := range []*Host{h, h2} {
		if slices.Contains(h.Addrs(), p) || h.IsLocal(p.Addr()) {
			t.Error("a duplicate address is used")
		}
	}
}

func TestNSLink(t *testing.T) {
	l := newLAN(t)
	h := l.watch(options{})
	r := record(t, h)
	var wanted net.HardwareAddr = []byte{2, 0, 0, 0, 0, 7}
	steps := []struct {
		what string
		do   func(netlink.Link) error
		kind Kind
		ok   func() bool
	}{
		{"the MTU changes", func(k netlink.Link) error { return netlink.LinkSetMTU(k, 1400) }, MTUChanged,
			func() bool { return h.MTU() == 1400 }},
		{"the hardware address changes", func(k netlink.Link) error { return netlink.LinkSetHardwareAddr(k, wanted) }, HardwareAddrChanged,
			func() bool { return h.HardwareAddr() == [6]byte(wanted) }},
		{"the link goes down", netlink.LinkSetDown, LinkDown, func() bool { return !h.LinkUp() }},
		{"the routes are gone", nil, 0, func() bool { _, ok := h.NextHop(addr("10.1.0.2")); return !ok }},
		{"the link comes up", netlink.LinkSetUp, LinkUp, h.LinkUp},
		{"the routes are back", nil, 0, func() bool { _, ok := h.NextHop(addr("10.1.0.2")); return ok }},
	}
	for _, s := range steps {
		v := h.Version()
		if s.do != nil {
			l.left(s.do)
			eventually(t, s.what, func() bool { return r.kind(s.kind) })
		}
		eventually(t, s.what, s.ok)
		if s.do != nil && h.Version() == v {
			t.Errorf("%s: the version did not", s.what)
		}
	}
	// The other end has no say but in the carrier.
	r.take()
	in(t, l.b, func() error {
		k, err := netlink.LinkByName("right")
		if err != nil {
			return err
		}
		return netlink.LinkSetDown(k)
	})
	eventually(t, "the carrier is lost", func() bool { return r.kind(LinkDown) && !h.LinkUp() })
}

// TestNSLinkDownTakesRoutes: of an interface with IPv4 only, whose routes the
// kernel removes without a notification.
func TestNSLinkDownTakesRoutes(t *testing.T) {
	l := newLAN(t)
	if err := l.a.SetSysctl("net/ipv6/conf/left/disable_ipv6", "1"); err != nil {
		t.Fatal(err)
	}
	if err := l.a.AddRoute(prefix("0.0.0.0/0"), addr("10.1.0.2"), "left"); err != nil {
		t.Fatal(err)
	}
	h := l.watch(options{})
	if _, ok := h.NextHop(addr("192.0.2.1")); !ok {
		t.Fatal("no default route")
	}
	l.left(netlink.LinkSetDown)
	eventually(t, "the routes are gone", func() bool {
		_, near := h.NextHop(addr("10.1.0.2"))
		_, far := h.NextHop(addr("192.0.2.1"))
		return !near && !far
	})
	l.left(netlink.LinkSetUp)
	eventually(t, "the connected route is back", func() bool { _, ok := h.NextHop(addr("10.1.0.2")); return ok })
	if _, ok := h.NextHop(addr("192.0.2.1")); ok {
		t.Error("the default route is back, which nobody added")
	}
}

func TestNSRenameAndDelete(t *testing.T) {
	for _, gone := range []string{"deleted", "moved"} {
		t.Run(gone, func(t *testing.T) {
			l := newLAN(t)
			h := l.watch(options{})
			r := record(t, h)
			index := h.Index()
			l.left(func(k netlink.Link) error { return netlink.LinkSetName(k, "renamed") })
			eventually(t, "the new name", func() bool { return h.Name() == "renamed" && r.kind(Renamed) })
			if h.Index() != index || !h.LinkUp() || !h.IsLocal(addr("10.1.0.1")) {
				t.Error("something else changed with the name")
			}
			learn(t, l.b, "10.1.0.1")
			eventually(t, "a neighbor", func() bool { _, ok := h.MAC(addr("10.1.0.2")); return ok })
			r.take()
			in(t, l.a, func() error {
				k, err := netlink.LinkByName("renamed")
				if err != nil {
					return err
				}
				if gone == "deleted" {
					return netlink.LinkDel(k)
				}
				other := newNS(t)
				f, err := fileOf(other)
				if err != nil {
					return err
				}
				defer f.Close()
				return netlink.LinkSetNsFd(k, int(f.Fd()))
			})
			eventually(t, "the deletion", func() bool { return h.Deleted() && r.kind(Deleted) })
			events := r.take()
			if last := events[len(events)-1]; last.Kind != Deleted {
				t.Errorf("%v came after the deletion", last)
			}
			for _, k := range []Kind{LinkDown, AddressRemoved, RoutesChanged, NeighborRemoved} {
				if !slices.ContainsFunc(events, func(e Event) bool { return e.Kind == k }) {
					t.Errorf("no event %q: %v", k, events)
				}
			}
			_, hop := h.NextHop(addr("10.1.0.2"))
			_, mac := h.MAC(addr("10.1.0.2"))
			_, src := h.Source(addr("10.1.0.2"))
			if hop || mac || src || h.LinkUp() || len(h.Addrs()) > 0 || h.IsLocal(addr("10.1.0.1")) || h.MTU() != 0 {
				t.Error("a deleted interface still has something")
			}
			if h.Resolve(addr("10.1.0.2")) {
				t.Error("a deleted interface resolves")
			}
			if h.Name() != "renamed" || h.Index() != index {
				t.Errorf("name %q index %d", h.Name(), h.Index())
			}
		})
	}
}

// fileOf opens a namespace.
func fileOf(n *netns.NS) (f *os.File, err error) {
	err = n.Do(func() error { f, err = os.Open("/proc/thread-self/ns/net"); return err })
	return f, err
}

// learn has the kernel of a namespace send something to an address, to which it
// has to find the neighbor; that one learns the sender's address at the same time.
func learn(t testing.TB, from *netns.NS, to string) {
	t.Helper()
	in(t, from, func() error {
		c, err := net.Dial("udp", net.JoinHostPort(to, "9"))
		if err != nil {
			return err
		}
		defer c.Close()
		_, err = c.Write([]byte("x"))
		return err
	})
}

func ipNet(p netip.Prefix) *net.IPNet {
	return &net.IPNet{IP: p.Addr().AsSlice(), Mask: net.CIDRMask(p.Bits(), p.Addr().BitLen())}
}

// TestNSCloseLeavesNothing relies on the census of TestMain for descriptors and
// goroutines.
func TestNSCloseLeavesNothing(t *testing.T) {
	l := newLAN(t)
	for range 20 {
		h := l.watch(options{})
		h.Resolve(addr("10.1.0.200"))
		for range 2 {
			if err := h.Close(); err != nil {
				t.Error(err)
			}
		}
		if h.Name() != "left" || len(h.Addrs()) != 2 {
			t.Error("the answers changed with Close")
		}
	}
}

func TestNSOnChangeStops(t *testing.T) {
	l := newLAN(t)
	h := l.watch(options{})
	var stopped, counted int
	stop := h.OnChange(func(Event) { stopped++ })
	r := record(t, h)
	stop()
	stop()
	defer h.OnChange(func(Event) { counted++ })()
	l.left(func(k netlink.Link) error { return netlink.LinkSetMTU(k, 1300) })
	eventually(t, "an event", func() bool { return r.kind(MTUChanged) })
	h.Close()
	if stopped != 0 || counted == 0 {
		t.Errorf("%d events after stop, %d told to the other", stopped, counted)
	}
}

// TestNSAuditFindsWhatIsNotNotified takes a permanent entry away in a way that
// the kernel tells nobody about: it is used, which begins anew.
func TestNSAuditFindsWhatIsNotNotified(t *testing.T) {
	l := newLAN(t)
	quiet, audited := l.watch(options{}), l.watch(options{audit: 20 * time.Millisecond})
	nobody := addr("10.1.0.200")
	l.setNeighbor("10.1.0.200", [6]byte{2, 0, 0, 0, 0, 1}, Permanent)
	for _, h := range []*Host{quiet, audited} {
		eventually(t, "the entry", func() bool { _, ok := h.MAC(nobody); return ok })
	}
	in(t, l.a, func() error {
		c, err := dial()
		if err != nil {
			return err
		}
		defer c.close()
		return c.do(unix.RTM_NEWNEIGH, 0, neighborBody(quiet.Index(), nobody, 0, unix.NTF_USE), nil)
	})
	eventually(t, "the audit sees it", func() bool { n, _ := audited.Neighbor(nobody); return n.State == Incomplete })
	if n, _ := quiet.Neighbor(nobody); n.State != Permanent {
		t.Errorf("%v without an audit: the kernel tells, and the test tests nothing", n)
	}
}

func TestNSAuditOfNothingNew(t *testing.T) {
	l := newLAN(t)
	h := l.watch(options{audit: 20 * time.Millisecond})
	before := h.Stats().Dumps
	eventually(t, "dumps go on", func() bool { return h.Stats().Dumps >= before+9 })
	v, r := h.Version(), record(t, h)
	eventually(t, "dumps go on", func() bool { return h.Stats().Dumps >= before+18 })
	if events := r.take(); h.Version() != v || len(events) > 0 {
		t.Errorf("nothing changed, and the version did, or events came: %v", events)
	}
}

// TestNSIdle: no news, no work.
func TestNSIdle(t *testing.T) {
	l := newLAN(t)
	h := l.watch(options{})
	// What making the pair has left behind comes first.
	eventually(t, "a tenth of a second without work", func() bool {
		before := h.Stats()
		time.Sleep(100 * time.Millisecond)
		return h.Stats() == before
	})
}

// TestNSWithoutCapabilities: anybody may follow; asking the kernel is refused,
// and that is told.
func TestNSWithoutCapabilities(t *testing.T) {
	l := newLAN(t)
	var h *Host
	in(t, l.a, func() error {
		return withoutCapabilities(func() (err error) {
			if h, err = watch("left", 0, options{audit: 10 * time.Minute}); err != nil {
				return err
			}
			a, err := newAsker(h.Index())
			if err != nil {
				return err
			}
			defer a.close()
			if asked, err := a.put(h.Index(), question{hop: addr("10.1.0.2")}); asked || !errors.Is(err, os.ErrPermission) {
				t.Errorf("asked %v, %v; want a refusal", asked, err)
			}
			return nil
		})
	})
	defer h.Close()
	if len(h.Addrs()) != 2 {
		t.Errorf("addresses %v", h.Addrs())
	}
	l.left(func(k netlink.Link) error { return netlink.LinkSetMTU(k, 1400) })
	eventually(t, "a change is seen", func() bool { return h.MTU() == 1400 })
}

// withoutCapabilities runs f on this thread with no capability in effect. The
// caller is locked to the thread.
func withoutCapabilities(f func() error) error {
	head := unix.CapUserHeader{Version: unix.LINUX_CAPABILITY_VERSION_3}
	var all [2]unix.CapUserData
	if err := unix.Capget(&head, &all[0]); err != nil {
		return err
	}
	none := all
	none[0].Effective, none[1].Effective = 0, 0
	if err := unix.Capset(&head, &none[0]); err != nil {
		return err
	}
	err := f()
	return errors.Join(err, unix.Capset(&head, &all[0]))
}
