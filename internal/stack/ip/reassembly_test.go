package ip

import (
	"bytes"
	"encoding/binary"
	"math/rand/v2"
	"net/netip"
	"slices"
	"testing"
	"time"

	"github.com/zctap/zctap/internal/buf"
	"github.com/zctap/zctap/internal/mono"
	"github.com/zctap/zctap/internal/wire"
)

// An assembly is a Reassembler under test.
type assembly struct {
	t    testing.TB
	pool *buf.Pool
	r    *Reassembler
	now  mono.Time
}

func newAssembly(t testing.TB, buffers int) *assembly {
	t.Helper()
	region, err := buf.NewRegion(buf.RegionConfig{Buffers: buffers, Heap: true})
	if err != nil {
		t.Fatal(err)
	}
	a := &assembly{t: t, pool: buf.NewPool(region), now: mono.Time(time.Hour)}
	a.r = NewReassembler(a.pool)
	t.Cleanup(func() {
		a.r.Close()
		if c, err := a.pool.Census(); err != nil || c.Out() != 0 || a.r.Held() != 0 {
			t.Errorf("at the end: %+v, %v, %d held", c, err, a.r.Held())
		}
		a.pool.Close()
		if !a.pool.Remove() {
			t.Error("the pool could not be removed")
		}
	})
	return a
}

// longest is the payload of the longest packet.
var longest = pattern(1 << 16)

// frag is the payload of a test datagram from one offset to another.
type frag struct{ from, to int }

// packetFor is the header of a fragment of datagram id.
func packetFor(src, dst netip.Addr, id uint32, f frag, more bool) *wire.Packet {
	p := &wire.Packet{
		Src: src, Dst: dst, ID: id, FragOffset: uint16(f.from), MoreFragments: more, Proto: wire.ProtoUDP,
		Version: 4, L4Offset: 20, L4Len: f.to - f.from, HopLimit: 60,
	}
	if src.Is6() {
		p.Version, p.L4Offset = 6, 48
	}
	return p
}

// put gives it the payload from f.from to f.to of pattern, and returns what that
// completes.
func (a *assembly) put(p *wire.Packet) *Whole {
	a.t.Helper()
	var ids [1]uint16
	var frags []buf.Frag
	payload := longest[p.FragOffset:][:p.L4Len]
	for len(payload) > 0 {
		if a.pool.Alloc(ids[:]) == 0 {
			a.t.Fatal("no buffer free")
		}
		n := min(len(payload), 4096)
		frags = append(frags, a.pool.Frag(ids[0], 4096-n, n))
		copy(a.pool.Region().View(frags[len(frags)-1]), payload)
		payload = payload[n:]
	}
	return a.r.Input(a.now, p, make([]byte, 512), frags)
}

// take compares a packet with the first n bytes of pattern, and gives it back.
func (a *assembly) take(w *Whole, n int) {
	a.t.Helper()
	if w == nil {
		a.t.Fatal("nothing is complete")
	}
	var got []byte
	for _, f := range w.Frags {
		got = append(got, a.pool.Region().View(f)...)
	}
	if !bytes.Equal(got, longest[:n]) || w.Packet.L4Len != n || w.Packet.L4Offset != 0 || w.Packet.IsFragment() {
		a.t.Fatalf("%d bytes, want %d; %+v", len(got), n, w.Packet)
	}
	a.pool.PutFrags(w.Frags)
}

// In any order, with copies, and with others' in between.
func TestReassembly(t *testing.T) {
	for _, addrs := range [][2]netip.Addr{{a4, b4}, {a6, b6}} {
		a := newAssembly(t, 512)
		cut := []frag{{0, 1480}, {1480, 2960}, {2960, 2968}, {2968, 9000}, {9000, 9001}}
		rng := rand.New(rand.NewPCG(1, 2))
		for range 200 {
			order := rng.Perm(len(cut))
			var whole *Whole
			for n, i := range order {
				p := packetFor(addrs[0], addrs[1], 7, cut[i], i < len(cut)-1)
				p.HopLimit = uint8(100 + i)
				if whole = a.put(p); (whole != nil) != (n == len(cut)-1) {
					t.Fatalf("order %v: complete %v after %d", order, whole != nil, n+1)
				}
				if n < len(cut)-1 && a.put(p) != nil { // a copy
					t.Fatal("a copy completed it")
				}
				if w := a.put(packetFor(addrs[0], addrs[1], 8, frag{16, 24}, true)); w != nil {
					t.Fatal("another datagram is complete")
				}
			}
			if whole.Packet.HopLimit != 100 {
				t.Errorf("the header is not the first fragment's: %+v", whole.Packet)
			}
			a.take(whole, 9001)
		}
		if a.r.Reassembled != 200 || a.r.Twice != 200*4+200*5-1 || a.r.Drops != [NumRefusals]uint64{} {
			t.Errorf("%d reassembled, %d twice, drops %v", a.r.Reassembled, a.r.Twice, a.r.Drops)
		}
	}
}

