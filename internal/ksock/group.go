//go:build linux

package ksock

import (
	"fmt"
	"net/netip"

	"golang.org/x/sys/unix"
)

// JoinGroup has s receive what is sent to a multicast group, and the kernel report
// that (IGMP, MLD), on the interface of the name; if that is empty, of the group's
// zone, else on the one that the kernel chooses. The interface is looked for in the
// socket's network namespace, whatever the calling thread's. Errors: EADDRINUSE if
// it is joined already, EAFNOSUPPORT for a group of the other IP version, ENODEV,
// ENOBUFS for too many (net.ipv4.igmp_max_memberships).
func (s *Socket) JoinGroup(group netip.Addr, iface string) error {
	return s.membership("join", unix.IP_ADD_MEMBERSHIP, unix.IPV6_JOIN_GROUP, group, iface)
}

// LeaveGroup takes JoinGroup back; EADDRNOTAVAIL if there is nothing to take back.
func (s *Socket) LeaveGroup(group netip.Addr, iface string) error {
	return s.membership("leave", unix.IP_DROP_MEMBERSHIP, unix.IPV6_LEAVE_GROUP, group, iface)
}

func (s *Socket) membership(verb string, option4, option6 int, group netip.Addr, iface string) error {
	if iface == "" {
		iface = group.Zone()
	}
	return s.use(func(fd int) error {
		index, err := interfaceIndex(fd, iface)
		switch {
		case err != nil:
		case group.Is4() && s.v6only, group.Is6() && s.family == unix.AF_INET:
			err = unix.EAFNOSUPPORT
		case group.Is4():
			err = unix.SetsockoptIPMreqn(fd, unix.IPPROTO_IP, option4, &unix.IPMreqn{Multiaddr: group.As4(), Ifindex: int32(index)})
		default:
			err = unix.SetsockoptIPv6Mreq(fd, unix.IPPROTO_IPV6, option6, &unix.IPv6Mreq{Multiaddr: group.As16(), Interface: index})
		}
		switch err {
		case nil:
			return nil
		case unix.ENODEV:
			err = fmt.Errorf("%w: no interface %q, or no route that says which: name one", err, iface)
		case unix.ENOBUFS:
			err = fmt.Errorf("%w: too many groups (sysctl net.ipv4.igmp_max_memberships)", err)
		}
		return fmt.Errorf("%s group %v: %w", verb, group, err)
	})
}

// interfaceIndex is the index of the interface of the name, 0 for none, where the
// socket fd is.
func interfaceIndex(fd int, name string) (uint32, error) {
	if name == "" {
		return 0, nil
	}
	ifr, err := unix.NewIfreq(name)
	if err != nil {
		return 0, unix.ENODEV // too long for one
	}
	if err := unix.IoctlIfreq(fd, unix.SIOCGIFINDEX, ifr); err != nil {
		return 0, err
	}
	return ifr.Uint32(), nil
}

// ownGroups has s receive of groups only what it has joined itself. The kernel's
// default is what anybody on the machine has joined.
func (s *Socket) ownGroups() error {
	if err := s.setInt("IP_MULTICAST_ALL", unix.IPPROTO_IP, unix.IP_MULTICAST_ALL, 0); err != nil {
		return err
	}
	if s.family != unix.AF_INET6 {
		return nil
	}
	return s.setInt("IPV6_MULTICAST_ALL", unix.IPPROTO_IPV6, unix.IPV6_MULTICAST_ALL, 0)
}

// SetTrafficClass sets DSCP and ECN of what is sent from now on.
func (s *Socket) SetTrafficClass(tc uint8) error {
	err := s.setInt("IP_TOS", unix.IPPROTO_IP, unix.IP_TOS, int(tc))
	if err != nil || s.family != unix.AF_INET6 {
		return err
	}
	return s.setInt("IPV6_TCLASS", unix.IPPROTO_IPV6, unix.IPV6_TCLASS, int(tc))
}

// NextLen is the length in bytes of the datagram that is received next, with all
// that the kernel has merged with it. It does not wait: the errno is EAGAIN if there
// is none, or what Messages.Recv would have told, which is told now.
func (s *Socket) NextLen() (n int, err error) {
	err = s.use(func(fd int) (err error) {
		n, _, err = unix.Recvfrom(fd, nil, unix.MSG_PEEK|unix.MSG_TRUNC|unix.MSG_DONTWAIT)
		return err
	})
	return n, err
}
