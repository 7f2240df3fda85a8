package stack

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"testing"

	"github.com/zctap/zctap/internal/buf"
	"github.com/zctap/zctap/internal/driver"
	"github.com/zctap/zctap/internal/wire"
)

// sorter makes frames to sort: flow i's have ports of their own, and lie as its layouts have it.
type sorter struct {
	r    *rig
	rand *rand.Rand
	link int
	addr pair
	used map[uint64]bool // hashes
	port uint16
}

func newSorter(t *testing.T, seed uint64) *sorter {
	w := &sorter{rand: rand.New(rand.NewPCG(seed, 3)), link: int(seed / 2 % 2 * wire.EthernetHeaderLen), addr: pairs[seed%2], used: map[uint64]bool{}}
	w.r = newRig(t, func(c *Config, d *driver.Caps) { c.Pool, d.LinkHeader = newPool(t, 2048), w.link })
	return w
}

// ends is the ports of another flow, which no other's has the hash of.
func (w *sorter) flow(t *testing.T) wire.TCP {
	for {
		w.port++
		h := wire.TCP{SrcPort: 1000 + w.port, DstPort: ourPort, Flags: wire.ACK}
		f := w.frame(t, wire.ProtoTCP, h, nil)
		addrs, ports, ok := w.r.stack.flowOf(&f)
		if !ok {
			t.Fatal("a segment has no flow")
		}
		w.drop(&f)
		if hash := sortHash(addrs, ports); !w.used[hash] {
			w.used[hash] = true
			return h
		}
	}
}

func (w *sorter) drop(f *driver.Frame) { w.r.pool.PutFrags(f.Frags) }

// frame is one of a flow, or of anything else, in one layout or another.
func (w *sorter) frame(t *testing.T, proto uint8, h wire.TCP, payload []byte) driver.Frame {
	p := tcpPacket(t, w.addr.peer, w.addr.us, h, payload)
	if at := 9; w.addr.us.Is4() {
		p[at] = proto
	} else {
		p[6] = proto
	}
	b := append(make([]byte, w.link), p...)
	return w.r.frame(b, []layout{whole, {20, []int{30, 4096}}, {len(b), nil}, {0, []int{w.link + 5, 10, 4096}}}[w.rand.IntN(4)])
}

// TestFlowSort: frames of a flow are next to each other and in their order, all others, too,
// and each frame is there once.
func TestFlowSort(t *testing.T) {
	for seed := range uint64(40) {
		w := newSorter(t, seed)
		s := w.r.stack
		var flows []wire.TCP
		for range 1 + w.rand.IntN(12) {
			flows = append(flows, w.flow(t))
		}
		n := 2 + w.rand.IntN(sortFrames-1)
		var frames []driver.Frame
		var of []int // flow of each; the length is its place
		for i := range n {
			k := w.rand.IntN(len(flows) + 1)
			if of = append(of, k); k == len(flows) {
				frames = append(frames, w.frame(t, wire.ProtoUDP, flows[0], make([]byte, i)))
			} else {
				frames = append(frames, w.frame(t, wire.ProtoTCP, flows[k], make([]byte, i)))
			}
		}
		least := frames[0].Len
		runs := 1
		for i := 1; i < n; i++ {
			if of[i] != of[i-1] {
				runs++
			}
		}
		groups := len(slices.Compact(slices.Sorted(slices.Values(of))))

		s.order.idle = 0
		sorted := frames
		frags := make([]buf.Frag, []int{0, n}[seed%2]) // that they lie elsewhere is not looked at
		if s.order.sort(s, frames, frags) {
			sorted = s.order.frames[:n]
			for i := range sorted {
				if f := sorted[i].Frags; len(frags) > 0 && len(f) == 1 && &f[0] != &s.order.frags[i] {
					t.Fatalf("seed %d: the frag of frame %d is not in line", seed, i)
				}
			}
		}
		if worth := 2*runs >= 3*groups; worth != s.order.mixed {
			t.Fatalf("seed %d: %d runs of %d flows, %d frames; sorted: %v", seed, runs, groups, n, s.order.mixed)
		}
		seen := map[int]bool{} // flows
		last := -1             // place
		for i := range sorted {
			place := sorted[i].Len - least
			k := of[place]
			switch {
			case fmt.Sprint(sorted[i]) != fmt.Sprint(frames[place]):
				t.Fatalf("seed %d: frame %d is another one", seed, place)
			case !s.order.mixed:
				if place != i {
					t.Fatalf("seed %d: frame %d is at %d", seed, place, i)
				}
			case i > 0 && of[last] == k:
				if place <= last {
					t.Fatalf("seed %d: frame %d is behind %d, of the same flow", seed, place, last)
				}
			case seen[k]:
				t.Fatalf("seed %d: flow %d is in two places", seed, k)
			}
			seen[k], last = true, place
		}
		if len(sorted) != n || len(seen) != groups {
			t.Fatalf("seed %d: %d of %d frames, %d of %d flows", seed, len(sorted), n, len(seen), groups)
		}
		for i := range frames {
			w.drop(&frames[i])
		}
	}
}