// A fragment belongs to the datagram of its addresses, identification and, in IPv4,
// protocol.
func TestReassemblyKeys(t *testing.T) {
	a := newAssembly(t, 512)
	other := netip.MustParseAddr("10.0.0.77")
	first := packetFor(a4, b4, 7, frag{0, 8}, true)
	a.put(first)
	for _, change := range []func(p *wire.Packet){
		func(p *wire.Packet) { p.Src = other },
		func(p *wire.Packet) { p.Dst = other },
		func(p *wire.Packet) { p.ID = 8 },
		func(p *wire.Packet) { p.Proto = wire.ProtoICMP },
		func(p *wire.Packet) { p.Version = 6 },
	} {
		p := packetFor(a4, b4, 7, frag{8, 16}, false)
		change(p)
		if a.put(p) != nil {
			t.Errorf("%+v completed another datagram", p)
		}
	}
	a.take(a.put(packetFor(a4, b4, 7, frag{8, 16}, false)), 16)

	a.put(packetFor(a6, b6, 7, frag{0, 8}, true))
	p := packetFor(a6, b6, 7, frag{8, 16}, false)
	p.Proto = wire.ProtoTCP // only the first one's counts (RFC 8200 section 4.5)
	w := a.put(p)
	a.take(w, 16)
	if w.Packet.Proto != wire.ProtoUDP {
		t.Errorf("protocol %d", w.Packet.Proto)
	}
}

// What is wrong condemns its datagram, with what is still to come of it.
func TestReassemblyRefusals(t *testing.T) {
	more := func(from, to int) *wire.Packet { return packetFor(a4, b4, 7, frag{from, to}, true) }
	last := func(from, to int) *wire.Packet { return packetFor(a4, b4, 7, frag{from, to}, false) }
	marked := func(p *wire.Packet, e wire.ECN) *wire.Packet { p.TrafficClass = uint8(e); return p }
	tcp := func(p *wire.Packet) *wire.Packet { p.Proto = wire.ProtoTCP; return p }
	for name, tt := range map[string]struct {
		cause Refusal
		input []*wire.Packet
	}{
		"the same beginning":       {FragmentOverlap, []*wire.Packet{more(0, 16), more(0, 24)}},
		"the same end":             {FragmentOverlap, []*wire.Packet{more(8, 24), more(16, 24)}},
		"within":                   {FragmentOverlap, []*wire.Packet{more(0, 64), more(8, 16)}},
		"around":                   {FragmentOverlap, []*wire.Packet{more(16, 24), more(8, 64)}},
		"the last eight":           {FragmentOverlap, []*wire.Packet{more(0, 16), more(32, 48), more(8, 32)}},
		"the next ones first":      {FragmentOverlap, []*wire.Packet{more(0, 16), more(32, 48), more(16, 40)}},
		"all of several":           {FragmentOverlap, []*wire.Packet{more(0, 16), more(16, 24), more(24, 32), more(0, 32)}},
		"a tiny UDP header":        {FragmentTiny, []*wire.Packet{more(8, 24), packetFor(a4, b4, 7, frag{0, 0}, true)}},
		"a tiny TCP header":        {FragmentTiny, []*wire.Packet{tcp(more(0, 16))}},
		"two ends":                 {FragmentBadEnd, []*wire.Packet{last(16, 24), last(24, 30)}},
		"an end before data":       {FragmentBadEnd, []*wire.Packet{more(24, 32), last(8, 16)}},
		"data behind the end":      {FragmentBadEnd, []*wire.Packet{last(8, 16), more(16, 24)}},
		"the end again, shorter":   {FragmentBadEnd, []*wire.Packet{last(8, 20), last(8, 16)}},
		"marked, and not able to":  {FragmentBadECN, []*wire.Packet{marked(more(0, 16), wire.CE), marked(more(16, 24), wire.NotECT)}},
		"not able to, then marked": {FragmentBadECN, []*wire.Packet{more(0, 16), marked(more(16, 24), wire.CE)}},
	} {
		t.Run(name, func(t *testing.T) {
			a := newAssembly(t, 512)
			for _, p := range tt.input {
				if a.put(p) != nil {
					t.Fatal("it is complete")
				}
			}
			if a.r.Held() != 0 {
				t.Errorf("%d buffers are held", a.r.Held())
			}
			// What would have been missing does not revive it.
			for i := range 16 {
				p := more(i*8, i*8+8)
				p.Proto = tt.input[0].Proto
				if a.put(p) != nil {
					t.Fatal("it was revived")
				}
			}
			want := [NumRefusals]uint64{}
			want[tt.cause] = uint64(len(tt.input)) + 16
			if a.r.Drops != want {
				t.Errorf("drops %v, want %v", a.r.Drops, want)
			}
			// After its time the identification is free again.
			a.now = a.now.Add(timeout4)
			a.r.Expire(a.now, func(*wire.Packet, []byte) { t.Error("somebody was told") })
			a.put(more(0, 64))
			a.take(a.put(last(64, 65)), 65)
		})
	}
}

