//go:build linux

package hostnet

import (
	"net/netip"
	"slices"

	"golang.org/x/sys/unix"
)

// state is everything but the neighbors. It is never changed once a Host
// has it: what changes is copied.
type state struct {
	link   link
	addrs  []address // in the kernel's order
	routes routes
	policy bool // there are rules beyond the default ones
}

func (s *state) equal(other *state) bool {
	return s.link == other.link && s.policy == other.policy &&
		slices.Equal(s.addrs, other.addrs) && s.routes.equal(&other.routes)
}

// hasLinkLocal reports whether the interface has a link-local address of IPv6
// that is used.
func (s *state) hasLinkLocal() bool {
	return slices.ContainsFunc(s.addrs, func(a address) bool {
		return a.prefix.Addr().Is6() && a.prefix.Addr().IsLinkLocalUnicast() && a.usable()
	})
}

// link is the interface itself. It is comparable.
type link struct {
	name      string
	mtu       int
	flags     uint32 // IFF_*
	kind      uint16 // ARPHRD_*
	mac       [6]byte
	broadcast [6]byte
	deleted   bool
}

// up reports whether the link is up and running. The kernel sets IFF_RUNNING by
// the operational state (RFC 2863), and only for a link that has a carrier.
func (l *link) up() bool {
	const want = unix.IFF_UP | unix.IFF_RUNNING
	return l.flags&want == want
}

// ethernet reports whether frames on the link have MAC addresses.
func (l *link) ethernet() bool {
	return l.kind == unix.ARPHRD_ETHER || l.kind == unix.ARPHRD_LOOPBACK
}

// address is one address of the interface. It is comparable.
type address struct {
	prefix netip.Prefix
	flags  uint32 // IFA_F_*
	scope  uint8  // RT_SCOPE_*
}

// usable reports whether the kernel receives for the address. An optimistic
// one (RFC 4429) is used while it is checked for duplicates.
func (a *address) usable() bool {
	if a.flags&unix.IFA_F_DADFAILED != 0 {
		return false
	}
	return a.flags&unix.IFA_F_TENTATIVE == 0 || a.flags&unix.IFA_F_OPTIMISTIC != 0
}

// deprecated reports whether others are preferred as a source address.
func (a *address) deprecated() bool {
	return a.flags&(unix.IFA_F_DEPRECATED|unix.IFA_F_OPTIMISTIC) != 0
}

// routes are the routes that count for the interface.
type routes struct {
	local, main [2]*fib // IPv4, IPv6
}

func (r *routes) equal(other *routes) bool {
	for i := range r.local {
		if !r.local[i].equal(other.local[i]) || !r.main[i].equal(other.main[i]) {
			return false
		}
	}
	return true
}

// deletedState is the state of an interface that is gone.
func deletedState(last *state) *state {
	return &state{link: link{name: last.link.name, deleted: true}}
}
