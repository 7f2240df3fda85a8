//go:build linux

package hostnet

import (
	"fmt"
	"math/rand/v2"
	"net/netip"
	"testing"
	"time"

	"github.com/vishvananda/netlink"

	"github.com/zctap/zctap/internal/netns"
)

// macOf is the hardware address of a link.
func macOf(t testing.TB, n *netns.NS, name string) (mac [6]byte) {
	t.Helper()
	in(t, n, func() error {
		k, err := netlink.LinkByName(name)
		if err == nil {
			mac = [6]byte(k.Attrs().HardwareAddr)
		}
		return err
	})
	return mac
}

// kernelNeighbor is the kernel's entry, State 0 if there is none.
func (l *lan) kernelNeighbor(a string) (n Neighbor) {
	l.t.Helper()
	l.left(func(k netlink.Link) error {
		list, err := netlink.NeighList(k.Attrs().Index, netlink.FAMILY_ALL)
		for _, x := range list {
			if got, _ := netip.AddrFromSlice(x.IP); got.Unmap() == addr(a) {
				n = Neighbor{Addr: addr(a), State: State(x.State)}
				copy(n.MAC[:], x.HardwareAddr)
			}
		}
		return err
	})
	return n
}

// setNeighbor sets an entry as the administrator does.
func (l *lan) setNeighbor(a string, mac [6]byte, state State) {
	l.t.Helper()
	l.left(func(k netlink.Link) error {
		return netlink.NeighSet(&netlink.Neigh{LinkIndex: k.Attrs().Index, IP: addr(a).AsSlice(), HardwareAddr: mac[:], State: int(state)})
	})
}

func TestNSNeighborLearnedByTraffic(t *testing.T) {
	cases := map[string]string{"10.1.0.1": "10.1.0.2", "fd00:1::1": "fd00:1::2"}
	for us, them := range cases {
		t.Run(us, func(t *testing.T) {
			l := newLAN(t)
			h := l.watch(options{})
			r := record(t, h)
			if _, ok := h.MAC(addr(them)); ok {
				t.Fatal("known before anything was sent")
			}
			v := h.Version()
			learn(t, l.b, us)
			eventually(t, "the peer's MAC is known", func() bool { _, ok := h.MAC(addr(them)); return ok })
			want := macOf(t, l.b, "right")
			if mac, _ := h.MAC(addr(them)); mac != want {
				t.Errorf("MAC %x, want %x", mac, want)
			}
			eventually(t, "an event", func() bool {
				return r.any(func(e Event) bool {
					return e.Kind == NeighborChanged && e.Neighbor.Addr == addr(them) && e.Neighbor.MAC == want && e.Neighbor.State.Usable()
				})
			})
			if h.Version() == v {
				t.Error("the version did not change")
			}
			if n, ok := h.Neighbor(addr(them)); !ok || n.MAC != want || !n.State.Usable() {
				t.Errorf("neighbor %v, %v", n, ok)
			}
		})
	}
}

func TestNSResolve(t *testing.T) {
	for _, linkLocal := range []bool{false, true} {
		t.Run(fmt.Sprint("link-local ", linkLocal), func(t *testing.T) {
			l := newLAN(t)
			if linkLocal {
				add(t, l.a, "left", "fe80::1/64")
			}
			testResolve(t, l)
		})
	}
}

func testResolve(t *testing.T, l *lan) {
	h := l.watch(options{})
	want := macOf(t, l.b, "right")
	for _, s := range []string{"10.1.0.2", "fd00:1::2"} {
		eventually(t, s+" is resolved", func() bool {
			if !h.Resolve(addr(s)) { // as the engine does for each packet
				t.Fatalf("%s cannot be resolved", s)
			}
			mac, ok := h.MAC(addr(s))
			return ok && mac == want
		})
	}
	for _, s := range []string{"10.1.0.1", "192.0.2.7", "224.0.0.5", "255.255.255.255", "10.1.0.255", "127.0.0.1", "0.0.0.0", "ff02::1", "::1"} {
		if h.Resolve(addr(s)) {
			t.Errorf("%s is said to be resolved", s)
		}
	}
	if h.Resolve(netip.Addr{}) {
		t.Error("no address is said to be resolved")
	}
	if err := h.AskError(); err != nil {
		t.Error(err)
	}
}

