//go:build linux

package zctap_test

import (
	"errors"
	"net"
	"net/netip"
	"sync"
	"testing"
	"time"

	"github.com/zctap/zctap"
)

// A thousand connections send at once, to one queue and one goroutine.
func TestLabManyConnections(t *testing.T) {
	// Such that the NIC has room for all that comes in the first round trip: ten
	// packets from each, and a buffer for each of them.
	g := newGuest(t, zctap.Config{Buffers: 16384})
	before := g.drops()
	flows := g.flows(1000, 64<<10)
	c := g.collect(flows)
	for _, f := range flows {
		f.send()
	}
	c.run(guestPatience)
	if c.open > 0 {
		t.Fatalf("%d flows have not ended", c.open)
	}
	for _, f := range flows {
		f.sent()
	}
	g.wantCounted(flows, c.copied)
	g.free()
	// The application may be late now and then, on a slow machine.
	if s := g.q.Stats(); s.CopiedBytes > s.ZeroCopyBytes/100 {
		t.Errorf("%d bytes were copied", s.CopiedBytes)
	}
	g.wantFewDrops(before)
}

// A peer that is waiting for the listener comes in by the queue: its flow is
// steered there before it can connect.
func TestLabFirstConnection(t *testing.T) {
	g := newGuest(t, zctap.Config{})
	for round := range 5 {
		at := netip.AddrPortFrom(g.own, uint16(9100+round)).String()
		dialed := make(chan net.Conn, 1)
		go g.ns.Do(func() error {
			for t.Context().Err() == nil {
				if p, err := net.Dial("tcp", at); err == nil {
					dialed <- p
					break
				}
			}
			return nil
		})
		ln, err := g.q.Listen("tcp", at)
		g.ok(err)
		p := <-dialed
		c, err := ln.AcceptZC()
		g.ok(err)
		f := &flow{guest: g, c: c, p: p, size: 1 << 20}
		f.send()
		f.receive()
		f.sent()
		g.ok(errors.Join(c.Close(), p.Close(), ln.Close()))
	}
	if s := g.q.Stats(); s.CopiedBytes != 0 {
		t.Errorf("%d bytes were copied: events %v", s.CopiedBytes, s.Events)
	}
}

// Two slow readers, of which one takes nothing and one takes all it can and
// keeps it, do not stop others, nor the NIC.
func TestLabSlowReader(t *testing.T) {
	g := newGuest(t, zctap.Config{})
	slow := g.flows(2, 24<<20)
	fast := g.flows(3, 16<<20)
	before := g.drops()
	for _, f := range append(slow, fast...) {
		f.send()
	}
	keeper := slow[1]
	keeper.hoard()
	var wg sync.WaitGroup
	for _, f := range fast {
		wg.Go(f.receive)
	}
	wg.Wait()
	g.wantFewDrops(before)
	if len(keeper.held) == 0 {
		t.Error("the slow reader had nothing to keep")
	}
	keeper.check(keeper.held)
	g.release(keeper.held)
	for _, f := range slow {
		wg.Go(f.receive)
	}
	wg.Wait()
	for _, f := range append(slow, fast...) {
		f.sent()
	}
	g.wantCounted(append(slow, fast...), 0)
	g.free()
}

// The application keeps all that it receives, on connections enough for all
// buffers: nothing more comes, the application is told, and when it releases
// everything comes, in order, and things are as before.
func TestLabExhaustion(t *testing.T) {
	g := newGuest(t, zctap.Config{Buffers: 2048, MaxHeld: 1 << 16})
	flows := g.flows(16, 2<<20)
	c := g.collect(flows)
	c.keep = true
	for _, f := range flows {
		f.send()
	}
	for range 3 {
		before, told := c.got, c.empty
		c.until(func() bool { return c.got > before && c.empty > told }) // senders' timers have backed off
		c.run(time.Second)
		s := g.q.Stats()
		t.Logf("%d bytes held, %d of %d buffers free, %d flows open, %d notices, %d exhaustions", c.got-before, s.FreeBuffers, s.Buffers, c.open, c.empty, s.Exhaustions)
		if c.got == before {
			t.Fatalf("nothing comes: %+v", s)
		}
		for _, f := range flows {
			g.release(f.held)
			f.held = f.held[:0]
		}
	}
	c.keep = false
	c.run(guestPatience)
	if c.open > 0 {
		t.Fatalf("%d flows have not ended: %+v", c.open, g.q.Stats())
	}
	for _, f := range flows {
		f.sent()
	}
	g.wantCounted(flows, c.copied)
	g.free()
	s := g.q.Stats()
	if c.empty == 0 || s.Exhaustions == 0 || s.Events["alloc-fail"] == 0 {
		t.Errorf("%d notices, %d exhaustions, events %v", c.empty, s.Exhaustions, s.Events)
	}
	again := g.flows(1, 8<<20)
	again[0].send()
	again[0].receive()
	again[0].sent()
	if after := g.q.Stats(); after.CopiedBytes != s.CopiedBytes {
		t.Errorf("of the stream after it %d bytes were copied", after.CopiedBytes-s.CopiedBytes)
	}
	g.free()
}

// An application that reads none of its many connections, whose packets are
// small, takes all buffers from nobody: a new connection gets through, and what
// it sends.
func TestLabSlowApplication(t *testing.T) {
	iface, _ := needNIC(t)
	// Each packet takes a buffer.
	command("ethtool -K "+iface+" rx-gro-hw off", "ethtool -K "+iface+" rx-gro-hw on")(t)
	g := newGuest(t, zctap.Config{})
	slow := g.flows(24, 4<<20)
	for _, f := range slow {
		f.send()
	}
	// Until nothing moves any more.
	for before := ^uint64(0); g.q.Stats().ZeroCopyBytes != before; time.Sleep(time.Second) {
		before = g.q.Stats().ZeroCopyBytes
	}
	s := g.q.Stats()
	t.Logf("%d bytes wait, %d of %d buffers are free, events %v", s.ZeroCopyBytes, s.FreeBuffers, s.Buffers, s.Events)
	before := g.drops()
	for range 3 {
		f := g.flows(1, 1<<20)[0]
		f.send()
		f.receive()
		f.sent()
	}
	g.wantFewDrops(before)
	var wg sync.WaitGroup
	for _, f := range slow {
		wg.Go(f.receive)
	}
	wg.Wait()
	for _, f := range slow {
		f.sent()
	}
	g.free()
}
