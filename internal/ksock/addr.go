//go:build linux

package ksock

import (
	"encoding/binary"
	"net/netip"

	"golang.org/x/sys/unix"
)

// sockaddrLen is the size of struct sockaddr_in6, the larger of the two.
const sockaddrLen = unix.SizeofSockaddrInet6

// sockaddr is a struct sockaddr_in (family 2, port 2, address 4, zero 8) or
// sockaddr_in6 (family 2, port 2, flow information 4, address 16, scope 4) in
// memory. Family and scope are in the machine's byte order, the port in the
// network's.
type sockaddr [sockaddrLen]byte

// put writes a for a socket of family and returns the length in bytes. An IPv4
// address is mapped where the socket's family is IPv6; an IPv6 address on an
// IPv4 socket is EAFNOSUPPORT, an unknown zone EINVAL.
func (b *sockaddr) put(family int, a netip.AddrPort) (int, error) {
	binary.NativeEndian.PutUint16(b[0:], uint16(family))
	binary.BigEndian.PutUint16(b[2:], a.Port())
	ip := a.Addr()
	if family == unix.AF_INET {
		if ip = ip.Unmap(); !ip.Is4() {
			return 0, unix.EAFNOSUPPORT
		}
		v4 := ip.As4()
		copy(b[4:8], v4[:])
		clear(b[8:16])
		return unix.SizeofSockaddrInet4, nil
	}
	scope, err := zoneIndex(ip.Zone())
	if err != nil {
		return 0, err
	}
	v6 := ip.As16() // maps IPv4
	clear(b[4:8])
	copy(b[8:24], v6[:])
	binary.NativeEndian.PutUint32(b[24:], scope)
	return unix.SizeofSockaddrInet6, nil
}

// get reads what the kernel wrote; invalid if that is no IP address. IPv4-mapped
// addresses are unmapped.
func (b *sockaddr) get() netip.AddrPort {
	port := binary.BigEndian.Uint16(b[2:])
	switch binary.NativeEndian.Uint16(b[0:]) {
	case unix.AF_INET:
		return netip.AddrPortFrom(netip.AddrFrom4([4]byte(b[4:8])), port)
	case unix.AF_INET6:
		ip := netip.AddrFrom16([16]byte(b[8:24])).Unmap()
		if scope := binary.NativeEndian.Uint32(b[24:]); scope != 0 && ip.Is6() {
			ip = ip.WithZone(zoneName(scope))
		}
		return netip.AddrPortFrom(ip, port)
	}
	return netip.AddrPort{}
}

// toSockaddr is a as the unix package wants it, for calls off the data path.
func toSockaddr(family int, a netip.AddrPort) (unix.Sockaddr, error) {
	if family == unix.AF_INET {
		return &unix.SockaddrInet4{Port: int(a.Port()), Addr: a.Addr().As4()}, nil
	}
	scope, err := zoneIndex(a.Addr().Zone())
	if err != nil {
		return nil, err
	}
	return &unix.SockaddrInet6{Port: int(a.Port()), Addr: a.Addr().As16(), ZoneId: scope}, nil
}

// fromSockaddr is the reverse of toSockaddr, with IPv4-mapped addresses unmapped.
func fromSockaddr(sa unix.Sockaddr) netip.AddrPort {
	switch sa := sa.(type) {
	case *unix.SockaddrInet4:
		return netip.AddrPortFrom(netip.AddrFrom4(sa.Addr), uint16(sa.Port))
	case *unix.SockaddrInet6:
		ip := netip.AddrFrom16(sa.Addr).Unmap()
		if sa.ZoneId != 0 && ip.Is6() {
			ip = ip.WithZone(zoneName(sa.ZoneId))
		}
		return netip.AddrPortFrom(ip, uint16(sa.Port))
	}
	return netip.AddrPort{}
}
