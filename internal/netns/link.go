//go:build linux

package netns

import (
	"errors"
	"fmt"
	"io/fs"
	"net"
	"net/netip"
	"time"

	"github.com/vishvananda/netlink"
	"github.com/vishvananda/netlink/nl"
	"golang.org/x/sys/unix"
)

// ConfigureLink adds addresses to a link of the caller's namespace, each with
// the length of its subnet's prefix, sets its MTU (the largest packet in bytes,
// without the link layer's header; 0 leaves it as it is) and brings it up. It
// needs CAP_NET_ADMIN. IPv6 addresses skip duplicate address detection (DAD).
// The kernel reports the link as running, and receives for its addresses, a
// moment later: see [NS.WaitRunning] and [WaitAddresses].
func ConfigureLink(name string, addrs []netip.Prefix, mtu int) error {
	if err := configureLink(name, addrs, mtu); err != nil {
		return fmt.Errorf("netns: configuring link %s: %w", name, err)
	}
	return nil
}

// ConfigureLink sets a link of the namespace, as the function of that name
// does. It gives the link no link-local address of IPv6, so that the kernel
// solicits neither neighbors nor routers by itself: what crosses the link is
// what a test has caused.
func (n *NS) ConfigureLink(name string, addrs []netip.Prefix, mtu int) error {
	return n.Do(func() error {
		err := writeSysctl("net/ipv6/conf/"+name+"/addr_gen_mode", "1") // IN6_ADDR_GEN_MODE_NONE
		if err != nil && !errors.Is(err, fs.ErrNotExist) {              // a link without IPv6 has none
			return fmt.Errorf("netns: link %s: %w", name, err)
		}
		return ConfigureLink(name, addrs, mtu)
	})
}

func configureLink(name string, addrs []netip.Prefix, mtu int) error {
	link, err := netlink.LinkByName(name)
	if err != nil {
		return err
	}
	if mtu != 0 {
		if err := netlink.LinkSetMTU(link, mtu); err != nil {
			return fmt.Errorf("setting the MTU to %d: %w", mtu, err)
		}
	}
	for _, p := range addrs {
		if err := addAddr(link, p); err != nil {
			return fmt.Errorf("adding address %s: %w", p, err)
		}
	}
	return netlink.LinkSetUp(link)
}

func addAddr(link netlink.Link, p netip.Prefix) error {
	addr := &netlink.Addr{IPNet: ipNet(p)}
	if p.Addr().Is6() {
		addr.Flags = unix.IFA_F_NODAD
	}
	return netlink.AddrAdd(link, addr)
}

// AddRoute adds a route to dst out of the link, through the gateway via, or
// directly if via is the zero Addr.
func (n *NS) AddRoute(dst netip.Prefix, via netip.Addr, link string) error {
	err := n.Do(func() error {
		l, err := netlink.LinkByName(link)
		if err != nil {
			return err
		}
		route := &netlink.Route{LinkIndex: l.Attrs().Index, Dst: ipNet(dst.Masked())}
		if via.IsValid() {
			route.Gw = via.AsSlice()
		} else {
			route.Scope = netlink.SCOPE_LINK
		}
		return netlink.RouteAdd(route)
	})
	if err != nil {
		return fmt.Errorf("netns: adding a route to %s by %s: %w", dst, link, err)
	}
	return nil
}

// WaitRunning waits until the kernel reports the link as running: up, and with
// a carrier. It returns an error that is unix.ETIMEDOUT if that does not come
// about within timeout.
func (n *NS) WaitRunning(name string, timeout time.Duration) error {
	deadline := time.Now().Add(timeout)
	err := n.Do(func() error {
		// Subscribed before the first look, so that no change is missed.
		s, err := nl.Subscribe(unix.NETLINK_ROUTE, unix.RTNLGRP_LINK)
		if err != nil {
			return err
		}
		defer s.Close()
		for {
			link, err := netlink.LinkByName(name)
			if err != nil {
				return err
			}
			if link.Attrs().Flags&net.FlagRunning != 0 {
				return nil
			}
			left := time.Until(deadline)
			if left <= 0 {
				return fmt.Errorf("operational state %s after %v: %w", link.Attrs().OperState, timeout, unix.ETIMEDOUT)
			}
			tv := unix.NsecToTimeval(int64(left))
			if err := s.SetReceiveTimeout(&tv); err != nil {
				return err
			}
			// What the message says does not matter, nor whether some were
			// lost: it is a reason to look again.
			_, _, err = s.Receive()
			if err != nil && !errors.Is(err, unix.EAGAIN) && !errors.Is(err, unix.ENOBUFS) {
				return err
			}
		}
	})
	if err != nil {
		return fmt.Errorf("netns: waiting for link %s: %w", name, err)
	}
	return nil
}

func ipNet(p netip.Prefix) *net.IPNet {
	return &net.IPNet{IP: p.Addr().AsSlice(), Mask: net.CIDRMask(p.Bits(), p.Addr().BitLen())}
}
