//go:build linux

package ksock

import (
	"net/netip"
	"os"
	"sync"

	"golang.org/x/sys/unix"
)

// haveIPv6 reports whether IPv6 sockets can be made and bound here: the module
// may be missing (EAFNOSUPPORT), or IPv6 switched off by sysctl, in which case
// a socket can be made but no address be bound.
var haveIPv6 = sync.OnceValue(func() bool {
	s, err := open(unix.AF_INET6, unix.SOCK_STREAM, true)
	if err != nil {
		return false
	}
	defer s.Close()
	return unix.Bind(s.fd, &unix.SockaddrInet6{Addr: netip.IPv6Loopback().As16()}) == nil
})

// place is where a socket of ours is to be: its family, and the addresses in
// that family.
type place struct {
	family        int
	v6only        bool
	local, remote netip.AddrPort
}

// locate decides on the family as the net package does. network ends in "4",
// "6" or neither. A valid address decides; two must agree. An unspecified local
// address without a remote one means every address there is: an IPv6 socket
// that takes IPv4 too, or an IPv4 one where there is no IPv6. EAFNOSUPPORT if
// an address is not of the network's family.
func locate(network string, local, remote netip.AddrPort) (place, error) {
	local, remote = unmap(local), unmap(remote)
	p := place{local: local, remote: remote}
	wild := !local.IsValid() || local.Addr().IsUnspecified()
	switch last := network[len(network)-1]; {
	case last == '4':
		p.family = unix.AF_INET
	case last == '6':
		p.family, p.v6only = unix.AF_INET6, true
	case remote.IsValid():
		p.family = familyOf(remote.Addr())
	case !wild:
		p.family = familyOf(local.Addr())
	case haveIPv6():
		p.family = unix.AF_INET6
	default:
		p.family = unix.AF_INET
	}
	if wild {
		every := netip.IPv4Unspecified()
		if p.family == unix.AF_INET6 {
			every = netip.IPv6Unspecified()
		}
		p.local = netip.AddrPortFrom(every, local.Port())
	}
	for _, a := range []netip.AddrPort{p.local, p.remote} {
		if a.IsValid() && familyOf(a.Addr()) != p.family {
			return p, &os.SyscallError{Syscall: "socket " + network + " for " + a.String(), Err: unix.EAFNOSUPPORT}
		}
	}
	return p, nil
}

func familyOf(a netip.Addr) int {
	if a.Is4() {
		return unix.AF_INET
	}
	return unix.AF_INET6
}

func unmap(a netip.AddrPort) netip.AddrPort {
	return netip.AddrPortFrom(a.Addr().Unmap(), a.Port())
}