func TestNSResolveGateway(t *testing.T) {
	l := newLAN(t)
	h := l.watch(options{})
	for _, r := range []struct{ dst, via string }{{"192.0.2.0/24", "10.1.0.2"}, {"2001:db8::/64", "fd00:1::2"}} {
		if err := l.a.AddRoute(prefix(r.dst), addr(r.via), "left"); err != nil {
			t.Fatal(err)
		}
		dst := prefix(r.dst).Addr().Next()
		eventually(t, "the route", func() bool { next, ok := h.NextHop(dst); return ok && next == addr(r.via) })
		want := macOf(t, l.b, "right")
		eventually(t, "the gateway's MAC", func() bool { h.Resolve(dst); mac, ok := h.MAC(dst); return ok && mac == want })
		if n, ok := h.Neighbor(dst); !ok || n.Addr != addr(r.via) {
			t.Errorf("neighbor %v", n)
		}
	}
}

func TestNSNeighborFailed(t *testing.T) {
	l := newLAN(t)
	if err := l.a.SetSysctl("net/ipv4/neigh/left/retrans_time_ms", "100"); err != nil {
		t.Fatal(err)
	}
	h := l.watch(options{})
	r := record(t, h)
	const nobody = "10.1.0.200"
	failed := func(e Event) bool {
		return e.Kind == NeighborChanged && e.Neighbor.Addr == addr(nobody) && e.Neighbor.State == Failed
	}
	h.Resolve(addr(nobody))
	eventually(t, "the failure is told", func() bool { return r.any(failed) })
	if _, ok := h.MAC(addr(nobody)); ok {
		t.Error("a failed neighbor has a MAC")
	}
	if n, ok := h.Neighbor(addr(nobody)); !ok || n.State != Failed {
		t.Errorf("neighbor %v, %v", n, ok)
	}
	// Somebody comes.
	if err := l.b.ConfigureLink("right", prefixes(nobody+"/24"), 0); err != nil {
		t.Fatal(err)
	}
	eventually(t, "the neighbor is found at last", func() bool { h.Resolve(addr(nobody)); _, ok := h.MAC(addr(nobody)); return ok })
}

func TestNSNeighborRemovedAndReplaced(t *testing.T) {
	l := newLAN(t)
	h := l.watch(options{})
	r := record(t, h)
	first, second := [6]byte{2, 0, 0, 0, 0, 1}, [6]byte{2, 0, 0, 0, 0, 2}
	for _, s := range []string{"10.1.0.50", "fd00:1::50"} {
		a := addr(s)
		l.setNeighbor(s, first, Reachable)
		eventually(t, "the entry", func() bool { mac, ok := h.MAC(a); return ok && mac == first })
		v := h.Version()
		l.setNeighbor(s, second, Permanent)
		eventually(t, "the other MAC", func() bool { mac, ok := h.MAC(a); return ok && mac == second })
		eventually(t, "the version", func() bool { return h.Version() != v })
		v = h.Version()
		l.left(func(k netlink.Link) error {
			return netlink.NeighDel(&netlink.Neigh{LinkIndex: k.Attrs().Index, IP: a.AsSlice()})
		})
		eventually(t, "the entry is gone", func() bool { _, ok := h.MAC(a); return !ok })
		eventually(t, "that is told", func() bool {
			return r.any(func(e Event) bool { return e.Kind == NeighborRemoved && e.Neighbor.Addr == a })
		})
		if h.Version() == v {
			t.Error("the version did not change")
		}
	}
}