// What the caller refuses is condemned as what Input does, whatever was there before, and as many
// as anybody sends are noted within the bounds.
func TestReassemblyRefusedByTheCaller(t *testing.T) {
	a := newAssembly(t, 512)
	more := func(id uint32, from, to int) *wire.Packet { return packetFor(a4, b4, id, frag{from, to}, true) }
	a.put(more(7, 16, 24))
	a.put(more(7, 24, 32))
	a.r.Refuse(a.now, more(7, 0, 16))
	a.put(more(7, 32, 40))
	a.r.Refuse(a.now, more(7, 0, 16))
	if a.r.Held() != 0 || a.r.Drops[FragmentOfRefused] != 3 {
		t.Errorf("%d buffers are held, drops %v", a.r.Held(), a.r.Drops)
	}
	for id := range uint32(1000) {
		p := more(1000+id, 0, 16)
		a.r.Refuse(a.now, p)
	}
	if n := len(a.r.underway); n != maxFromOne {
		t.Errorf("%d of one source are noted, want %d", n, maxFromOne)
	}
	for id := range uint32(1000) {
		p := more(id, 0, 16)
		p.Src = netip.AddrFrom4([4]byte{10, 9, byte(id >> 8), byte(id)})
		a.r.Refuse(a.now, p)
	}
	if n := len(a.r.underway); n != maxDatagrams {
		t.Errorf("%d are noted, want %d", n, maxDatagrams)
	}
	a.now = a.now.Add(timeout4)
	a.r.Expire(a.now, func(*wire.Packet, []byte) { t.Error("somebody was told") })
	if len(a.r.underway) != 0 || a.r.Next() != 0 {
		t.Errorf("%d are noted after their time", len(a.r.underway))
	}
}

// Marks of congestion are kept, and those of a transport that takes part are no
// contradiction (RFC 3168 section 5.3).
func TestReassemblyECN(t *testing.T) {
	for _, tt := range []struct{ a, b, want wire.ECN }{
		{wire.NotECT, wire.NotECT, wire.NotECT}, {wire.ECT0, wire.ECT0, wire.ECT0}, {wire.ECT0, wire.CE, wire.CE},
		{wire.CE, wire.ECT1, wire.CE}, {wire.CE, wire.CE, wire.CE}, {wire.ECT1, wire.ECT0, wire.ECT1},
	} {
		a := newAssembly(t, 64)
		p, q := packetFor(a4, b4, 7, frag{0, 8}, true), packetFor(a4, b4, 7, frag{8, 9}, false)
		p.TrafficClass, q.TrafficClass = 0x28|uint8(tt.a), 0x28|uint8(tt.b)
		a.put(p)
		w := a.put(q)
		a.take(w, 9)
		if w.Packet.ECN() != tt.want || w.Packet.DSCP() != 10 {
			t.Errorf("%v and %v are %v, DSCP %d", tt.a, tt.b, w.Packet.ECN(), w.Packet.DSCP())
		}
	}
}

