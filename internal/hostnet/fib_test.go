//go:build linux

package hostnet

import (
	"encoding/binary"
	"math/rand/v2"
	"net/netip"
	"testing"
)

// naiveRoute is a route as naive has it.
type naiveRoute struct {
	prefix netip.Prefix
	metric uint32
	rank   uint8
	hop    hop
}

// naive looks at all routes: the longest prefix, then the lowest metric and rank,
// then the first.
func naive(routes []naiveRoute, a netip.Addr) (best naiveRoute, ok bool) {
	for _, r := range routes {
		if !r.prefix.Contains(a) {
			continue
		}
		if !ok || r.prefix.Bits() > best.prefix.Bits() || r.prefix.Bits() == best.prefix.Bits() &&
			(r.metric < best.metric || r.metric == best.metric && r.rank < best.rank) {
			best, ok = r, true
		}
	}
	return best, ok
}

// randomAddr is an address out of a few, so that prefixes nest.
func randomAddr(rng *rand.Rand, v6 bool) netip.Addr {
	if !v6 {
		v := rng.Uint32()
		if rng.IntN(3) > 0 {
			v = v&0x0f0f00ff | 0x0a000000
		}
		return netip.AddrFrom4([4]byte(binary.BigEndian.AppendUint32(nil, v)))
	}
	hi, lo := rng.Uint64(), rng.Uint64()
	if rng.IntN(3) > 0 {
		hi, lo = hi&0x00000f0f_000000ff|0xfd000000_00000000, lo&0xf00000000000000f
	}
	b := binary.BigEndian.AppendUint64(nil, hi)
	return netip.AddrFrom16([16]byte(binary.BigEndian.AppendUint64(b, lo)))
}

func TestFibAgainstNaive(t *testing.T) {
	for _, v6 := range []bool{false, true} {
		for _, n := range []int{0, 1, 2, 10, 300, 10_000} {
			rng := rand.New(rand.NewPCG(uint64(n), 4711))
			var routes []naiveRoute
			var b fibBuilder
			for i := range n {
				a := randomAddr(rng, v6)
				p := netip.PrefixFrom(a, rng.IntN(a.BitLen()+1)).Masked()
				if len(routes) > 0 && rng.IntN(8) == 0 {
					p = routes[rng.IntN(len(routes))].prefix // once more
				}
				r := naiveRoute{p, uint32(rng.IntN(3)), uint8(rng.IntN(3)), hop{verdict: unicast, scope: uint8(i), gateway: randomAddr(rng, v6)}}
				routes = append(routes, r)
				b.add(r.prefix, r.metric, r.rank, r.hop)
			}
			f := b.build()
			lookups := 2000
			if testing.Short() {
				lookups = 200
			}
			found := 0
			for range lookups {
				a := randomAddr(rng, v6)
				if n > 0 && rng.IntN(2) == 0 { // near the edge of a prefix
					p := routes[rng.IntN(n)].prefix
					a = [...]netip.Addr{p.Addr(), p.Addr().Prev(), lastOf(p), lastOf(p).Next()}[rng.IntN(4)]
					if !a.IsValid() {
						continue
					}
				}
				got, gotOK := f.lookup(keyOf(a))
				want, wantOK := naive(routes, a)
				if gotOK != wantOK || got != want.hop {
					t.Fatalf("%d routes: %s: %v, %v; want %v by %s", n, a, got, gotOK, want.hop, want.prefix)
				}
				if gotOK {
					found++
				}
			}
			if n >= 300 && found < lookups/4 {
				t.Errorf("%d routes: only %d of %d lookups found one", n, found, lookups)
			}
		}
	}
}

// lastOf is the last address of a prefix.
func lastOf(p netip.Prefix) netip.Addr {
	b := p.Addr().AsSlice()
	for i := p.Bits(); i < 8*len(b); i++ {
		b[i/8] |= 0x80 >> (i % 8)
	}
	a, _ := netip.AddrFromSlice(b)
	return a
}

func TestFibDoesNotDependOnOrder(t *testing.T) {
	rng := rand.New(rand.NewPCG(1, 2))
	var x, y, z fibBuilder
	var list []naiveRoute
	seen := make(map[netip.Prefix]bool)
	for i := range 500 {
		a := randomAddr(rng, false)
		r := naiveRoute{prefix: netip.PrefixFrom(a, rng.IntN(33)).Masked(), hop: hop{verdict: unicast, scope: uint8(i % 7)}}
		if !seen[r.prefix] {
			list = append(list, r)
		}
		seen[r.prefix] = true
	}
	for i := range list {
		x.add(list[i].prefix, 0, 0, list[i].hop)
		r := list[len(list)-1-i]
		y.add(r.prefix, 0, 0, r.hop)
		if i > 0 {
			z.add(list[i].prefix, 0, 0, list[i].hop)
		}
	}
	f := x.build()
	if !f.equal(y.build()) {
		t.Error("the order matters")
	}
	if f.equal(z.build()) || f.equal(nil) || !(*fib)(nil).equal(nil) {
		t.Error("different tables are equal")
	}
}

func TestFibIsBounded(t *testing.T) {
	var b fibBuilder
	b.candidates = make([]candidate, maxRoutes)
	b.add(prefix("10.0.0.0/8"), 0, 0, hop{verdict: unicast})
	if b.ignored != 1 || len(b.candidates) != maxRoutes {
		t.Errorf("ignored %d, holds %d", b.ignored, len(b.candidates))
	}
}

func BenchmarkFibLookup(b *testing.B) {
	rng := rand.New(rand.NewPCG(1, 2))
	var fb fibBuilder
	for range 10_000 {
		a := randomAddr(rng, false)
		fb.add(netip.PrefixFrom(a, 8+rng.IntN(25)).Masked(), 0, 0, hop{verdict: unicast})
	}
	f := fb.build()
	var keys [1024]key
	for i := range keys {
		keys[i] = keyOf(randomAddr(rng, false))
	}
	b.ReportAllocs()
	i := 0
	for b.Loop() {
		f.lookup(keys[i%len(keys)])
		i++
	}
}
