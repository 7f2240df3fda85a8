//go:build linux

package netns

import (
	"errors"
	"fmt"
	"io"
	"net"
	"net/netip"
	"testing"
	"time"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"
)

func prefixes(s ...string) []netip.Prefix {
	var ps []netip.Prefix
	for _, p := range s {
		ps = append(ps, netip.MustParsePrefix(p))
	}
	return ps
}

// exchange sends bytes over TCP from one namespace to an address of another,
// and back.
func exchange(t *testing.T, from, to *NS, addr string) {
	t.Helper()
	var ln net.Listener
	err := to.Do(func() (err error) {
		ln, err = net.Listen("tcp", net.JoinHostPort(addr, "0"))
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	defer ln.Close()
	echoed := make(chan error, 1)
	go func() {
		c, err := ln.Accept()
		if err == nil {
			_, err = io.Copy(c, c)
			c.Close()
		}
		echoed <- err
	}()
	err = from.Do(func() error {
		c, err := net.DialTimeout("tcp", ln.Addr().String(), 30*time.Second)
		if err != nil {
			return err
		}
		defer c.Close()
		const text = "there and back"
		if _, err := io.WriteString(c, text); err != nil {
			return err
		}
		c.(*net.TCPConn).CloseWrite()
		got, err := io.ReadAll(c)
		if err == nil && string(got) != text {
			err = fmt.Errorf("echoed %q, want %q", got, text)
		}
		return err
	})
	if err != nil {
		ln.Close()
		t.Error(err)
	}
	if err := <-echoed; err != nil {
		t.Error(err)
	}
}

func TestNSVeth(t *testing.T) {
	cases := []struct {
		name         string
		o            VethOptions
		nameA, nameB string
		mtu          int
		dial         []string // addresses of b
	}{
		{
			name:  "zero value",
			nameA: "veth0", nameB: "veth0", mtu: 1500,
		},
		{
			name: "both families",
			o: VethOptions{
				NameA: "left", NameB: "right", MTU: 9000,
				AddrA: prefixes("10.1.0.1/24", "fd00:1::1/64"),
				AddrB: prefixes("10.1.0.2/24", "fd00:1::2/64"),
			},
			nameA: "left", nameB: "right", mtu: 9000,
			dial: []string{"10.1.0.2", "fd00:1::2"},
		},
		{
			name: "too small for IPv6",
			o: VethOptions{
				MTU:   576,
				AddrA: prefixes("10.1.0.1/24"), AddrB: prefixes("10.1.0.2/24"),
			},
			nameA: "veth0", nameB: "veth0", mtu: 576,
			dial: []string{"10.1.0.2"},
		},
	}
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			a, b := newNS(t), newNS(t)
			if err := Veth(a, b, c.o); err != nil {
				t.Fatal(err)
			}
			checkEnd(t, a, c.nameA, c.mtu)
			checkEnd(t, b, c.nameB, c.mtu)
			for _, addr := range c.dial {
				exchange(t, a, b, addr)
			}
		})
	}
}

// checkEnd looks at an end of a veth pair that is said to be ready.
func checkEnd(t *testing.T, n *NS, name string, mtu int) {
	t.Helper()
	err := n.Do(func() error {
		link, err := netlink.LinkByName(name)
		if err != nil {
			return err
		}
		if attrs := link.Attrs(); attrs.MTU != mtu || attrs.Flags&net.FlagRunning == 0 {
			t.Errorf("%s has MTU %d, flags %v; want %d, running", name, attrs.MTU, attrs.Flags, mtu)
		}
		addrs, err := netlink.AddrList(link, netlink.FAMILY_V6)
		for _, a := range addrs {
			if a.Flags&unix.IFA_F_TENTATIVE != 0 || a.IP.IsLinkLocalUnicast() {
				t.Errorf("%s has address %v, flags %#x: want none that is tentative or link-local", name, a, a.Flags)
			}
		}
		return err
	})
	if err != nil {
		t.Error(err)
	}
}

