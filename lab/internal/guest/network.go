//go:build linux

package guest

import (
	"bytes"
	"cmp"
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"time"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"
)

// networkPatience bounds how long an interface may take to appear, to have a
// carrier, and to have its addresses work.
const networkPatience = 20 * time.Second

// loopbackUp brings up the loopback interface of the thread's namespace.
func loopbackUp() error {
	lo, err := netlink.LinkByName("lo")
	if err != nil {
		return err
	}
	return netlink.LinkSetUp(lo)
}

// configureNetwork makes namespaces, and puts the interfaces into them with
// their addresses.
func configureNetwork(ctx context.Context, namespaces []string, interfaces []Interface) error {
	for _, name := range namespaces {
		if err := makeNamespace(name); err != nil {
			return fmt.Errorf("making the network namespace %s: %w", name, err)
		}
	}
	// All are found before one is moved, since that changes the others' indexes.
	found := make([]place, len(interfaces))
	for i := range interfaces {
		err := await(ctx, func() (err error) {
			found[i], err = findInterface(&interfaces[i])
			return err
		})
		if err != nil {
			return fmt.Errorf("interface %d (MAC %q, index %d): %w", i, interfaces[i].MAC, interfaces[i].Index, err)
		}
	}
	for i := range interfaces {
		if err := configureInterface(ctx, &interfaces[i], found[i]); err != nil {
			return fmt.Errorf("interface %d, %s: %w", i, found[i].link.Attrs().Name, err)
		}
	}
	return nil
}

// await calls f until it succeeds or the patience is over.
func await(ctx context.Context, f func() error) error {
	for deadline := time.Now().Add(networkPatience); ; {
		err := f()
		if err == nil || time.Now().After(deadline) {
			return err
		}
		select {
		case <-ctx.Done():
			return err
		case <-time.After(2 * time.Millisecond):
		}
	}
}

// A place is an interface and the namespace that it is in.
type place struct {
	link  netlink.Link
	netns string
}

// findInterface looks for an interface in the first namespace, and in that where it belongs.
func findInterface(i *Interface) (place, error) {
	for _, name := range slices.Compact([]string{"", i.Netns}) {
		var links []netlink.Link
		err := inNamespace(name, false, func() (err error) {
			links, err = netlink.LinkList()
			return err
		})
		if err != nil {
			return place{}, err
		}
		if l := selectLink(links, i); l != nil {
			return place{l, name}, nil
		}
	}
	return place{}, errors.New("there is no such interface")
}

// selectLink returns the link with i's hardware address, or, if that names none, the
// i.Index-th of those that are devices' (not the loopback, not virtual).
func selectLink(links []netlink.Link, i *Interface) netlink.Link {
	mac, err := net.ParseMAC(i.MAC)
	if err == nil {
		at := slices.IndexFunc(links, func(l netlink.Link) bool { return bytes.Equal(l.Attrs().HardwareAddr, mac) })
		if at < 0 {
			return nil
		}
		return links[at]
	}
	links = slices.DeleteFunc(links, func(l netlink.Link) bool { return l.Type() != "device" || l.Attrs().Flags&net.FlagLoopback != 0 })
	slices.SortFunc(links, func(a, b netlink.Link) int { return cmp.Compare(a.Attrs().Index, b.Attrs().Index) })
	if i.Index < 0 || i.Index >= len(links) {
		return nil
	}
	return links[i.Index]
}

// configureInterface moves an interface and sets it up.
func configureInterface(ctx context.Context, i *Interface, at place) error {
	if at.netns != i.Netns {
		ns, err := os.Open(namespacePath(i.Netns))
		if err != nil {
			return err
		}
		defer ns.Close()
		err = inNamespace(at.netns, false, func() error { return netlink.LinkSetNsFd(at.link, int(ns.Fd())) })
		if err != nil {
			return fmt.Errorf("moving it to the network namespace %s: %w", i.Netns, err)
		}
	}
	return inNamespace(i.Netns, false, func() error { return i.setUp(ctx, at.link) })
}

// setUp gives link what i says. It runs in the interface's namespace.
func (i *Interface) setUp(ctx context.Context, link netlink.Link) error {
	name := link.Attrs().Name
	if i.Name != "" && i.Name != name {
		if err := netlink.LinkSetDown(link); err != nil {
			return err
		}
		if err := netlink.LinkSetName(link, i.Name); err != nil {
			return fmt.Errorf("renaming it to %s: %w", i.Name, err)
		}
		name = i.Name
	}
	// A move may have changed the number.
	link, err := netlink.LinkByName(name)
	if err != nil {
		return err
	}
	if i.MTU != 0 {
		if err := netlink.LinkSetMTU(link, i.MTU); err != nil {
			return fmt.Errorf("setting the MTU to %d: %w", i.MTU, err)
		}
	}
	if i.Down {
		return nil
	}
	if err := quiet(name); err != nil {
		return err
	}
	if err := netlink.LinkSetUp(link); err != nil {
		return fmt.Errorf("bringing it up: %w", err)
	}
	for _, a := range i.Addresses {
		addr := &netlink.Addr{IPNet: ipNet(a)}
		if a.Addr().Is6() {
			addr.Flags = unix.IFA_F_NODAD
		}
		if err := netlink.AddrReplace(link, addr); err != nil {
			return fmt.Errorf("giving it the address %s: %w", a, err)
		}
	}
	for _, r := range i.Routes {
		route := &netlink.Route{LinkIndex: link.Attrs().Index, Dst: ipNet(r.To.Masked())}
		if r.Via.IsValid() {
			route.Gw = r.Via.AsSlice()
		}
		if err := netlink.RouteReplace(route); err != nil {
			return fmt.Errorf("routing %s: %w", r.To, err)
		}
	}
	return await(ctx, func() error { return i.works(name) })
}

// works says what keeps the interface from sending and receiving: no carrier,
// or an address without its local route, which IPv6 adds a moment later.
func (i *Interface) works(name string) error {
	link, err := netlink.LinkByName(name)
	if err != nil {
		return err
	}
	if link.Attrs().RawFlags&unix.IFF_RUNNING == 0 {
		return errors.New("it has no carrier")
	}
	for _, a := range i.Addresses {
		routes, err := netlink.RouteGet(a.Addr().AsSlice())
		if err != nil || len(routes) == 0 || routes[0].Type != unix.RTN_LOCAL {
			return fmt.Errorf("%s does not become a local address", a.Addr())
		}
	}
	return nil
}

// quiet keeps the kernel from sending IPv6 packets of its own through the
// interface: address detection, router solicitations, a link-local address.
func quiet(name string) error {
	for _, s := range []struct{ name, value string }{
		{"accept_dad", "0"}, {"accept_ra", "0"}, {"router_solicitations", "0"},
		{"addr_gen_mode", "1"},
	} {
		err := os.WriteFile(filepath.Join("/proc/sys/net/ipv6/conf", name, s.name), []byte(s.value), 0)
		if err != nil && !errors.Is(err, os.ErrNotExist) { // without IPv6
			return err
		}
	}
	return nil
}

func ipNet(p netip.Prefix) *net.IPNet {
	return &net.IPNet{IP: p.Addr().AsSlice(), Mask: net.CIDRMask(p.Bits(), p.Addr().BitLen())}
}
