//go:build linux

package hostnet

import (
	"fmt"
	"math/bits"
	"math/rand/v2"
	"net"
	"net/netip"
	"slices"
	"strings"
	"sync/atomic"

	"golang.org/x/sys/unix"
)

// maxNeighbors bounds the neighbors that are kept. The kernel's own bound,
// sysctl net.ipv4.neigh.default.gc_thresh3, is 1024 by default.
const maxNeighbors = 1 << 16

// State is what the kernel thinks of a neighbor (NUD_* of linux/neighbour.h;
// RFC 4861 section 7.3.2). One bit is set, or none for an entry without a state.
type State uint16

// The states of a neighbor.
const (
	Incomplete State = unix.NUD_INCOMPLETE // asked for, no answer yet
	Reachable  State = unix.NUD_REACHABLE  // answered or confirmed lately
	Stale      State = unix.NUD_STALE      // not lately, but no reason for doubt
	Delay      State = unix.NUD_DELAY      // stale and used: waits for a confirmation
	Probe      State = unix.NUD_PROBE      // and none came: asked directly
	Failed     State = unix.NUD_FAILED     // no answer
	NoARP      State = unix.NUD_NOARP      // never asked, made up by the kernel
	Permanent  State = unix.NUD_PERMANENT  // set by the administrator
)

// Usable reports whether the MAC address of a neighbor in this state is known
// and to be used.
func (s State) Usable() bool {
	return s&(Reachable|Stale|Delay|Probe|NoARP|Permanent) != 0
}

func (s State) String() string {
	names := [...]string{"incomplete", "reachable", "stale", "delay", "probe", "failed", "noarp", "permanent"}
	var set []string
	for i, name := range names {
		if s&(1<<i) != 0 {
			set = append(set, name)
		}
	}
	if set == nil {
		return "none"
	}
	return strings.Join(set, "|")
}

// A Neighbor is an entry of the kernel's neighbor table. It is comparable.
type Neighbor struct {
	Addr  netip.Addr // without a zone
	MAC   [6]byte    // all zero if not known
	State State
}

func (n Neighbor) String() string {
	return fmt.Sprintf("%s at %s %s", n.Addr, net.HardwareAddr(n.MAC[:]), n.State)
}

// neighborTable is a hash table whose buckets are never changed, but exchanged
// as a whole. One goroutine writes.
type neighborTable struct {
	seed    key
	buckets [1024]atomic.Pointer[[]Neighbor]
	count   int // the writer's
}

// init makes the table. Its hash cannot be foreseen: which addresses there are
// neighbors for is up to who is on the link.
func (t *neighborTable) init() { t.seed = key{rand.Uint64(), rand.Uint64()} }

// bucket returns where a is, if anywhere.
func (t *neighborTable) bucket(a netip.Addr) *atomic.Pointer[[]Neighbor] {
	return &t.buckets[hash(a, t.seed)%uint64(len(t.buckets))]
}

// hash spreads addresses over 64 bits, by a product of which neither factor is
// known.
func hash(a netip.Addr, seed key) uint64 {
	k := keyOf(a)
	hi, lo := bits.Mul64(k.hi^seed.hi, k.lo^seed.lo)
	hi, lo = bits.Mul64(hi^lo^k.lo, seed.hi|1)
	return hi ^ lo ^ k.hi*(seed.lo|1)>>32
}

// get returns the entry of an address.
func (t *neighborTable) get(a netip.Addr) (Neighbor, bool) {
	if b := t.bucket(a).Load(); b != nil {
		for _, n := range *b {
			if n.Addr == a {
				return n, true
			}
		}
	}
	return Neighbor{}, false
}

// set puts an entry in or replaces it, and returns what was there. It is not ok
// if the table is full.
func (t *neighborTable) set(n Neighbor) (old Neighbor, ok bool) {
	p := t.bucket(n.Addr)
	var list []Neighbor
	if b := p.Load(); b != nil {
		list = slices.Clone(*b)
	}
	if i := slices.IndexFunc(list, func(x Neighbor) bool { return x.Addr == n.Addr }); i >= 0 {
		old, list[i] = list[i], n
	} else if t.count >= maxNeighbors {
		return old, false
	} else {
		list = append(list, n)
		t.count++
	}
	p.Store(&list)
	return old, true
}

// remove takes an entry out and returns it.
func (t *neighborTable) remove(a netip.Addr) (old Neighbor, ok bool) {
	p := t.bucket(a)
	b := p.Load()
	if b == nil {
		return old, false
	}
	i := slices.IndexFunc(*b, func(x Neighbor) bool { return x.Addr == a })
	if i < 0 {
		return old, false
	}
	old = (*b)[i]
	t.count--
	if len(*b) == 1 {
		p.Store(nil)
		return old, true
	}
	list := slices.Delete(slices.Clone(*b), i, i+1)
	p.Store(&list)
	return old, true
}

// all returns the entries, in no order.
func (t *neighborTable) all() []Neighbor {
	var list []Neighbor
	for i := range t.buckets {
		if b := t.buckets[i].Load(); b != nil {
			list = append(list, *b...)
		}
	}
	return list
}