// What does not come in time is dropped, and who sent the first fragment is told.
func TestReassemblyExpires(t *testing.T) {
	for _, addrs := range [][2]netip.Addr{{a4, b4}, {a6, b6}} {
		a := newAssembly(t, 512)
		life := timeout4
		if addrs[0].Is6() {
			life = timeout6
		}
		begin := a.now
		a.put(packetFor(addrs[0], addrs[1], 7, frag{0, 1480}, true))
		a.put(packetFor(addrs[0], addrs[1], 8, frag{8, 16}, true))
		a.now = a.now.Add(10 * time.Second)
		a.put(packetFor(addrs[0], addrs[1], 7, frag{1480, 2000}, true)) // no new lease
		a.put(packetFor(addrs[0], addrs[1], 9, frag{0, 16}, true))
		told := 0
		tell := func(p *wire.Packet, orig []byte) {
			if told++; p.Src != addrs[0] || len(orig) != p.L4Offset+keptQuote {
				t.Errorf("%+v is told with %d bytes", p, len(orig))
			}
		}
		a.r.Expire(begin.Add(life-1), tell)
		if n := a.r.Next(); told != 0 || a.r.Held() != 4 || n != begin.Add(life) {
			t.Fatalf("told %d, %d held, next in %v", told, a.r.Held(), n.Sub(begin))
		}
		a.r.Expire(begin.Add(life), tell)
		if n := a.r.Next(); told != 1 || a.r.Held() != 1 || n != begin.Add(life+10*time.Second) || a.r.Drops[FragmentExpired] != 3 {
			t.Fatalf("told %d, %d held, next in %v, drops %v", told, a.r.Held(), n.Sub(begin), a.r.Drops)
		}
		a.r.Close()
		if a.r.Next() != 0 || a.r.Held() != 0 {
			t.Errorf("%d held after Close", a.r.Held())
		}
	}
}

// A flood of first fragments keeps few buffers, of one source and of many, and who
// sends whole datagrams meanwhile loses none.
func TestReassemblyFlood(t *testing.T) {
	for name, from := range map[string]func(i int) netip.Addr{
		"one source": func(int) netip.Addr { return a4 },
		"many": func(i int) netip.Addr {
			return netip.AddrFrom4([4]byte{172, 16, byte(i >> 8), byte(i)})
		},
	} {
		t.Run(name, func(t *testing.T) {
			const buffers = 1024
			a := newAssembly(t, buffers)
			peer := netip.MustParseAddr("10.9.9.9")
			for i := range 20_000 {
				a.put(packetFor(from(i), b4, uint32(i), frag{0, 8000}, true))
				if held := a.r.Held(); held > buffers/8 || len(a.r.underway) > maxDatagrams {
					t.Fatalf("%d buffers of %d datagrams are held", held, len(a.r.underway))
				}
				if name == "one source" && a.r.Held() > a.r.share {
					t.Fatalf("%d buffers are held for one source", a.r.Held())
				}
				if i%10 == 0 {
					id := uint32(i)
					a.put(packetFor(peer, b4, id, frag{1480, 2960}, true))
					a.put(packetFor(from(i), b4, uint32(i+1_000_000), frag{0, 8}, true))
					a.put(packetFor(peer, b4, id, frag{0, 1480}, true))
					a.take(a.put(packetFor(peer, b4, id, frag{2960, 3000}, false)), 3000)
				}
			}
			if a.r.Reassembled != 2000 || a.r.Drops[FragmentEvicted] < 15_000 {
				t.Errorf("%d reassembled, drops %v", a.r.Reassembled, a.r.Drops)
			}
		})
	}
	// One datagram alone cannot have more than its source's share, nor more pieces
	// than any needs.
	a := newAssembly(t, 4096)
	for i := range maxPieces {
		a.put(packetFor(a4, b4, 1, frag{i * 16, i*16 + 8}, true))
	}
	a.put(packetFor(a4, b4, 1, frag{8, 16}, true))
	if a.r.Drops[FragmentsTooMany] != maxPieces+1 || a.r.Held() != 0 {
		t.Errorf("drops %v, %d held", a.r.Drops, a.r.Held())
	}
	a = newAssembly(t, 32)
	for i := range 20 {
		a.put(packetFor(a4, b4, 1, frag{i * 8, i*8 + 8}, true))
	}
	if a.r.Drops[FragmentEvicted] != 20 || a.r.Held() != 0 {
		t.Errorf("drops %v, %d held", a.r.Drops, a.r.Held())
	}
}

