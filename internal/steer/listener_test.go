//go:build linux

package steer

import (
	"errors"
	"maps"
	"math/rand/v2"
	"net/netip"
	"strings"
	"testing"

	"github.com/cilium/ebpf"
	"golang.org/x/sys/unix"
)

// A fakeTable is a hash of the kernel's, which fails when it is told to.
type fakeTable struct {
	entries map[listenerKey]bool
	room    int
	failIn  int // the call that fails, counted down; 0: none
	calls   int
}

var errFake = errors.New("the kernel fails")

func (f *fakeTable) call() error {
	f.calls++
	if f.failIn > 0 {
		if f.failIn--; f.failIn == 0 {
			return errFake
		}
	}
	return nil
}

func (f *fakeTable) Update(key, _ any, _ ebpf.MapUpdateFlags) error {
	if err := f.call(); err != nil {
		return err
	}
	f.entries[listenerKey(key.([]byte))] = true
	if len(f.entries) > f.room {
		return unix.E2BIG
	}
	return nil
}

func (f *fakeTable) Delete(key any) error {
	if err := f.call(); err != nil {
		return err
	}
	k := listenerKey(key.([]byte))
	if !f.entries[k] {
		return ebpf.ErrKeyNotExist
	}
	delete(f.entries, k)
	return nil
}

func newFakeSet(room int) (*listenerSet, *fakeTable) {
	f := &fakeTable{entries: make(map[listenerKey]bool), room: room}
	s := newListenerSet(room, f)
	return &s, f
}

// has tells whether exactly these local addresses and ports of TCP are steered.
func (f *fakeTable) has(locals ...string) bool {
	want := make(map[listenerKey]bool)
	for _, l := range locals {
		want[makeListenerKey(TCP, netip.MustParseAddrPort(l))] = true
	}
	return maps.Equal(f.entries, want)
}

func ap(s string) netip.AddrPort { return netip.MustParseAddrPort(s) }

// hosts parses addresses, each in a network of its own.
func hosts(s ...string) []netip.Prefix { return hostsOf(addrs(s...)) }

func hostsOf(addrs []netip.Addr) (p []netip.Prefix) {
	for _, a := range addrs {
		p = append(p, netip.PrefixFrom(a, a.BitLen()))
	}
	return p
}

// TestListenerBroadcast: UDP at all addresses is also what is sent to all hosts, and TCP
// is not; and it follows the networks.
func TestListenerBroadcast(t *testing.T) {
	s, f := newFakeSet(100)
	step := func(what string, err error, own, all string) {
		t.Helper()
		want := make(map[listenerKey]bool)
		for a := range strings.FieldsSeq(own) {
			want[makeListenerKey(UDP, ap(a))] = true
		}
		for a := range strings.FieldsSeq(all) {
			want[makeBroadcastKey(ap(a))] = true
		}
		if err != nil || !maps.Equal(f.entries, want) {
			t.Fatalf("%s: %v, steered: %v, want %v", what, err, f.entries, want)
		}
	}
	in := func(p ...string) (l []netip.Prefix) {
		for _, p := range p {
			l = append(l, netip.MustParsePrefix(p))
		}
		return l
	}
	step("any", s.add(UDP, ap("0.0.0.0:53")), "", "255.255.255.255:53")
	step("a network", s.setPrefixes(in("10.0.0.1/24", "fd00::1/64")), "10.0.0.1:53", "255.255.255.255:53 10.0.0.255:53")
	step("an address", s.add(UDP, ap("10.0.0.1:54")), "10.0.0.1:53 10.0.0.1:54", "255.255.255.255:53 10.0.0.255:53")
	step("without any", s.remove(UDP, ap("0.0.0.0:53")), "10.0.0.1:54", "")
	step("at the network's", s.add(UDP, ap("10.0.0.255:55")), "10.0.0.1:54", "10.0.0.255:55")
	step("at the wire's", s.add(UDP, ap("255.255.255.255:55")), "10.0.0.1:54", "10.0.0.255:55 255.255.255.255:55")
	step("another network", s.setPrefixes(in("10.0.0.1/16")), "10.0.0.1:54 10.0.0.255:55", "255.255.255.255:55")
	step("without", s.remove(UDP, ap("10.0.0.255:55")), "10.0.0.1:54", "255.255.255.255:55")
	step("IPv6", s.add(UDP, ap("[::]:56")), "10.0.0.1:54", "255.255.255.255:55")
	must(t, s.add(TCP, ap("0.0.0.0:80")))
	for k := range f.entries {
		if k[18] == byte(TCP) && k != makeListenerKey(TCP, ap("10.0.0.1:80")) {
			t.Errorf("TCP: %v", k)
		}
	}
}

