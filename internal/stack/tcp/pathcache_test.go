package tcp

import (
	"net/netip"
	"testing"
	"time"

	"github.com/zctap/zctap/internal/mono"
)

// TestPathCache: what is learned counts for its time, the narrowest of a host's paths,
// and for so many hosts.
func TestPathCache(t *testing.T) {
	var p pathCache
	now := mono.Time(time.Hour)
	host := func(i int) netip.Addr { return netip.AddrFrom4([4]byte{10, 0, byte(i >> 8), byte(i)}) }
	want := func(i int, at mono.Time, mtu uint32, life time.Duration) {
		t.Helper()
		got, until := p.recall(at, host(i))
		if got != mtu || mtu != 0 && until.Sub(at) != life {
			t.Errorf("host %d: %d for %v, want %d for %v", i, got, until.Sub(at), mtu, life)
		}
	}
	want(1, now, 0, 0)
	p.learn(now, host(1), 1300)
	p.learn(now.Add(time.Minute), host(1), 1400) // another path
	p.learn(now, host(2), 600)
	want(1, now.Add(time.Minute), 1300, pathLife)
	want(2, now.Add(pathLife-1), 600, 1)
	want(2, now.Add(pathLife), 0, 0)
	want(2, now, 0, 0) // it is gone
	p.forget(host(1))
	want(1, now, 0, 0)
	for i := range 10 * maxPaths {
		p.learn(now, host(i), 1000)
	}
	if len(p.hosts) != maxPaths {
		t.Errorf("%d hosts are remembered", len(p.hosts))
	}
	want(9*maxPaths-1, now, 0, 0)
	want(9*maxPaths, now, 1000, pathLife)
}

// TestLearnPathWithoutLength: routers that do not say what passes have the next plateau tried below
// what is known, be it less than what was sent (RFC 1191 section 7).
func TestLearnPathWithoutLength(t *testing.T) {
	s := newScript(t, 64, nil)
	peer := testTuple.Remote.Addr()
	for _, want := range []uint32{1064, minPathMTU4, minPathMTU4} {
		s.sh.LearnPath(s.now, peer, 0, 1500)
		if got, _ := s.sh.paths.recall(s.now, peer); got != want {
			t.Errorf("packets of %d, want %d", got, want)
		}
	}
}

// TestRecalledPathLife: what others have learned of a path does not count longer for who begins with
// it late.
func TestRecalledPathLife(t *testing.T) {
	var until mono.Time
	s := established(t, func(s *script) {
		s.sh.paths.learn(s.now, testTuple.Remote.Addr(), 1040)
		until = s.now.Add(pathLife)
		s.now = s.now.Add(pathLife / 2)
	})
	if s.c.snd.mss != 1000 || s.c.path.raise != until {
		t.Errorf("segments of %d, for %v beyond what was learned", s.c.snd.mss, s.c.path.raise.Sub(until))
	}
}
