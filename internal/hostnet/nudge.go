//go:build linux

package hostnet

import (
	"fmt"
	"net/netip"

	"golang.org/x/sys/unix"
)

// nudge sends packets that nobody minds, to have the kernel do what it does for
// packets of its own, where it can't be asked over netlink:
//
//   - It solicits an IPv6 neighbor from the source address of the packet that
//     waits for it, and if there is none from the interface's link-local address.
//     Without such an address (sysctl net.ipv6.conf.*.addr_gen_mode=1) what is
//     asked for over netlink is not done, and nobody is told.
//   - Netlink requests need CAP_NET_ADMIN each time. The sockets need CAP_NET_RAW
//     when they are opened, so that a process can give up both.
type nudge struct{ v4, v6 int } // -1: there is none

// newNudge opens the sockets, as far as it can, in the network namespace of the
// calling thread.
func newNudge(index int) *nudge {
	return &nudge{
		v4: rawSocket(unix.AF_INET, unix.IPPROTO_ICMP, index),
		v6: rawSocket(unix.AF_INET6, unix.IPPROTO_NONE, index),
	}
}

func rawSocket(family, protocol, index int) int {
	fd, err := unix.Socket(family, unix.SOCK_RAW|unix.SOCK_CLOEXEC|unix.SOCK_NONBLOCK, protocol)
	if err != nil {
		return -1
	}
	err = unix.SetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_BINDTOIFINDEX, index)
	if err == nil {
		err = unix.SetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_RCVBUF, 0) // the least there is; nobody reads
	}
	if err != nil {
		unix.Close(fd)
		return -1
	}
	return fd
}

func (n *nudge) close() {
	for _, fd := range []int{n.v4, n.v6} {
		if fd >= 0 {
			unix.Close(fd)
		}
	}
}

// has reports whether there is a socket for an address.
func (n *nudge) has(a netip.Addr) bool { return n.fd(a) >= 0 }

func (n *nudge) fd(a netip.Addr) int {
	if a.Is4() {
		return n.v4
	}
	return n.v6
}

// An answer to an echo request that nobody has sent (RFC 792): hosts take no
// notice of it. The number says where it comes from, to who looks.
var echoReply = []byte{0, 0, 0xff ^ 'z', 0xff ^ 'c', 0, 0, 'z', 'c'}

// send has the kernel send a packet to a neighbor on the interface. In IPv6 it is
// a header that says that nothing follows (RFC 8200 section 4.7): receivers drop
// it without an answer. It is sent only once the neighbor is found.
func (n *nudge) send(index int, to netip.Addr) error {
	var packet []byte
	var sa unix.Sockaddr
	if to.Is4() {
		packet, sa = echoReply, &unix.SockaddrInet4{Addr: to.As4()}
	} else {
		six := &unix.SockaddrInet6{Addr: to.As16()}
		if to.IsLinkLocalUnicast() {
			six.ZoneId = uint32(index)
		}
		sa = six
	}
	if err := unix.Sendto(n.fd(to), packet, 0, sa); err != nil {
		return fmt.Errorf("raw socket: %w", err)
	}
	return nil
}
