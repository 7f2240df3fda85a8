package tcp

import (
	"net/netip"
	"slices"

	"github.com/zctap/zctap/internal/mono"
)

// maxPaths is the hosts whose path MTU is remembered. Few paths carry less than both
// their ends, and who has no room here learns anew.
const maxPaths = 256

// pathCache remembers what routers have said of the paths to hosts, for connections to
// come (RFC 1191 section 6.2, RFC 8201 section 5.2), and forgets it in time (section
// 5.3). What only timeouts have shown is not in it.
type pathCache struct {
	hosts   []Path // the oldest first
	changes uint64 // how often hosts has changed
}

// A Path is what was learned of the way to a host: packets of MTU bytes pass. It counts
// until a time.
type Path struct {
	Peer  netip.Addr
	MTU   uint32
	Until mono.Time
}

func (p *pathCache) index(peer netip.Addr) int {
	return slices.IndexFunc(p.hosts, func(l Path) bool { return l.Peer == peer })
}

// learn remembers that packets to peer may have mtu bytes. Of several paths the
// narrowest counts.
func (p *pathCache) learn(now mono.Time, peer netip.Addr, mtu uint32) {
	if old, _ := p.recall(now, peer); old != 0 {
		mtu = min(mtu, old)
		p.forget(peer)
	}
	if len(p.hosts) == maxPaths {
		p.hosts = slices.Delete(p.hosts, 0, 1)
	}
	p.hosts = append(p.hosts, Path{peer, mtu, now.Add(pathLife)})
	p.changes++
}

// recall is what is known of the path to peer, and until when; 0: nothing.
func (p *pathCache) recall(now mono.Time, peer netip.Addr) (mtu uint32, until mono.Time) {
	i := p.index(peer)
	if i < 0 {
		return 0, 0
	}
	if l := &p.hosts[i]; now.Before(l.Until) {
		return l.MTU, l.Until
	}
	p.drop(i)
	return 0, 0
}

// forget is for a path that carries longer packets after all.
func (p *pathCache) forget(peer netip.Addr) {
	if i := p.index(peer); i >= 0 {
		p.drop(i)
	}
}

func (p *pathCache) drop(i int) {
	p.hosts = slices.Delete(p.hosts, i, i+1)
	p.changes++
}

// Paths are those that were learned, in no order, for who sends datagrams; the slice is the
// caller's. PathChanges says whether they are others than before.
func (sh *Shared) Paths() []Path { return slices.Clone(sh.paths.hosts) }

// PathChanges is how often what Paths returns has changed.
func (sh *Shared) PathChanges() uint64 { return sh.paths.changes }

// LearnPath takes in that a router has dropped a datagram to peer for its length, since
// packets longer than mtu do not pass; 0: it does not say how long they may be, and most is
// what was believed. The caller has seen that the datagram was ours. False: no path has so
// short packets.
func (sh *Shared) LearnPath(now mono.Time, peer netip.Addr, mtu, most uint32) bool {
	least := uint32(minPathMTU4)
	if peer.Is6() {
		if least = minPathMTU6; mtu < least {
			return false // RFC 8201 section 4
		}
	}
	if known, _ := sh.paths.recall(now, peer); known != 0 {
		most = min(most, known)
	}
	if mtu == 0 {
		mtu = plateauBelow(most, least)
	}
	if mtu = max(mtu, least); mtu < most {
		sh.paths.learn(now, peer, mtu)
	}
	return true
}

// recallPath makes the segments of a connection that begins fit what others have
// learned of its path.
func (c *Conn) recallPath(now mono.Time) {
	if mtu, until := c.sh.paths.recall(now, c.tuple.Remote.Addr()); mtu != 0 {
		c.shorten(now, mtu, until.Sub(now))
	}
}
