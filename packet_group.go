package zctap

import (
	"errors"
	"fmt"
	"net/netip"
	"syscall"
)

// JoinGroup makes c receive what is sent to a multicast group and c's port; c is
// bound to all addresses, or to the group's. The interface is the queue's, else (Copy
// without Config.Interface) the zone of an IPv6 group, else the kernel's choice.
//
// With the kernel's sockets (Copy, ZCRX), and over AF_XDP, the kernel reports the
// membership to the network's routers (IGMP, RFC 3376; MLD, RFC 3810). Over TUN nobody
// is told: the wire ends at the kernel, which sends what it is asked to.
//
// Over AF_XDP only datagrams that come in one frame are received, and none that this
// machine itself sends to the group. A multicast router on this machine does not get what
// c receives. On every engine what is sent to a group has a hop limit of 1.
//
// Errors: EINVAL if group is none, EADDRINUSE if it is joined already, EAFNOSUPPORT
// for the other IP version, ENOBUFS for too many (20; of IPv6, with the kernel's
// sockets, as many as have room), ErrNotSupported where the engine can't.
func (c *PacketConn) JoinGroup(group netip.Addr) error {
	err := checkGroup(group)
	if local := c.c.LocalAddr().Addr(); err == nil && !local.IsUnspecified() && local != group.Unmap() {
		err = fmt.Errorf("a socket at %v receives what is sent there only; listen on all addresses: %w", local, syscall.EINVAL)
	}
	if err == nil {
		err = c.q.mayWait()
	}
	if err == nil {
		err = c.c.JoinGroup(group.Unmap())
	}
	if errors.Is(err, errors.ErrUnsupported) {
		err = fmt.Errorf("%w: %w", ErrNotSupported, err)
	}
	return c.q.opError("join", err)
}

// LeaveGroup takes JoinGroup back; Close does, too. EADDRNOTAVAIL if it is not
// joined.
func (c *PacketConn) LeaveGroup(group netip.Addr) error {
	err := errors.Join(checkGroup(group), c.q.mayWait())
	if err == nil {
		err = c.c.LeaveGroup(group.Unmap())
	}
	return c.q.opError("leave", err)
}

func checkGroup(group netip.Addr) error {
	if !group.Unmap().IsMulticast() {
		return fmt.Errorf("%v is no multicast group (224.0.0.0/4, ff00::/8): %w", group, syscall.EINVAL)
	}
	return nil
}