func TestNSConfirm(t *testing.T) {
	l := newLAN(t)
	h := l.watch(options{})
	r := record(t, h)
	mac := macOf(t, l.b, "right")
	for _, s := range []string{"10.1.0.2", "fd00:1::2"} {
		a := addr(s)
		// A change is seen before it raises the version, and is told after that.
		told := func(state State) func() bool {
			return func() bool { return r.has(Event{Kind: NeighborChanged, Neighbor: Neighbor{a, mac, state}}) }
		}
		l.setNeighbor(s, mac, Stale)
		eventually(t, "it is stale", told(Stale))
		v := h.Version()
		h.Confirm(a)
		eventually(t, "the kernel has it reachable", func() bool { return l.kernelNeighbor(s).State == Reachable })
		eventually(t, "so have we", told(Reachable))
		if h.Version() != v {
			t.Error("the version changed though no answer did")
		}
	}
	eventually(t, "both were asked", func() bool { return h.Stats().Asked == 2 })
	for range 1000 {
		h.Confirm(addr("10.1.0.2")) // reachable
		h.Confirm(addr("10.1.0.3")) // unknown
		h.Confirm(addr("10.1.0.1")) // ourselves
		h.Confirm(netip.Addr{})
	}
	time.Sleep(20 * time.Millisecond)
	if s := h.Stats(); s.Asked != 2 || s.AskFailed != 0 {
		t.Errorf("asked %d times more, %d failed, for nothing", s.Asked-2, s.AskFailed)
	}
	if n := l.kernelNeighbor("10.1.0.3"); n.Addr.IsValid() {
		t.Errorf("Confirm made an entry: %v", n)
	}
}

// TestNSStaleIsVerified: Resolve has the kernel ask a stale neighbor.
func TestNSStaleIsVerified(t *testing.T) {
	l := newLAN(t)
	if err := l.a.SetSysctl("net/ipv4/neigh/left/delay_first_probe_time", "1"); err != nil {
		t.Fatal(err)
	}
	h := l.watch(options{})
	l.setNeighbor("10.1.0.2", macOf(t, l.b, "right"), Stale)
	eventually(t, "it is stale", func() bool { n, ok := h.Neighbor(addr("10.1.0.2")); return ok && n.State == Stale })
	h.Resolve(addr("10.1.0.2"))
	eventually(t, "the kernel has verified it", func() bool { n, _ := h.Neighbor(addr("10.1.0.2")); return n.State == Reachable })
}

// TestNSPermanentStays: whatever we believe, what the administrator has made
// permanent stays as it is. The requests are made from an outdated belief.
func TestNSPermanentStays(t *testing.T) {
	l := newLAN(t)
	h := l.watch(options{})
	mac := [6]byte{2, 0, 0, 0, 0, 9}
	l.setNeighbor("10.1.0.2", mac, Permanent)
	before := l.kernelNeighbor("10.1.0.2")
	h.Resolve(addr("10.1.0.2"))
	h.Confirm(addr("10.1.0.2"))
	a, err := fresh(l)
	if err != nil {
		t.Fatal(err)
	}
	defer a.close()
	for _, q := range []question{
		{hop: addr("10.1.0.2")},
		{hop: addr("10.1.0.2"), confirm: true, mac: mac},
	} {
		if asked, err := a.put(h.Index(), q); asked || err != nil {
			t.Errorf("%+v: asked %v, %v", q, asked, err)
		}
	}
	if after := l.kernelNeighbor("10.1.0.2"); after != before || after.State != Permanent {
		t.Errorf("was %v, is %v", before, after)
	}
}

// TestNSConfirmOfAnotherMAC: what is confirmed is a MAC, not an address.
func TestNSConfirmOfAnotherMAC(t *testing.T) {
	l := newLAN(t)
	h := l.watch(options{})
	a, err := fresh(l)
	if err != nil {
		t.Fatal(err)
	}
	defer a.close()
	now := [6]byte{2, 0, 0, 0, 0, 1}
	l.setNeighbor("10.1.0.50", now, Stale)
	_, err = a.put(h.Index(), question{hop: addr("10.1.0.50"), confirm: true, mac: [6]byte{2, 0, 0, 0, 0, 2}})
	if n := l.kernelNeighbor("10.1.0.50"); err != nil || n.MAC != now || n.State != Stale {
		t.Errorf("%v, %v", n, err)
	}
}

