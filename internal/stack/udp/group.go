package udp

import (
	"fmt"
	"net/netip"
	"slices"
	"syscall"
)

// maxGroups is the groups that one socket can join, as in Linux
// (net.ipv4.igmp_max_memberships).
const maxGroups = 20

// Join makes s receive what is sent to the multicast group a. Errors: EADDRINUSE,
// EAFNOSUPPORT, ENOBUFS. The engine's goroutine, as Leave and Joined.
func (s *Socket) Join(a netip.Addr) error {
	switch {
	case !s.has(a.Is6()):
		return fmt.Errorf("group %v on a socket at %v: %w", a, s.Local, syscall.EAFNOSUPPORT)
	case s.Joined(a):
		return fmt.Errorf("group %v is joined already: %w", a, syscall.EADDRINUSE)
	case len(s.Groups) == maxGroups:
		return fmt.Errorf("group %v: the socket has %d groups: %w", a, maxGroups, syscall.ENOBUFS)
	}
	s.Groups = append(s.Groups, a)
	return nil
}

// Leave takes Join back. EADDRNOTAVAIL if a is not joined.
func (s *Socket) Leave(a netip.Addr) error {
	i := slices.Index(s.Groups, a)
	if i < 0 {
		return fmt.Errorf("group %v is not joined: %w", a, syscall.EADDRNOTAVAIL)
	}
	s.Groups = slices.Delete(s.Groups, i, i+1)
	return nil
}

// Joined reports whether s has joined the group a.
func (s *Socket) Joined(a netip.Addr) bool { return slices.Contains(s.Groups, a) }

// has reports whether s receives over IPv6, or over IPv4.
func (s *Socket) has(ipv6 bool) bool {
	for i := range s.Keys {
		if s.Keys[i].Local.Addr().Is6() == ipv6 {
			return true
		}
	}
	return false
}
