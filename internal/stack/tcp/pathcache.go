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
	hosts []learnedPath // the oldest first
}

type learnedPath struct {
	peer  netip.Addr
	mtu   uint32 // bytes
	until mono.Time
}

func (p *pathCache) index(peer netip.Addr) int {
	return slices.IndexFunc(p.hosts, func(l learnedPath) bool { return l.peer == peer })
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
	p.hosts = append(p.hosts, learnedPath{peer, mtu, now.Add(pathLife)})
}

// recall is what is known of the path to peer, and until when; 0: nothing.
func (p *pathCache) recall(now mono.Time, peer netip.Addr) (mtu uint32, until mono.Time) {
	i := p.index(peer)
	if i < 0 {
		return 0, 0
	}
	if l := &p.hosts[i]; now.Before(l.until) {
		return l.mtu, l.until
	}
	p.hosts = slices.Delete(p.hosts, i, i+1)
	return 0, 0
}

// forget is for a path that carries longer packets after all.
func (p *pathCache) forget(peer netip.Addr) {
	if i := p.index(peer); i >= 0 {
		p.hosts = slices.Delete(p.hosts, i, i+1)
	}
}

// recallPath makes the segments of a connection that begins fit what others have
// learned of its path.
func (c *Conn) recallPath(now mono.Time) {
	if mtu, until := c.sh.paths.recall(now, c.tuple.Remote.Addr()); mtu != 0 {
		c.shorten(now, mtu, until.Sub(now))
	}
}
