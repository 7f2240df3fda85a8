//go:build linux

package hostnet

import (
	"fmt"
	"net/netip"

	"golang.org/x/sys/unix"
)

// nudge sends empty packets. The kernel solicits an IPv6 neighbor from the
// source address of the packet that waits for it, and if there is none from the
// interface's link-local address. Without such an address (sysctl
// net.ipv6.conf.*.addr_gen_mode=1) what is asked for over netlink is not done,
// and nobody is told; so there the kernel gets a packet.
type nudge struct{ fd int }

// newNudge opens the socket in the network namespace of the calling thread. It
// needs CAP_NET_RAW.
//
// The packet is an IPv6 header that says that nothing follows (RFC 8200
// section 4.7): receivers drop it without an answer. It is sent only once the
// neighbor is found.
func newNudge(index int) (*nudge, error) {
	fd, err := unix.Socket(unix.AF_INET6, unix.SOCK_RAW|unix.SOCK_CLOEXEC|unix.SOCK_NONBLOCK, unix.IPPROTO_NONE)
	if err != nil {
		return nil, fmt.Errorf("raw socket: %w", err)
	}
	err = unix.SetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_BINDTOIFINDEX, index)
	if err == nil {
		err = unix.SetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_RCVBUF, 0) // the least there is; nobody reads
	}
	if err != nil {
		unix.Close(fd)
		return nil, fmt.Errorf("raw socket: %w", err)
	}
	return &nudge{fd}, nil
}

func (n *nudge) close() { unix.Close(n.fd) }

// send has the kernel send a packet to a neighbor on the interface.
func (n *nudge) send(index int, to netip.Addr) error {
	sa := &unix.SockaddrInet6{Addr: to.As16()}
	if to.IsLinkLocalUnicast() {
		sa.ZoneId = uint32(index)
	}
	if err := unix.Sendto(n.fd, nil, 0, sa); err != nil {
		return fmt.Errorf("raw socket: %w", err)
	}
	return nil
}