func TestListenerAny(t *testing.T) {
	s, f := newFakeSet(100)
	step := func(what string, err error, want ...string) {
		t.Helper()
		if err != nil || !f.has(want...) {
			t.Fatalf("%s: %v, steered: %v, want %v", what, err, f.entries, want)
		}
	}
	step("any, no address", s.add(TCP, ap("0.0.0.0:80")))
	step("addresses", s.setPrefixes(hosts("10.0.0.1", "10.0.0.2", "fd00::1")), "10.0.0.1:80", "10.0.0.2:80")
	step("any of IPv6", s.add(TCP, ap("[::]:80")), "10.0.0.1:80", "10.0.0.2:80", "[fd00::1]:80")
	step("one address more", s.add(TCP, ap("10.0.0.1:81")), "10.0.0.1:80", "10.0.0.2:80", "[fd00::1]:80", "10.0.0.1:81")
	step("one that any has, too", s.add(TCP, ap("10.0.0.1:80")), "10.0.0.1:80", "10.0.0.2:80", "[fd00::1]:80", "10.0.0.1:81")
	before := f.calls
	step("the same addresses", s.setPrefixes(hosts("fd00::1", "10.0.0.2", "10.0.0.1")), "10.0.0.1:80", "10.0.0.2:80", "[fd00::1]:80", "10.0.0.1:81")
	if f.calls != before {
		t.Errorf("entries that stay were touched %d times", f.calls-before)
	}
	step("other addresses", s.setPrefixes(hosts("10.0.0.3")), "10.0.0.3:80", "10.0.0.1:80", "10.0.0.1:81")
	step("forms of one address", s.setPrefixes(hosts("::ffff:10.0.0.1", "10.0.0.1", "fe80::1%eth0", "fe80::1%eth1")),
		"10.0.0.1:80", "10.0.0.1:81", "[fe80::1]:80")
	step("what is none", s.setPrefixes(hosts("0.0.0.0", "::", "224.0.0.1", "ff02::1")), "10.0.0.1:80", "10.0.0.1:81")
	step("addresses again", s.setPrefixes(hosts("10.0.0.1", "fd00::1")), "10.0.0.1:80", "10.0.0.1:81", "[fd00::1]:80")
	step("without any", s.remove(TCP, ap("0.0.0.0:80")), "10.0.0.1:80", "10.0.0.1:81", "[fd00::1]:80")
	step("without one", s.remove(TCP, ap("[::ffff:10.0.0.1]:80")), "10.0.0.1:81", "[fd00::1]:80")
	step("without any of IPv6", s.remove(TCP, ap("[::]:80")), "10.0.0.1:81")
	step("without the last", s.remove(TCP, ap("10.0.0.1:81")))
}

func TestListenerErrors(t *testing.T) {
	s, f := newFakeSet(2)
	for _, c := range []struct {
		what string
		err  error
		want unix.Errno
		says string
	}{
		{"no address", s.add(TCP, netip.AddrPort{}), unix.EINVAL, "not set"},
		{"no port", s.add(TCP, ap("10.0.0.1:0")), unix.EINVAL, "no port"},
		{"group", s.add(UDP, ap("224.0.0.251:5353")), unix.EINVAL, "group"},
		{"protocol", s.add(Proto(1), ap("10.0.0.1:80")), unix.EPROTONOSUPPORT, "protocol 1"},
		{"not there", s.remove(TCP, ap("10.0.0.1:80")), unix.ENOENT, "not there"},
		{"invalid", s.setPrefixes([]netip.Prefix{{}}), unix.EINVAL, "not set"},
	} {
		if !errors.Is(c.err, c.want) || !strings.Contains(c.err.Error(), c.says) {
			t.Errorf("%s: %v, want %v that says %q", c.what, c.err, c.want, c.says)
		}
	}
	if f.calls != 0 {
		t.Errorf("%d calls", f.calls)
	}
	must(t, s.add(TCP, ap("10.0.0.1:80")))
	if err := s.add(TCP, ap("[::ffff:10.0.0.1]:80")); !errors.Is(err, unix.EEXIST) {
		t.Errorf("twice: %v", err)
	}
	must(t, s.add(TCP, ap("[fe80::1%eth0]:81")))
	if err := s.add(TCP, ap("[fe80::1%eth1]:81")); !errors.Is(err, unix.EEXIST) {
		t.Errorf("twice, but for the zone: %v", err)
	}
	must(t, s.remove(TCP, ap("[fe80::1]:81")), s.add(TCP, ap("10.0.0.1:81")))
	err := s.add(TCP, ap("10.0.0.1:82"))
	if !errors.Is(err, unix.ENOSPC) || !strings.Contains(err.Error(), "Options.Listeners = 2") {
		t.Errorf("too many: %v", err)
	}
	must(t, s.remove(TCP, ap("10.0.0.1:81")), s.add(TCP, ap("0.0.0.0:82")))
	if err := s.setPrefixes(hosts("10.0.0.1", "10.0.0.2")); !errors.Is(err, unix.ENOSPC) {
		t.Errorf("too many addresses: %v", err)
	}
	if !f.has("10.0.0.1:80") {
		t.Errorf("after ENOSPC: %v", f.entries)
	}
	// Full, and all of it exchanged: out comes before in.
	must(t, s.setPrefixes(hosts("10.0.0.2")), s.setPrefixes(hosts("10.0.0.3")))
	if !f.has("10.0.0.1:80", "10.0.0.3:82") {
		t.Errorf("exchanged: %v", f.entries)
	}
}

