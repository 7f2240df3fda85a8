//go:build linux

package hostnet

import (
	"net/netip"
	"testing"

	"golang.org/x/sys/unix"
)

// TestSource6 is the examples of RFC 6724 section 10.1, as far as they are about
// one interface, and more.
func TestSource6(t *testing.T) {
	type candidate struct {
		addr  string
		flags uint32
	}
	for _, c := range []struct {
		what, dst  string
		candidates []candidate
		want       string
	}{
		{"appropriate scope", "2001:db8:1::1", []candidate{{"2001:db8:3::1/64", 0}, {"fe80::1/64", 0}}, "2001:db8:3::1"},
		{"appropriate scope of a group", "ff05::1", []candidate{{"2001:db8:3::1/64", 0}, {"fe80::1/64", 0}}, "2001:db8:3::1"},
		{"link-local", "fe80::2", []candidate{{"2001:db8:3::1/64", 0}, {"fe80::1/64", 0}}, "fe80::1"},
		{"a group on the link", "ff02::2", []candidate{{"2001:db8:3::1/64", 0}, {"fe80::1/64", 0}}, "fe80::1"},
		{"scope before deprecation", "fe80::2", []candidate{{"fe80::1/64", unix.IFA_F_DEPRECATED}, {"2001:db8::1/64", 0}}, "fe80::1"},
		{"not deprecated", "2001:db8:1::1", []candidate{{"2001:db8:1::2/64", unix.IFA_F_DEPRECATED}, {"2001:db8:3::2/64", 0}}, "2001:db8:3::2"},
		{"longest prefix", "2001:db8:1::1", []candidate{{"2001:db8:3::2/64", 0}, {"2001:db8:1::2/64", 0}}, "2001:db8:1::2"},
		{"within the subnet", "2001:db8:1::1", []candidate{{"2001:db8:1::f0/64", 0}, {"2001:db8:1::2/64", 0}}, "2001:db8:1::f0"},
		{"matching label", "2002:c633:6401::1", []candidate{{"2001:db8:1::2/64", 0}, {"2002:c633:6401::d5e3/64", 0}}, "2002:c633:6401::d5e3"},
		{"label before prefix", "2002:c633:6401::1", []candidate{{"2003:c633:6401::2/64", 0}, {"2002:836b:2179::2/64", 0}}, "2002:836b:2179::2"},
		{"unique local", "2001:db8::1", []candidate{{"fd00::1/64", 0}, {"2600::1/64", 0}}, "2600::1"},
		{"to unique local", "fd00:5::1", []candidate{{"2600::1/64", 0}, {"fd00::1/64", 0}}, "fd00::1"},
		{"not temporary", "2001:db8:1::1", []candidate{{"2001:db8:1::d5e3/64", unix.IFA_F_TEMPORARY}, {"2001:db8:1::2/64", 0}}, "2001:db8:1::2"},
		{"not tentative", "2001:db8:1::1", []candidate{{"2001:db8:1::2/64", unix.IFA_F_TENTATIVE}, {"2001:db8:3::2/64", 0}}, "2001:db8:3::2"},
		{"optimistic rather than none", "2001:db8:1::1", []candidate{{"2001:db8:1::2/64", unix.IFA_F_TENTATIVE | unix.IFA_F_OPTIMISTIC}}, "2001:db8:1::2"},
		{"optimistic rather not", "2001:db8:1::1", []candidate{{"2001:db8:1::2/64", unix.IFA_F_TENTATIVE | unix.IFA_F_OPTIMISTIC}, {"2001:db8:3::2/64", 0}}, "2001:db8:3::2"},
		{"never a duplicate", "2001:db8:1::1", []candidate{{"2001:db8:1::2/64", unix.IFA_F_OPTIMISTIC | unix.IFA_F_DADFAILED}}, ""},
		{"the first of equals", "2001:db8:1::1", []candidate{{"2001:db8:5::2/64", 0}, {"2001:db8:5::3/64", 0}}, "2001:db8:5::2"},
		{"only IPv4", "2001:db8:1::1", []candidate{{"10.0.0.1/8", 0}}, ""},
	} {
		var s state
		for _, x := range c.candidates {
			s.addrs = append(s.addrs, address{prefix: prefix(x.addr), flags: x.flags})
		}
		var want netip.Addr
		if c.want != "" {
			want = addr(c.want)
		}
		if got, ok := s.source6(addr(c.dst)); got != want || ok != want.IsValid() {
			t.Errorf("%s: %v, %v; want %v", c.what, got, ok, want)
		}
	}
}

func TestSource4(t *testing.T) {
	s := state{addrs: []address{
		{prefix: prefix("169.254.1.1/16"), scope: unix.RT_SCOPE_LINK},
		{prefix: prefix("10.0.0.1/24")},
		{prefix: prefix("10.0.0.2/24"), flags: unix.IFA_F_SECONDARY},
		{prefix: prefix("10.5.0.9/24"), flags: unix.IFA_F_SECONDARY},
		{prefix: prefix("10.5.0.1/24")},
		{prefix: prefix("fd00::1/64")},
	}}
	for _, c := range []struct {
		gateway string
		scope   uint8
		want    string
	}{
		{"10.0.0.77", unix.RT_SCOPE_UNIVERSE, "10.0.0.1"},
		{"10.5.0.77", unix.RT_SCOPE_UNIVERSE, "10.5.0.1"},
		{"10.6.0.77", unix.RT_SCOPE_UNIVERSE, "10.0.0.1"},
		{"169.254.9.9", unix.RT_SCOPE_UNIVERSE, "10.0.0.1"},
		{"fe80::1", unix.RT_SCOPE_UNIVERSE, "10.0.0.1"},
		{"", unix.RT_SCOPE_LINK, "169.254.1.1"},
	} {
		var gateway netip.Addr
		if c.gateway != "" {
			gateway = addr(c.gateway)
		}
		if got, ok := s.source4(gateway, c.scope); !ok || got != addr(c.want) {
			t.Errorf("by %q, scope %d: %v, want %s", c.gateway, c.scope, got, c.want)
		}
	}
	if got, ok := new(state).source4(netip.Addr{}, unix.RT_SCOPE_LINK); ok {
		t.Errorf("%v out of nothing", got)
	}
}
