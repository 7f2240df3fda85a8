//go:build linux

package hostnet

import (
	"cmp"
	"encoding/binary"
	"math/bits"
	"net/netip"
	"slices"
)

// maxRoutes bounds what one table holds, at 32 bytes each. The IPv4 Internet
// has about a million.
const maxRoutes = 2 << 20

// verdict is what a route says of the packets that it matches.
type verdict uint8

const (
	noRoute   verdict = iota
	unicast           // goes to hop.gateway, or to where it is addressed
	local             // stays in the host
	broadcast         // goes to all on the link
	multicast
	reject // blackhole, unreachable, prohibit
	throw  // ends the lookup in this table
)

// hop is what many routes have in common. It is comparable.
type hop struct {
	verdict verdict
	scope   uint8      // of the destination: RT_SCOPE_*
	gateway netip.Addr // not valid if there is none; may be IPv6 for an IPv4 route (RFC 5549)
	source  netip.Addr // the preferred source address, if valid
}

// key is an address as a number, IPv4 in the uppermost bits.
type key struct{ hi, lo uint64 }

// keyOf returns the key of an address without a zone that is not IPv4 in IPv6.
func keyOf(a netip.Addr) key {
	if a.Is4() {
		b := a.As4()
		return key{hi: uint64(binary.BigEndian.Uint32(b[:])) << 32}
	}
	b := a.As16()
	return key{binary.BigEndian.Uint64(b[:]), binary.BigEndian.Uint64(b[8:])}
}

// prefix returns the first n bits of k, the others zero.
func (k key) prefix(n uint8) key {
	if n <= 64 {
		// A shift by the width or more gives zero.
		return key{hi: k.hi &^ (^uint64(0) >> n)}
	}
	return key{k.hi, k.lo &^ (^uint64(0) >> (n - 64))}
}

// common is the number of bits that k and other begin with in common.
func (k key) common(other key) int {
	if x := k.hi ^ other.hi; x != 0 {
		return bits.LeadingZeros64(x)
	}
	return 64 + bits.LeadingZeros64(k.lo^other.lo)
}

func (k key) compare(other key) int {
	return cmp.Or(cmp.Compare(k.hi, other.hi), cmp.Compare(k.lo, other.lo))
}

// fib is a table for longest-prefix matches. Its nodes are sorted by prefix,
// the shorter first. Prefixes are nested or apart, so the longest that contains
// an address is the last node that does not lie beyond the address, or one of
// the nodes that enclose that one. A nil fib is empty.
type fib struct {
	nodes []node
	hops  []hop // in the order in which nodes first refer to them
}

// node is one prefix. It is comparable.
type node struct {
	key
	bits   uint8
	parent int32 // the node of the longest prefix that encloses this one, or -1
	hop    uint32
}

// lookup returns the hop of the longest prefix that contains k.
func (f *fib) lookup(k key) (hop, bool) {
	if f == nil {
		return hop{}, false
	}
	lo, hi := 0, len(f.nodes) // the nodes below lo do not lie beyond k, those from hi on do
	for lo < hi {
		mid := int(uint(lo+hi) >> 1)
		if f.nodes[mid].compare(k) <= 0 {
			lo = mid + 1
		} else {
			hi = mid
		}
	}
	for i := int32(lo) - 1; i >= 0; i = f.nodes[i].parent {
		if n := &f.nodes[i]; k.prefix(n.bits) == n.key {
			return f.hops[n.hop], true
		}
	}
	return hop{}, false
}

func (f *fib) equal(other *fib) bool {
	if f == nil || other == nil {
		return f == other
	}
	return slices.Equal(f.nodes, other.nodes) && slices.Equal(f.hops, other.hops)
}

// candidate is a route on its way into a fib.
type candidate struct {
	node
	metric uint32 // the lowest is the one that counts
	rank   uint8  // of those with the same metric, the lowest
}

// fibBuilder puts a fib together. Of the routes to one prefix the best
// counts, and of equals the one that was added first.
type fibBuilder struct {
	candidates []candidate
	hops       []hop
	index      map[hop]uint32
	ignored    uint64
}

// add adds a route; p is masked.
func (b *fibBuilder) add(p netip.Prefix, metric uint32, rank uint8, h hop) {
	if len(b.candidates) >= maxRoutes {
		b.ignored++
		return
	}
	if b.index == nil {
		b.index = make(map[hop]uint32)
	}
	i, ok := b.index[h]
	if !ok {
		i = uint32(len(b.hops))
		b.hops = append(b.hops, h)
		b.index[h] = i
	}
	n := node{key: keyOf(p.Addr()), bits: uint8(p.Bits()), hop: i}
	b.candidates = append(b.candidates, candidate{n, metric, rank})
}

// build returns the table; the builder is used up. The result does not depend
// on the order in which different prefixes were added.
func (b *fibBuilder) build() *fib {
	if len(b.candidates) == 0 {
		return nil
	}
	slices.SortStableFunc(b.candidates, func(x, y candidate) int {
		return cmp.Or(
			x.compare(y.key), cmp.Compare(x.bits, y.bits),
			cmp.Compare(x.metric, y.metric), cmp.Compare(x.rank, y.rank))
	})
	f := &fib{nodes: make([]node, 0, len(b.candidates))}
	renumbered := make(map[uint32]uint32)
	enclosing := int32(-1) // the node before, or one that encloses it
	for _, c := range b.candidates {
		n := c.node
		if last := len(f.nodes) - 1; last >= 0 && f.nodes[last].key == n.key && f.nodes[last].bits == n.bits {
			continue
		}
		for enclosing >= 0 && n.prefix(f.nodes[enclosing].bits) != f.nodes[enclosing].key {
			enclosing = f.nodes[enclosing].parent
		}
		n.parent = enclosing
		i, ok := renumbered[n.hop]
		if !ok {
			i = uint32(len(f.hops))
			f.hops = append(f.hops, b.hops[n.hop])
			renumbered[n.hop] = i
		}
		n.hop = i
		enclosing = int32(len(f.nodes))
		f.nodes = append(f.nodes, n)
	}
	f.nodes = slices.Clip(f.nodes)
	return f
}
