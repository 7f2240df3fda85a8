package stack

import (
	"fmt"
	"net/netip"
	"slices"
	"syscall"

	"github.com/zctap/zctap/internal/mono"
	"github.com/zctap/zctap/internal/stack/tcp"
	"github.com/zctap/zctap/internal/wire"
)

// addrs is the addresses of the interface.
type addrs struct {
	prefixes []netip.Prefix // each address with the network that it is in
	// broadcasts are the addresses of all hosts in those networks.
	broadcasts []netip.Addr
}

func newAddrs(prefixes []netip.Prefix) (a addrs, err error) {
	for _, p := range prefixes {
		ip := p.Addr()
		if !p.IsValid() || ip.Is4In6() || ip.IsUnspecified() || ip.IsMulticast() || ip.IsLoopback() {
			return addrs{}, fmt.Errorf("stack: %v cannot be an interface's address: %w", p, syscall.EADDRNOTAVAIL)
		}
		a.prefixes = append(a.prefixes, p)
		if b := wire.Broadcast(p); b.IsValid() {
			a.broadcasts = append(a.broadcasts, b)
		}
	}
	return a, nil
}

// SetPrefixes replaces the interface's own addresses. Errors as of New, on
// which nothing changes.
func (s *Stack) SetPrefixes(prefixes []netip.Prefix) error {
	a, err := newAddrs(prefixes)
	if err == nil {
		s.addrs = a
		s.recent = recentSocket{}
		s.announce()
	}
	return err
}

// SetMTU changes the MTU of connections and datagrams to come, in bytes; the
// driver's own is the upper bound.
func (s *Stack) SetMTU(mtu int) {
	s.tx.SetMTU(mtu)
	s.announce()
}

// outlook is what senders are told of the interface, on whatever goroutine.
type outlook struct {
	addrs            addrs
	mtu              int
	maxUDP4, maxUDP6 int        // payload bytes of a datagram
	paths            []tcp.Path // narrower ones, by address
}

// announce lets senders know of a change.
func (s *Stack) announce() {
	s.pathChanges = s.tcp.PathChanges()
	paths := s.tcp.Paths()
	slices.SortFunc(paths, func(a, b tcp.Path) int { return a.Peer.Compare(b.Peer) })
	s.outlook.Store(&outlook{s.addrs, s.tx.MTU(), s.tx.MaxUDP(false), s.tx.MaxUDP(true), paths})
}

// path is the MTU of the path to peer, in bytes; 0: nothing is known of it.
func (o *outlook) path(now mono.Time, peer netip.Addr) int {
	i, ok := slices.BinarySearchFunc(o.paths, peer, func(p tcp.Path, a netip.Addr) int { return p.Peer.Compare(a) })
	if !ok || !now.Before(o.paths[i].Until) {
		return 0
	}
	return int(o.paths[i].MTU)
}

// own reports whether ip is one of our addresses.
func (a *addrs) own(ip netip.Addr) bool {
	for _, p := range a.prefixes {
		if p.Addr() == ip {
			return true
		}
	}
	return false
}

// has reports whether there is an address of the version.
func (a *addrs) has(ipv6 bool) bool {
	_, ok := a.first(ipv6)
	return ok
}

func (a *addrs) first(ipv6 bool) (netip.Addr, bool) {
	for _, p := range a.prefixes {
		if p.Addr().Is6() == ipv6 {
			return p.Addr(), true
		}
	}
	return netip.Addr{}, false
}

// source is the address to reach remote from: the one in its network, or else
// the first of its version.
func (a *addrs) source(remote netip.Addr) (netip.Addr, bool) {
	for _, p := range a.prefixes {
		if p.Contains(remote) {
			return p.Addr(), true
		}
	}
	return a.first(remote.Is6())
}

// martian reports whether nobody on this wire can have the address ip, so that a
// packet from there must not be answered: nobody's, a loopback's, our own (the
// "land" attack), or a network's broadcast (RFC 1122 section 3.2.1.3). Sources that
// are no host's anywhere the parser has refused.
func (a *addrs) martian(ip netip.Addr) bool {
	return ip.IsUnspecified() || ip.IsLoopback() || a.own(ip) || slices.Contains(a.broadcasts, ip)
}

// everybody reports whether ip is the address of all hosts, on the wire or in one of
// our networks (RFC 1122 section 3.2.1.3 (c) and (d)).
func (a *addrs) everybody(ip netip.Addr) bool {
	return ip == wire.LimitedBroadcast || slices.Contains(a.broadcasts, ip)
}
