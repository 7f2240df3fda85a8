//go:build linux

package netns

import (
	"fmt"
	"net/netip"
	"time"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"
)

// WaitAddresses waits until the kernel receives for addresses that were given
// to a link of the caller's namespace, and that link is running. An IPv6 address
// gets its local route a moment after it is set, and until then packets to it
// are dropped (Ip6InAddrErrors). An error is unix.ETIMEDOUT.
func WaitAddresses(addrs []netip.Prefix, timeout time.Duration) error {
	deadline := time.Now().Add(timeout)
	for _, a := range addrs {
		for !isLocal(a.Addr()) {
			if time.Now().After(deadline) {
				return fmt.Errorf("netns: %s does not become a local address: %w", a.Addr(), unix.ETIMEDOUT)
			}
			time.Sleep(time.Millisecond)
		}
	}
	return nil
}

func isLocal(a netip.Addr) bool {
	routes, err := netlink.RouteGet(a.AsSlice())
	return err == nil && len(routes) > 0 && routes[0].Type == unix.RTN_LOCAL
}