// TestFlowSortSameHash: of flows with the same hash each frame keeps its order all the same.
func TestFlowSortSameHash(t *testing.T) {
	w := newSorter(t, 0)
	s := w.r.stack
	var flows []wire.TCP
	hash := uint64(1 << sortSlotBits)
	for port := uint16(1); len(flows) < 3; port++ {
		h := wire.TCP{SrcPort: port, DstPort: ourPort, Flags: wire.ACK}
		f := w.frame(t, wire.ProtoTCP, h, nil)
		addrs, ports, _ := s.flowOf(&f)
		w.drop(&f)
		if at := sortHash(addrs, ports); hash == 1<<sortSlotBits || at == hash {
			hash = at
			flows = append(flows, h)
		}
	}
	other := w.flow(t)
	var frames []driver.Frame
	of := []int{0, 3, 0, 1, 3, 0, 2, 3, 2, 3, 1, 0, 3, 0, 3}
	for i, k := range of {
		frames = append(frames, w.frame(t, wire.ProtoTCP, append(flows, other)[k], make([]byte, i)))
	}
	least := frames[0].Len
	places := map[int][]int{}
	s.order.sort(s, frames, nil)
	for _, f := range s.order.frames[:len(frames)] {
		place := f.Len - least
		places[of[place]] = append(places[of[place]], place)
	}
	for k, p := range places {
		if !slices.IsSorted(p) {
			t.Errorf("flow %d: %v", k, p)
		}
	}
	if !s.order.mixed || len(places) != 4 {
		t.Errorf("not sorted, or %d flows", len(places))
	}
	for i := range frames {
		w.drop(&frames[i])
	}
}

// TestFlowOfOthers: what is not to be sorted with a flow's segments is told from them.
func TestFlowOfOthers(t *testing.T) {
	for seed := range uint64(4) {
		w := newSorter(t, seed)
		h := wire.TCP{SrcPort: 1, DstPort: ourPort, Flags: wire.ACK}
		is := func(name string, want bool, change func(ip []byte)) {
			t.Helper()
			b := append(make([]byte, w.link), tcpPacket(t, w.addr.peer, w.addr.us, h, nil)...)
			change(b[w.link:])
			f := w.r.frame(b, whole)
			if _, _, ok := w.r.stack.flowOf(&f); ok != want {
				t.Errorf("seed %d, %s: %v", seed, name, ok)
			}
			w.drop(&f)
		}
		is("TCP", true, func([]byte) {})
		is("no IP", false, func(b []byte) { b[0] = 0x75 })
		if w.addr.us.Is4() {
			is("UDP", false, func(b []byte) { b[9] = wire.ProtoUDP })
			is("options", false, func(b []byte) { b[0] = 0x46 })
			is("without DF", true, func(b []byte) { b[6] = 0 })
			is("first fragment", false, func(b []byte) { b[6] = 0x20 })
			is("fragment", false, func(b []byte) { b[7] = 1 })
		} else {
			is("UDP", false, func(b []byte) { b[6] = wire.ProtoUDP })
			is("fragment", false, func(b []byte) { b[6] = 44 })
		}
		for n := range w.link + 60 {
			f := w.r.frame(make([]byte, n), whole)
			f.Len = n
			if _, _, ok := w.r.stack.flowOf(&f); ok {
				t.Errorf("%d zero bytes are of a flow", n)
			}
			w.drop(&f)
		}
	}
}
