package stack

import (
	"fmt"
	"net/netip"
	"syscall"

	"github.com/zctap/zctap/internal/wire"
)

// Ephemeral ports, as Linux has them (net.ipv4.ip_local_port_range).
const (
	firstEphemeral = 32768
	ephemerals     = 60999 - firstEphemeral + 1
)

// ephemeral picks a port for which free holds: a random one, or the next one
// behind it that will do (RFC 6056 section 3.3.1). 0 if there is none.
func (s *Stack) ephemeral(free func(port uint16) bool) uint16 {
	start := s.rand.IntN(ephemerals)
	for i := range ephemerals {
		port := uint16(firstEphemeral + (start+i)%ephemerals)
		if free(port) {
			return port
		}
	}
	return 0
}

// families are the IP versions that network, which is proto followed by nothing,
// "4" or "6", may use with the local address addr, which may be invalid. Errors:
// EAFNOSUPPORT, EADDRNOTAVAIL.
func (s *Stack) families(network, proto string, addr netip.Addr) (v4, v6 bool, err error) {
	switch network {
	case proto:
		v4, v6 = true, true
	case proto + "4":
		v4 = true
	case proto + "6":
		v6 = true
	default:
		return false, false, fmt.Errorf("network %q: %w", network, syscall.EAFNOSUPPORT)
	}
	if addr.Is4In6() || addr.Zone() != "" {
		return false, false, fmt.Errorf("address %v: %w", addr, syscall.EADDRNOTAVAIL)
	}
	if addr.IsValid() {
		// [::] is all addresses of both versions to "tcp" and "udp", as for the
		// kernel's sockets and package net.
		if both := addr == netip.IPv6Unspecified() && network == proto; !both {
			v4, v6 = v4 && addr.Is4(), v6 && addr.Is6()
			if !v4 && !v6 {
				return false, false, fmt.Errorf("address %v for network %q: %w", addr, network, syscall.EAFNOSUPPORT)
			}
		}
		// To receive what is sent to a group, once joined, or to all hosts.
		many := proto == "udp" && (addr.IsMulticast() || s.addrs.everybody(addr))
		if !addr.IsUnspecified() && !s.addrs.own(addr) && !many {
			return false, false, fmt.Errorf("address %v is not this interface's: %w", addr, syscall.EADDRNOTAVAIL)
		}
	}
	v4, v6 = v4 && s.addrs.has(false), v6 && s.addrs.has(true)
	if !v4 && !v6 {
		return false, false, fmt.Errorf("network %q: the interface has no such address: %w", network, syscall.EADDRNOTAVAIL)
	}
	return v4, v6, nil
}

// localKeys are the keys of a socket that receives from everybody at addr, which
// may be invalid or unspecified for all addresses of the versions.
func localKeys(proto uint8, addr netip.AddrPort, v4, v6 bool) (keys []wire.Tuple) {
	if a := addr.Addr(); a.IsValid() && !a.IsUnspecified() {
		return []wire.Tuple{{Local: addr, Proto: proto}}
	}
	if v4 {
		keys = append(keys, wire.Tuple{Local: netip.AddrPortFrom(anyAddr(false), addr.Port()), Proto: proto})
	}
	if v6 {
		keys = append(keys, wire.Tuple{Local: netip.AddrPortFrom(anyAddr(true), addr.Port()), Proto: proto})
	}
	return keys
}

// overlap reports whether two local ends would receive the same packets: the same
// port and version, and the same address or all of them.
func overlap(a, b netip.AddrPort) bool {
	x, y := a.Addr(), b.Addr()
	return a.Port() == b.Port() && x.Is4() == y.Is4() && (x == y || x.IsUnspecified() || y.IsUnspecified())
}

// local finds the address and port of a flow to remote. local's address may be
// invalid or unspecified, its port 0. free tells whether the flow would be the
// only one of its key. Errors as of families, and EADDRINUSE, EADDRNOTAVAIL when
// all ports are in use, ENETUNREACH for a remote end that cannot be one.
func (s *Stack) local(network, proto string, local, remote netip.AddrPort, free func(netip.AddrPort) bool) (netip.AddrPort, error) {
	r := remote.Addr()
	if !r.IsValid() || r.Is4In6() || r.Zone() != "" || remote.Port() == 0 {
		return netip.AddrPort{}, fmt.Errorf("remote address %v: %w", remote, syscall.EADDRNOTAVAIL)
	}
	v4, v6, err := s.families(network, proto, local.Addr())
	if err != nil {
		return netip.AddrPort{}, err
	}
	if r.Is4() && !v4 || r.Is6() && !v6 {
		return netip.AddrPort{}, fmt.Errorf("remote address %v for network %q from %v: %w", remote, network, local, syscall.EAFNOSUPPORT)
	}
	if l := local.Addr(); l.IsMulticast() || s.addrs.everybody(l) {
		return netip.AddrPort{}, fmt.Errorf("a flow from %v, which is no host's address: %w", l, syscall.EADDRNOTAVAIL)
	}
	all := s.addrs.everybody(r)
	if proto != "udp" && (all || r.IsMulticast()) || s.addrs.martian(r) && !all {
		return netip.AddrPort{}, fmt.Errorf("remote address %v is no host's on this interface: %w", remote, syscall.ENETUNREACH)
	}
	a := local.Addr()
	if !a.IsValid() || a.IsUnspecified() {
		a, _ = s.addrs.source(r)
	}
	if local.Port() != 0 {
		l := netip.AddrPortFrom(a, local.Port())
		if !free(l) {
			return netip.AddrPort{}, fmt.Errorf("from %v to %v: %w", l, remote, syscall.EADDRINUSE)
		}
		return l, nil
	}
	port := s.ephemeral(func(p uint16) bool { return free(netip.AddrPortFrom(a, p)) })
	if port == 0 {
		return netip.AddrPort{}, fmt.Errorf("all ports from %v to %v are in use: %w", a, remote, syscall.EADDRNOTAVAIL)
	}
	return netip.AddrPortFrom(a, port), nil
}
