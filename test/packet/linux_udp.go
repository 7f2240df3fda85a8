//go:build linux

package packet

import (
	"encoding/binary"
	"fmt"
	"net/netip"

	"golang.org/x/sys/unix"
)

func (l *linuxTarget) OpenUDP(local, remote netip.AddrPort) (Datagrams, error) {
	s, err := l.socket(unix.SOCK_DGRAM, local)
	if err != nil {
		return nil, err
	}
	u := &linuxDatagrams{linuxSocket: s}
	if err := u.tellTrafficClass(); err != nil {
		return nil, err
	}
	// As in package net, and for the sockets of engine Copy.
	if err := unix.SetsockoptInt(s.fd, unix.SOL_SOCKET, unix.SO_BROADCAST, 1); err != nil {
		return nil, err
	}
	if remote.IsValid() {
		s.connected = true
		return u, unix.Connect(s.fd, sockaddr(remote))
	}
	return u, nil
}

// linuxDatagrams is a UDP socket of the kernel's.
type linuxDatagrams struct {
	*linuxSocket
	arrival
}

// tellTrafficClass has the kernel tell the TOS octet, or traffic class, of what comes.
func (u *linuxDatagrams) tellTrafficClass() error {
	if u.l.world.stack.Is6() {
		return unix.SetsockoptInt(u.fd, unix.IPPROTO_IPV6, unix.IPV6_RECVTCLASS, 1)
	}
	return unix.SetsockoptInt(u.fd, unix.IPPROTO_IP, unix.IP_RECVTOS, 1)
}

func (u *linuxDatagrams) Join(group netip.Addr) error {
	return u.membership(group, unix.IP_ADD_MEMBERSHIP, unix.IPV6_JOIN_GROUP)
}

func (u *linuxDatagrams) Leave(group netip.Addr) error {
	return u.membership(group, unix.IP_DROP_MEMBERSHIP, unix.IPV6_LEAVE_GROUP)
}

// membership sets the option, of IPv4 or IPv6, for the group on the TUN interface.
func (u *linuxDatagrams) membership(group netip.Addr, option4, option6 int) error {
	ifr, err := unix.NewIfreq(tunName)
	if err == nil {
		err = unix.IoctlIfreq(u.fd, unix.SIOCGIFINDEX, ifr)
	}
	if err != nil {
		return fmt.Errorf("packet: the index of %s: %w", tunName, err)
	}
	if group.Is6() {
		return unix.SetsockoptIPv6Mreq(u.fd, unix.IPPROTO_IPV6, option6, &unix.IPv6Mreq{Multiaddr: group.As16(), Interface: ifr.Uint32()})
	}
	return unix.SetsockoptIPMreqn(u.fd, unix.IPPROTO_IP, option4, &unix.IPMreqn{Multiaddr: group.As4(), Ifindex: int32(ifr.Uint32())})
}

func (u *linuxDatagrams) Send(p []byte, addr netip.AddrPort) (int, error) {
	var to unix.Sockaddr
	if !u.connected {
		to = sockaddr(addr)
	}
	n, err := unix.SendmsgN(u.fd, p, nil, to, unix.MSG_NOSIGNAL)
	return max(n, 0), err
}

func (u *linuxDatagrams) Recv(p []byte) (int, netip.AddrPort, error) {
	var oob [128]byte
	n, oobn, _, from, err := unix.Recvmsg(u.fd, p, oob[:], 0)
	if err != nil {
		return 0, netip.AddrPort{}, err
	}
	if err := u.tell(oob[:oobn]); err != nil {
		return 0, netip.AddrPort{}, err
	}
	switch a := from.(type) {
	case *unix.SockaddrInet4:
		return n, netip.AddrPortFrom(netip.AddrFrom4(a.Addr), uint16(a.Port)), nil
	case *unix.SockaddrInet6:
		return n, netip.AddrPortFrom(netip.AddrFrom16(a.Addr), uint16(a.Port)), nil
	}
	return n, netip.AddrPort{}, fmt.Errorf("packet: a datagram from %T", from)
}

// tell takes the traffic class from the control messages of a datagram.
func (u *linuxDatagrams) tell(control []byte) error {
	u.ecn = 0
	for len(control) > 0 {
		h, data, rest, err := unix.ParseOneSocketControlMessage(control)
		if err != nil {
			return fmt.Errorf("packet: control messages: %w", err)
		}
		control = rest
		switch {
		case h.Level == unix.IPPROTO_IP && h.Type == unix.IP_TOS && len(data) >= 1:
			u.ecn = data[0] & 3
		case h.Level == unix.IPPROTO_IPV6 && h.Type == unix.IPV6_TCLASS && len(data) >= 4:
			u.ecn = uint8(binary.NativeEndian.Uint32(data)) & 3
		}
	}
	return nil
}