// TestListenerFailure: whichever call of the kernel fails, nothing has changed.
func TestListenerFailure(t *testing.T) {
	for _, c := range []struct {
		what string
		do   func(s *listenerSet) error
	}{
		{"add", func(s *listenerSet) error { return s.add(TCP, ap("0.0.0.0:90")) }},
		{"remove", func(s *listenerSet) error { return s.remove(TCP, ap("0.0.0.0:80")) }},
		{"addresses", func(s *listenerSet) error { return s.setPrefixes(hosts("10.0.0.3", "10.0.0.4", "10.0.0.5")) }},
	} {
		for n := 1; ; n++ {
			s, f := newFakeSet(100)
			must(t, s.setPrefixes(hosts("10.0.0.1", "10.0.0.2", "10.0.0.3")), s.add(TCP, ap("0.0.0.0:80")))
			before, refs := maps.Clone(f.entries), maps.Clone(s.refs)
			f.failIn = n
			err := c.do(s)
			if err == nil {
				if n < 3 {
					t.Errorf("%s: only %d calls", c.what, n-1)
				}
				break
			}
			if !errors.Is(err, errFake) || !maps.Equal(f.entries, before) || !maps.Equal(s.refs, refs) {
				t.Errorf("%s, call %d fails: %v; steered %v, before %v", c.what, n, err, f.entries, before)
			}
			f.failIn = 0
			must(t, c.do(s)) // and works the next time
		}
	}
}

// TestListenerModel: any sequence of calls leaves what a simple computation says.
func TestListenerModel(t *testing.T) {
	r := rand.New(rand.NewPCG(1, 2))
	all := addrs("10.0.0.1", "10.0.0.2", "10.0.0.3", "fd00::1", "fd00::2")
	at := append(addrs("0.0.0.0", "::"), all...)
	for range 50 {
		s, f := newFakeSet(12)
		asked := make(map[netip.AddrPort]bool)
		var own []netip.Addr
		compute := func(asked map[netip.AddrPort]bool, own []netip.Addr) map[listenerKey]bool {
			want := make(map[listenerKey]bool)
			for l := range asked {
				if !l.Addr().IsUnspecified() {
					want[makeListenerKey(TCP, l)] = true
				}
				for _, a := range own {
					if l.Addr().IsUnspecified() && a.Is4() == l.Addr().Is4() {
						want[makeListenerKey(TCP, netip.AddrPortFrom(a, l.Port()))] = true
					}
				}
			}
			return want
		}
		for range 200 {
			next, nextOwn := maps.Clone(asked), own
			var err error
			if r.IntN(3) == 0 {
				nextOwn = nil
				for _, a := range all {
					if r.IntN(2) == 0 {
						nextOwn = append(nextOwn, a)
					}
				}
				err = s.setPrefixes(hostsOf(nextOwn))
			} else {
				l := netip.AddrPortFrom(at[r.IntN(len(at))], uint16(80+r.IntN(3)))
				if asked[l] {
					delete(next, l)
					err = s.remove(TCP, l)
				} else {
					next[l] = true
					err = s.add(TCP, l)
				}
			}
			want := compute(next, nextOwn)
			if full := len(want) > 12; full != errors.Is(err, unix.ENOSPC) || !full && err != nil {
				t.Fatalf("%d entries: %v", len(want), err)
			}
			if err == nil {
				asked, own = next, nextOwn
			}
			if want := compute(asked, own); !maps.Equal(f.entries, want) {
				t.Fatalf("steered %v, want %v", f.entries, want)
			}
		}
	}
}
