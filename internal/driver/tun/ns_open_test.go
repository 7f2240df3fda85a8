//go:build linux

package tun

import (
	"errors"
	"strings"
	"testing"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"

	"github.com/zctap/zctap/internal/netns"
)

func unixIs(err error, errno unix.Errno) bool { return errors.Is(err, errno) }

// TestNSOpen: names, MTU, and that an interface that Open created goes away.
func TestNSOpen(t *testing.T) {
	ns := newNS(t)
	for _, tt := range []struct {
		name string
		mtu  int
		want string
		size int
	}{
		{"", 0, "tun0", 1500},
		{"zt%d", 9000, "zt0", 9000},
		{"fifteen-letters", 65535, "fifteen-letters", 65535},
	} {
		d := open(t, ns, Config{Name: tt.name, MTU: tt.mtu, Pool: newPool(t, 17, true)})
		c := d.Caps()
		if d.Name() != tt.want || c.MTU != tt.size || c.LinkHeader != 0 || !c.TxChecksum || c.MaxGSO != 65535 {
			t.Errorf("name %q, caps %+v; want %q, MTU %d", d.Name(), c, tt.want, tt.size)
		}
		if !hasLink(t, ns, tt.want) {
			t.Errorf("there is no interface %s", tt.want)
		}
		if err := d.Close(); err != nil {
			t.Fatal(err)
		}
		if hasLink(t, ns, tt.want) {
			t.Errorf("interface %s is still there after Close", tt.want)
		}
	}
}

func hasLink(t *testing.T, ns *netns.NS, name string) (has bool) {
	t.Helper()
	err := ns.Do(func() error {
		links, err := netlink.LinkList()
		for _, l := range links {
			has = has || l.Attrs().Name == name
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return has
}

// TestNSAttach: an interface that was there before stays.
func TestNSAttach(t *testing.T) {
	ns := newNS(t)
	err := ns.Do(func() error {
		attrs := netlink.NewLinkAttrs()
		attrs.Name = "there0"
		return netlink.LinkAdd(&netlink.Tuntap{LinkAttrs: attrs, Mode: netlink.TUNTAP_MODE_TUN, Flags: netlink.TUNTAP_DEFAULTS})
	})
	if err != nil {
		t.Fatal(err)
	}
	for range 2 {
		d := open(t, ns, Config{Name: "there0", Pool: newPool(t, 17, true)})
		if err := d.Close(); err != nil {
			t.Fatal(err)
		}
		if !hasLink(t, ns, "there0") {
			t.Fatal("the interface has gone with Close")
		}
	}
}

func TestNSOpenErrors(t *testing.T) {
	ns := newNS(t)
	err := ns.Do(func() error {
		attrs := netlink.NewLinkAttrs()
		attrs.Name = "tap0"
		return netlink.LinkAdd(&netlink.Tuntap{LinkAttrs: attrs, Mode: netlink.TUNTAP_MODE_TAP})
	})
	if err != nil {
		t.Fatal(err)
	}
	pool := newPool(t, 17, true)
	open(t, ns, Config{Name: "busy0", Pool: newPool(t, 17, true)})
	for _, tt := range []struct {
		name string
		c    Config
		want unix.Errno
		says string
	}{
		{"in use", Config{Name: "busy0", Pool: pool}, unix.EBUSY, "another process"},
		{"not a TUN", Config{Name: "lo", Pool: pool}, unix.EINVAL, "not a TUN"},
		{"a TAP", Config{Name: "tap0", Pool: pool}, unix.EINVAL, "not a TUN"},
		{"name too long", Config{Name: "sixteen-letters!", Pool: pool}, unix.EINVAL, "longer than 15"},
		{"name with a slash", Config{Name: "a/b", Pool: pool}, unix.EINVAL, "can't be the name"},
		{"name with a blank", Config{Name: "a b", Pool: pool}, unix.EINVAL, "can't be the name"},
		{"no device file", Config{Device: "/nonexistent", Pool: pool}, unix.ENOENT, "modprobe"},
		{"another device", Config{Device: "/dev/null", Pool: pool}, unix.ENOTTY, ""},
		{"no pool", Config{}, unix.EINVAL, "pool"},
		{"pool too small", Config{Pool: newPool(t, 16, true)}, unix.EINVAL, "16 buffers"},
		{"MTU out of range", Config{MTU: 70000, Pool: pool}, unix.EINVAL, "MTU"},
	} {
		err := ns.Do(func() error {
			d, err := Open(tt.c)
			if err == nil {
				d.Close()
			}
			return err
		})
		if !errors.Is(err, tt.want) || !strings.Contains(err.Error(), tt.says) {
			t.Errorf("%s: %v; want %v that says %q", tt.name, err, tt.want, tt.says)
		}
	}
	if hasLink(t, ns, "tun0") {
		t.Error("a failed Open left an interface behind")
	}
}