// fresh makes an asker in the first host's namespace.
func fresh(l *lan) (a *asker, err error) {
	l.left(func(k netlink.Link) error { a, err = newAsker(k.Attrs().Index); return err })
	return a, err
}

func TestNSAskError(t *testing.T) {
	l := newLAN(t)
	h := l.watch(options{})
	l.left(netlink.LinkDel)
	eventually(t, "the link is gone", h.Deleted)
	h.asker.queue <- question{hop: addr("10.1.0.2")} // as if a moment earlier
	eventually(t, "the kernel's refusal", func() bool { return h.Stats().AskFailed == 1 && h.AskError() != nil })
}

// TestNSAskBudget: a flood of unknown destinations does not become one of
// neighbor entries.
func TestNSAskBudget(t *testing.T) {
	l := newLAN(t)
	in(t, l.a, func() error { return netns.ConfigureLink("left", prefixes("10.2.0.1/16"), 0) })
	h := l.watch(options{})
	begin := time.Now()
	for i := range 20_000 {
		h.Resolve(netip.AddrFrom4([4]byte{10, 2, byte(i >> 8), byte(i)}))
	}
	for range 20_000 {
		h.Resolve(addr("10.1.0.222"))
	}
	eventually(t, "the questions are through", func() bool { return len(h.asker.queue) == 0 })
	seconds := uint64(time.Since(begin)/time.Second) + 2
	s := h.Stats()
	if s.Asked == 0 || s.Asked > seconds*askBudget || s.AskDropped == 0 {
		t.Errorf("asked %d in less than %d s, dropped %d", s.Asked, seconds, s.AskDropped)
	}
}

func TestLimiter(t *testing.T) {
	l := limiter{seed: key{rand.Uint64(), rand.Uint64()}, each: time.Second, slot: 100 * time.Millisecond}
	a := addr("10.0.0.1")
	for _, base := range []time.Duration{0, 5 * time.Second, (1<<32 - 300) * time.Millisecond} {
		for _, s := range []struct {
			after time.Duration
			want  bool
		}{{0, true}, {0, false}, {999 * time.Millisecond, false}, {time.Second, true}, {1500 * time.Millisecond, false}, {2 * time.Second, true}} {
			if got := l.allow(a, base+s.after); got != s.want {
				t.Errorf("%v after %v: %v", s.after, base, got)
			}
		}
	}
	// All addresses together.
	allowed := 0
	for now := time.Duration(0); now < time.Second; now += 10 * time.Millisecond {
		for i := range 5000 {
			if l.allow(netip.AddrFrom4([4]byte{10, 1, byte(i >> 8), byte(i)}), 20*time.Second+now) {
				allowed++
			}
		}
	}
	if limit := 10 * len(l.slots); allowed > limit || allowed < limit/2 {
		t.Errorf("%d allowed in a second, want up to %d", allowed, limit)
	}
}