// A flood of one source takes nothing from a datagram of another that is older: neither by how
// many they are nor by how long. And of all sources together no more is held than the bound, though
// each fragment takes several buffers.
func TestReassemblyFloodSparesOthers(t *testing.T) {
	peer := netip.MustParseAddr("10.9.9.9")
	for _, tt := range []struct {
		name string
		len  int // of a fragment
	}{{"many", 8}, {"long", 32_000}} {
		t.Run(tt.name, func(t *testing.T) {
			a := newAssembly(t, 1024)
			a.put(packetFor(peer, b4, 1, frag{0, 1480}, true))
			for i := range 100 {
				a.put(packetFor(a4, b4, uint32(i), frag{0, tt.len}, true))
				n := 0
				for _, d := range a.r.underway {
					if d.key.src == a4.As16() {
						n++
					}
				}
				if n > maxFromOne || a.r.Held() > a.r.share+1 {
					t.Fatalf("%d datagrams of one source are under way, in %d buffers", n, a.r.Held()-1)
				}
			}
			a.take(a.put(packetFor(peer, b4, 1, frag{1480, 2000}, false)), 2000)
		})
	}
	a := newAssembly(t, 1024)
	for i := range 100 {
		a.put(packetFor(netip.AddrFrom4([4]byte{172, 16, 0, byte(i)}), b4, 1, frag{0, 20_000}, true))
		if a.r.Held() > a.r.total {
			t.Fatalf("%d buffers are held, of %d", a.r.Held(), a.r.total)
		}
	}
}

// FuzzReassembly gives fragments of any place and kind to a Reassembler. What it
// puts together has to be what a simple one would, and the buffers have to be
// accounted for. Each 6 bytes are a fragment: source and datagram, flags and ECN,
// offset and length in units of 8 bytes.
func FuzzReassembly(f *testing.F) {
	fragment := func(id, flags byte, off, n uint16) []byte {
		return binary.BigEndian.AppendUint16(binary.BigEndian.AppendUint16([]byte{id, flags}, off), n)
	}
	f.Add(slices.Concat(fragment(0, 1, 0, 2), fragment(0, 0, 2, 1)))
	f.Add(slices.Concat(fragment(0, 0, 2, 1), fragment(1, 1, 0, 2), fragment(0, 1, 0, 2), fragment(1, 2, 2, 9)))
	f.Add(slices.Concat(fragment(9, 1, 0, 2), fragment(9, 1, 1, 2), fragment(9, 0, 2, 1)))
	f.Add(slices.Concat(fragment(17, 5, 0, 2), fragment(17, 13, 2, 2), fragment(17, 0, 4, 700), fragment(17, 128, 0, 0)))
	f.Fuzz(func(t *testing.T, in []byte) {
		if len(in) > 6*300 {
			return
		}
		a := newAssembly(t, 64)
		seen := map[[2]any][]frag{} // what was put in since the datagram was last complete
		for ; len(in) >= 6; in = in[6:] {
			off, n := int(binary.BigEndian.Uint16(in[2:])), int(binary.BigEndian.Uint16(in[4:]))
			fr := frag{off % 1024 * 8, off%1024*8 + 8 + n%512*8}
			more := in[1]&1 != 0
			if !more {
				fr.to -= int(in[1]>>4) % 8
			}
			src := netip.AddrFrom4([4]byte{10, 1, 0, in[0] >> 4})
			p := packetFor(src, b4, uint32(in[0]&3), fr, more)
			if in[0]&4 != 0 {
				p.Src, p.Dst, p.Version, p.L4Offset = a6, b6, 6, 48
			}
			p.TrafficClass = in[1] >> 1 & 3
			if in[1] > 250 {
				a.now = a.now.Add(25 * time.Second)
				a.r.Expire(a.now, func(*wire.Packet, []byte) {})
			}
			key := [2]any{p.Src, p.ID}
			seen[key] = append(seen[key], fr)
			if w := a.put(p); w != nil {
				a.take(w, w.Packet.L4Len)
				if !covered(seen[key], w.Packet.L4Len) {
					t.Fatalf("%d bytes of fragments %v", w.Packet.L4Len, seen[key])
				}
				delete(seen, key)
			}
			if a.r.Held() > a.r.total || len(a.r.underway) > maxDatagrams {
				t.Fatalf("%d buffers of %d datagrams", a.r.Held(), len(a.r.underway))
			}
			held := 0
			for _, d := range a.r.underway {
				held += d.buffers
			}
			if c, err := a.pool.Census(); err != nil || held != a.r.Held() || c.Out() != held {
				t.Fatalf("%d held, counted %d; %+v, %v", held, a.r.Held(), c, err)
			}
		}
	})
}

// covered reports whether the fragments have all of the first n bytes.
func covered(fs []frag, n int) bool {
	fs = slices.Clone(fs)
	slices.SortFunc(fs, func(a, b frag) int { return a.from - b.from })
	at := 0
	for _, f := range fs {
		if f.from <= at {
			at = max(at, f.to)
		}
	}
	return at >= n
}