func TestNSVethErrors(t *testing.T) {
	a, b := newNS(t), newNS(t)
	if err := Veth(a, b, VethOptions{NameA: "taken"}); err != nil {
		t.Fatal(err)
	}
	cases := []struct {
		name string
		o    VethOptions
		want error
	}{
		{"name in use", VethOptions{NameA: "taken", NameB: "free"}, unix.EEXIST},
		{"MTU out of range", VethOptions{NameA: "bad", NameB: "bad", MTU: 1 << 20}, unix.EINVAL},
		{"address twice", VethOptions{NameA: "bad", NameB: "bad", AddrA: prefixes("10.1.0.1/24", "10.1.0.1/24")}, unix.EEXIST},
	}
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			if err := Veth(a, b, c.o); !errors.Is(err, c.want) {
				t.Errorf("Veth = %v, want %v", err, c.want)
			}
			for _, n := range []*NS{a, b} {
				var links []net.Interface
				err := n.Do(func() (err error) { links, err = net.Interfaces(); return err })
				if err != nil || len(links) != 2 {
					t.Errorf("%d links afterwards (error %v): %+v, want lo and the first pair's end", len(links), err, links)
				}
			}
		})
	}
}

func TestNSConfigureLinkOfCaller(t *testing.T) {
	a, b := newNS(t), newNS(t)
	if err := Veth(a, b, VethOptions{AddrB: prefixes("fd00:1::2/64")}); err != nil {
		t.Fatal(err)
	}
	err := a.Do(func() error { return ConfigureLink("veth0", prefixes("fd00:1::1/64"), 1400) })
	if err != nil {
		t.Fatal(err)
	}
	checkEnd(t, a, "veth0", 1400)
	exchange(t, b, a, "fd00:1::1")
	if err := a.Do(func() error { return ConfigureLink("none", nil, 0) }); err == nil {
		t.Error("a link that does not exist was configured")
	}
}

func TestNSWaitRunning(t *testing.T) {
	a, b := newNS(t), newNS(t)
	if err := addVeth(a, b, VethOptions{NameA: "left", NameB: "right"}); err != nil {
		t.Fatal(err)
	}
	if err := a.WaitRunning("left", 20*time.Millisecond); !errors.Is(err, unix.ETIMEDOUT) {
		t.Errorf("a link that is down: WaitRunning = %v, want ETIMEDOUT", err)
	}
	waited := make(chan error)
	go func() { waited <- a.WaitRunning("left", time.Minute) }()
	for end, n := range map[string]*NS{"left": a, "right": b} {
		if err := n.ConfigureLink(end, nil, 0); err != nil {
			t.Fatal(err)
		}
	}
	if err := <-waited; err != nil {
		t.Errorf("a link that was brought up: WaitRunning = %v", err)
	}
	if err := a.WaitRunning("none", time.Minute); err == nil {
		t.Error("a link that does not exist: WaitRunning = nil")
	}
}

func TestNSAddRoute(t *testing.T) {
	a, b := newNS(t), newNS(t)
	err := Veth(a, b, VethOptions{AddrA: prefixes("10.1.0.1/24", "fd00:1::1/64"), AddrB: prefixes("10.1.0.2/24", "fd00:1::2/64")})
	if err != nil {
		t.Fatal(err)
	}
	if err := b.ConfigureLink("lo", prefixes("192.0.2.9/32", "198.51.100.9/32", "2001:db8::9/128"), 0); err != nil {
		t.Fatal(err)
	}
	routes := []struct {
		name, dst, via, dial string
	}{
		{"gateway", "192.0.2.7/24", "10.1.0.2", "192.0.2.9"},
		{"on the link", "198.51.100.0/24", "", "198.51.100.9"},
		{"IPv6 gateway", "2001:db8::/64", "fd00:1::2", "2001:db8::9"},
	}
	for _, r := range routes {
		t.Run(r.name, func(t *testing.T) {
			err := a.Do(func() error {
				_, err := net.DialTimeout("tcp", net.JoinHostPort(r.dial, "9"), time.Second)
				return err
			})
			if !errors.Is(err, unix.ENETUNREACH) {
				t.Fatalf("dialing %s without a route: %v, want ENETUNREACH", r.dial, err)
			}
			var via netip.Addr
			if r.via != "" {
				via = netip.MustParseAddr(r.via)
			}
			if err := a.AddRoute(netip.MustParsePrefix(r.dst), via, "veth0"); err != nil {
				t.Fatal(err)
			}
			exchange(t, a, b, r.dial)
		})
	}
	if err := a.AddRoute(netip.MustParsePrefix("203.0.113.0/24"), netip.MustParseAddr("203.0.113.1"), "veth0"); err == nil {
		t.Error("a gateway that no route leads to was accepted")
	}
}