// TestNoticesComeOnTopOfADump: what is heard while the neighbors are dumped may
// be newer than the dump.
func TestNoticesComeOnTopOfADump(t *testing.T) {
	h := new(Host)
	h.neighbors.init()
	w := &watcher{h: h}
	entry := func(i byte, s State) Neighbor {
		return Neighbor{netip.AddrFrom4([4]byte{10, 0, 0, i}), [6]byte{2, 5: i}, s}
	}
	for i := range byte(3) {
		h.neighbors.set(entry(i, Stale))
	}
	a := func(i byte) netip.Addr { return entry(i, 0).Addr }
	w.found = map[netip.Addr]Neighbor{a(1): entry(1, Stale), a(2): entry(2, Reachable), a(3): entry(3, Stale), a(4): entry(4, Stale)}
	w.heard = map[netip.Addr]notice{a(3): {entry(3, Stale), true}, a(4): {entry(4, Failed), false}, a(5): {entry(5, Stale), false}}
	events, raised := w.publishNeighbors()
	got := make(map[string]bool)
	for _, e := range events {
		got[e.String()] = true
	}
	for _, want := range []string{
		"neighbor removed: 10.0.0.0 at 02:00:00:00:00:00 stale",
		"neighbor changed: 10.0.0.2 at 02:00:00:00:00:02 reachable",
		"neighbor changed: 10.0.0.4 at 02:00:00:00:00:04 failed",
		"neighbor changed: 10.0.0.5 at 02:00:00:00:00:05 stale",
	} {
		if !got[want] {
			t.Errorf("no event %q", want)
		}
	}
	if len(events) != 4 || !raised || h.neighbors.count != 4 || w.found != nil || len(w.heard) != 0 {
		t.Errorf("events %v, raised %v, %d entries", events, raised, h.neighbors.count)
	}
	w.heard = map[netip.Addr]notice{a(1): {entry(1, Delay), false}}
	if events, raised := w.publishNeighbors(); raised || len(events) != 1 {
		t.Errorf("events %v; a state as good as another raised %v", events, raised)
	}
}

func TestNeighborTable(t *testing.T) {
	var table neighborTable
	table.init()
	rng := rand.New(rand.NewPCG(3, 4))
	want := make(map[netip.Addr]Neighbor)
	for range 20_000 {
		a := netip.AddrFrom4([4]byte{10, 0, byte(rng.IntN(16)), byte(rng.IntN(256))})
		if rng.IntN(2) == 0 {
			b := a.As4()
			a = netip.AddrFrom16([16]byte{0: b[0], 1: b[1], 2: b[2], 3: b[3]}) // the same key
		}
		old, known := want[a]
		if rng.IntN(3) == 0 {
			if got, ok := table.remove(a); ok != known || got != old {
				t.Fatalf("remove(%s) = %v, %v; want %v", a, got, ok, old)
			}
			delete(want, a)
			continue
		}
		n := Neighbor{a, [6]byte{5: byte(rng.IntN(256))}, Reachable}
		if got, ok := table.set(n); !ok || got != old {
			t.Fatalf("set(%v) = %v, %v; want %v", n, got, ok, old)
		}
		want[a] = n
	}
	if all := table.all(); len(all) != len(want) || table.count != len(want) {
		t.Fatalf("%d entries, counted %d, want %d", len(all), table.count, len(want))
	}
	for a, n := range want {
		if got, ok := table.get(a); !ok || got != n {
			t.Errorf("get(%s) = %v, %v; want %v", a, got, ok, n)
		}
	}
	for i := range maxNeighbors + 10 {
		table.set(Neighbor{Addr: netip.AddrFrom4([4]byte{11, byte(i >> 16), byte(i >> 8), byte(i)})})
	}
	if table.count != maxNeighbors {
		t.Errorf("%d entries, want the limit %d", table.count, maxNeighbors)
	}
	for a := range want { // still replaced when full
		if _, ok := table.set(Neighbor{Addr: a, State: Failed}); !ok {
			t.Fatalf("%s cannot be replaced", a)
		}
	}
}

func TestStateString(t *testing.T) {
	for s, want := range map[State]string{0: "none", Stale: "stale", Permanent: "permanent", Reachable | NoARP: "reachable|noarp"} {
		if got := s.String(); got != want {
			t.Errorf("%#x is %q, want %q", uint16(s), got, want)
		}
	}
	n := Neighbor{addr("10.0.0.1"), [6]byte{2, 0, 0, 0, 0, 1}, Stale}
	if got, want := (Event{Kind: NeighborChanged, Neighbor: n}).String(), "neighbor changed: 10.0.0.1 at 02:00:00:00:00:01 stale"; got != want {
		t.Errorf("%q, want %q", got, want)
	}
}
