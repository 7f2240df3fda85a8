//go:build linux

package hostnet

import (
	"net/netip"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/vishvananda/netlink"

	"github.com/zctap/zctap/internal/netns"
	"github.com/zctap/zctap/internal/testenv"
)

func TestMain(m *testing.M) { testenv.Main(m) }

// patience bounds every wait in the tests.
const patience = 20 * time.Second

// eventually waits until cond holds.
func eventually(t *testing.T, what string, cond func() bool) {
	t.Helper()
	for deadline := time.Now().Add(patience); !cond(); time.Sleep(time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatalf("not within %v: %s", patience, what)
		}
	}
}

func addr(s string) netip.Addr     { return netip.MustParseAddr(s) }
func prefix(s string) netip.Prefix { return netip.MustParsePrefix(s) }

func prefixes(s ...string) []netip.Prefix {
	var list []netip.Prefix
	for _, p := range s {
		list = append(list, prefix(p))
	}
	return list
}

// newNS makes a namespace that lasts as long as the test.
func newNS(t testing.TB) *netns.NS {
	t.Helper()
	testenv.NeedRoot(t)
	n, err := netns.New()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { n.Close() })
	return n
}

// lan is two hosts on a wire.
type lan struct {
	t    testing.TB
	a, b *netns.NS // a has left, b has right
}

// newLAN connects 10.1.0.1/24 and fd00:1::1/64 with those that end in 2.
func newLAN(t testing.TB) *lan {
	t.Helper()
	l := &lan{t, newNS(t), newNS(t)}
	err := netns.Veth(l.a, l.b, netns.VethOptions{
		NameA: "left", AddrA: prefixes("10.1.0.1/24", "fd00:1::1/64"),
		NameB: "right", AddrB: prefixes("10.1.0.2/24", "fd00:1::2/64"),
	})
	if err != nil {
		t.Fatal(err)
	}
	settled(t, l.a, "10.1.0.1", "fd00:1::1")
	settled(t, l.b, "10.1.0.2", "fd00:1::2")
	return l
}

// settled waits until the kernel receives for addresses that were added: for
// those of IPv6 that takes a moment.
func settled(t testing.TB, n *netns.NS, addrs ...string) {
	t.Helper()
	var list []netip.Prefix
	for _, s := range addrs {
		a := addr(s)
		list = append(list, netip.PrefixFrom(a, a.BitLen()))
	}
	in(t, n, func() error { return netns.WaitAddresses(list, patience) })
}

// add gives an interface of a namespace addresses.
func add(t testing.TB, n *netns.NS, name string, addrs ...string) {
	t.Helper()
	in(t, n, func() error { return netns.ConfigureLink(name, prefixes(addrs...), 0) })
	for _, p := range prefixes(addrs...) {
		if !p.Addr().IsLinkLocalUnicast() { // which need a zone
			settled(t, n, p.Addr().String())
		}
	}
}

// in runs f in a namespace.
func in(t testing.TB, n *netns.NS, f func() error) {
	t.Helper()
	if err := n.Do(f); err != nil {
		t.Fatal(err)
	}
}

// left runs f in the first host, with its interface.
func (l *lan) left(f func(netlink.Link) error) {
	l.t.Helper()
	in(l.t, l.a, func() error {
		link, err := netlink.LinkByName("left")
		if err != nil {
			return err
		}
		return f(link)
	})
}

// watch follows the first host's interface. No audit helps.
func (l *lan) watch(o options) *Host { return watchIn(l.t, l.a, "left", o) }

func watchIn(t testing.TB, n *netns.NS, name string, o options) (h *Host) {
	t.Helper()
	if o.audit == 0 {
		o.audit = 10 * time.Minute
	}
	in(t, n, func() (err error) { h, err = watch(name, 0, o); return err })
	t.Cleanup(func() { h.Close() })
	return h
}

// recorder notes events.
type recorder struct {
	mu     sync.Mutex
	events []Event
}

func record(t testing.TB, h *Host) *recorder {
	r := new(recorder)
	t.Cleanup(h.OnChange(func(e Event) {
		r.mu.Lock()
		defer r.mu.Unlock()
		r.events = append(r.events, e)
	}))
	return r
}

// take returns the events so far and forgets them.
func (r *recorder) take() []Event {
	r.mu.Lock()
	defer r.mu.Unlock()
	list := r.events
	r.events = nil
	return list
}

// has reports whether there was an event.
func (r *recorder) has(want Event) bool {
	return r.any(func(e Event) bool { return e == want })
}

func (r *recorder) any(f func(Event) bool) bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	return slices.ContainsFunc(r.events, f)
}

func (r *recorder) kind(k Kind) bool { return r.any(func(e Event) bool { return e.Kind == k }) }
