//go:build linux

package zctap_test

import (
	"fmt"
	"sync"
	"testing"

	"github.com/zctap/zctap"
	"github.com/zctap/zctap/internal/netns"
	"github.com/zctap/zctap/internal/pattern"
)

// ringFrames is how many completions each of n rings has brought.
func (g *guest) ringFrames(n int) (frames []uint64) {
	events := g.q.Stats().Events
	for i := range n {
		frames = append(frames, events[fmt.Sprintf("ring-%d-frames", i)])
	}
	return frames
}

// Several rings receive from one queue of the NIC, on threads of their own: nothing
// is copied, nothing is wrong, and each has its share of the connections.
func TestLabRings(t *testing.T) {
	const rings, size = 2, 4 << 20
	g := newGuest(t, zctap.Config{ZCRX: &zctap.ZCRXConfig{Rings: rings}})
	flows := g.flows(8, size)
	before := g.drops()
	var wg sync.WaitGroup
	for _, f := range flows {
		f.send()
		wg.Go(f.receive)
	}
	wg.Wait()
	for _, f := range flows {
		f.sent()
	}
	g.wantCounted(flows, 0)
	g.wantFewDrops(before)
	g.free()
	if s := g.q.Stats(); s.CopiedBytes != 0 {
		t.Errorf("%d bytes were copied: events %v", s.CopiedBytes, s.Events)
	}
	for i, n := range g.ringFrames(rings) {
		// No completion is longer than a buffer, and each ring has half of the connections.
		if n < uint64(len(flows)/rings*size/4096) {
			t.Errorf("ring %d has brought %d completions of %v", i, n, g.ringFrames(rings))
		}
	}
}

// A slow reader on each ring leaves the NIC enough for the others.
func TestLabRingsSlowReader(t *testing.T) {
	g := newGuest(t, zctap.Config{ZCRX: &zctap.ZCRXConfig{Rings: 2}})
	slow := g.flows(4, 16<<20)
	fast := g.flows(4, 4<<20)
	before := g.drops()
	all := append(slow, fast...)
	for _, f := range all {
		f.send()
	}
	for _, f := range slow[:2] { // one on each; the others take nothing at all
		f.hoard()
	}
	var wg sync.WaitGroup
	for _, f := range fast {
		wg.Go(f.receive)
	}
	wg.Wait()
	g.wantFewDrops(before)
	for _, f := range slow {
		f.check(f.held)
		g.release(f.held)
		wg.Go(f.receive)
	}
	wg.Wait()
	for _, f := range all {
		f.sent()
	}
	g.wantCounted(all, 0)
	g.free()
}

// With streams under way on all rings the queue is closed, and at once free: it can be
// opened again.
func TestLabRingsClose(t *testing.T) {
	iface, peer := needNIC(t)
	ns, err := netns.Open(peer)
	if err != nil {
		t.Fatal(err)
	}
	defer ns.Close()
	for range 3 {
		g := &guest{T: t, own: addrOf(t, iface), ns: ns, pat: pattern.New(patternSeed)}
		g.q, err = zctap.Open(zctap.Config{Engine: zctap.ZCRX, Interface: iface, ZCRX: &zctap.ZCRXConfig{Rings: 3}})
		g.ok(err)
		flows := g.flows(6, 64<<20)
		var wg sync.WaitGroup
		for _, f := range flows {
			wg.Go(func() { _ = sendPiece(f.p, f.pat, f.at, f.size) }) // it is reset
			iovs := make([]zctap.Iov, 8)
			n, err := f.recv(iovs)
			g.ok(err)
			f.check(iovs[:n])
			g.release(iovs[:n])
		}
		g.ok(g.q.Close())
		if n := g.q.Leaked(); n != 0 {
			t.Errorf("%d buffers leaked", n)
		}
		wg.Wait()
	}
}
