//go:build linux

package gvnic

import (
	"testing"
	"time"

	"github.com/zctap/zctap/internal/wire"
)

// only checks that a packet comes to queue id, and to no other.
func (g *guest) only(what string, id int) received {
	g.t.Helper()
	r := g.rx[id].wait()
	g.rx[id].post(r.buffers)
	for i, q := range g.rx {
		if got, ok := q.poll(); ok {
			g.t.Errorf("%s: a packet of %d bytes to queue %d, wanted in %d", what, len(got.payload), i, id)
		}
	}
	return r
}

// TestRSS: each flow comes to the queue that the driver's key and table say,
// with the hash in its completion, coalesced or not.
func TestRSS(t *testing.T) {
	const queues = 16
	x, y := pair(t, Config{}, Config{Queues: queues})
	x.up(setup{})
	y.up(setup{ring: 64, rsc: true})
	var cfg rssConfig
	copy(cfg.key[:], pattern(7, rssKeySize))
	key, table := y.alloc(4096), y.alloc(4096)
	copy(y.at(key, rssKeySize), cfg.key[:])
	for i := range cfg.table {
		cfg.table[i] = uint32(i*5+3) % queues
		be.PutUint32(y.at(table, 512)[4*i:], cfg.table[i])
	}
	cfg.types = hashTCPv4 | hashUDPv4 | hashTCPv6 | hashUDPv6
	y.must(opConfigureRSS, cfg.types, uint8(1), uint8(0), uint16(40), uint16(128), key, table)
	used := make(map[int]bool)
	for i := range 200 {
		s := spec{v6: i%2 == 0, sport: uint16(1000 + 7*i), payload: pattern(1, 3000), partial: true}
		mss := 1400
		if i%3 == 0 {
			s.proto, s.payload, mss = wire.ProtoUDP, s.payload[:100], 0
		}
		f := s.frame(t)
		p := parse(f, wire.Vouched)
		h, _ := cfg.hash(&p)
		want := int(cfg.table[h&127])
		used[want] = true
		x.tx[0].done(x.tx[0].send(f, sending{mss: mss, header: p.payload, csum: true}))
		if r := y.only("a flow", want); r.hash != h {
			t.Errorf("hash %#x, want %#x", r.hash, h)
		}
	}
	if len(used) < queues/2 {
		t.Errorf("only %d queues used", len(used))
	}
	// Of a kind without a hash: queue 0.
	x.tx[0].done(x.tx[0].send(spec{proto: wire.ProtoICMP}.frame(t), sending{}))
	if r := y.only("no hash", 0); r.hash != 0 {
		t.Errorf("hash %#x of what is not hashed", r.hash)
	}
}

// TestSteering: rules come before RSS, by location; a rule to a queue that is
// not there loses the packet.
func TestSteering(t *testing.T) {
	x, y := pair(t, Config{}, Config{Queues: 4})
	x.up(setup{})
	y.up(setup{ring: 64, queues: 3})
	y.oneQueue()
	send := func(s spec) { t.Helper(); x.tx[1].done(x.tx[1].send(s.frame(t), sending{})) }
	rule := func(op uint16, r flowRule) {
		t.Helper()
		if s := y.flowCommand(op, r); s != passed {
			t.Fatalf("rule: status %#x", uint32(s))
		}
	}
	send(spec{dport: 80})
	y.only("no rules", 0)
	rule(flowAdd, portRule(5, 80, 1, false))
	rule(flowAdd, portRule(6, 80, 2, true))
	send(spec{dport: 80})
	y.only("TCP", 1)
	send(spec{dport: 80, v6: true})
	y.only("TCP, IPv6", 2)
	send(spec{dport: 81})
	y.only("another port", 0)
	send(spec{dport: 80, proto: wire.ProtoUDP})
	y.only("UDP", 0)
	rule(flowAdd, portRule(1, 80, 2, false))
	send(spec{dport: 80})
	y.only("a rule before", 2)
	rule(flowDelete, flowRule{location: 1})
	send(spec{dport: 80})
	y.only("deleted", 1)
	rule(flowAdd, portRule(0, 80, 3, false))
	send(spec{dport: 80})
	y.eventually("a lost packet", func() bool { return y.dev.Stats().DropNoQueue == 1 })
	rule(flowReset, flowRule{})
	send(spec{dport: 80})
	y.only("all rules deleted", 0)
}

// TestChecksums: of frames that say nothing of their checksums the device finds
// out, and marks them; those that a device computes are right.
func TestChecksums(t *testing.T) {
	y := newGuest(t, newDevice(t, Config{}))
	y.up(setup{})
	y.oneQueue()
	deliver := func(f []byte, c Checksum) received {
		t.Helper()
		if !y.dev.Deliver(Frame{Data: f, Checksum: c}) {
			t.Fatal("no room")
		}
		r := y.rx[0].wait()
		y.rx[0].post(r.buffers)
		return r
	}
	for _, v6 := range []bool{false, true} {
		s := spec{v6: v6, payload: pattern(1, 333)}
		good := s.frame(t)
		if r := deliver(append([]byte(nil), good...), Unverified); r.badL4 || r.badIP || !r.processed {
			t.Errorf("sound: %+v", r)
		}
		bad := append([]byte(nil), good...)
		bad[len(bad)-1] ^= 1
		if r := deliver(append([]byte(nil), bad...), Unverified); !r.badL4 || r.badIP {
			t.Errorf("bad payload: %+v", r)
		}
		if r := deliver(bad, Vouched); r.badL4 {
			t.Errorf("vouched for: %+v", r)
		}
		s.partial = true
		if r := deliver(s.frame(t), Partial); r.badL4 || string(r.frame()) != string(good) {
			t.Errorf("partial: %+v", r)
		}
	}
	f := spec{}.frame(t)
	f[14+8]-- // TTL
	if r := deliver(f, Unverified); !r.badIP {
		t.Errorf("bad IPv4 header: %+v", r)
	}
	if r := deliver(make([]byte, 64), Unverified); r.processed || r.badL4 || r.ptype != 0 {
		t.Errorf("not IP: %+v", r)
	}
	if n := y.dev.Stats().Rx[0].BadChecksum; n != 3 {
		t.Errorf("%d bad checksums, want 3", n)
	}
}

// TestReport: the device's statistics are the last entries of the driver's
// region, which the driver reads for ethtool -S.
func TestReport(t *testing.T) {
	y := newGuest(t, newDevice(t, Config{Queues: 4, FIFO: 16 << 10}))
	y.up(setup{queues: 3, noPost: true})
	y.oneQueue()
	for range 40 {
		y.dev.Deliver(Frame{Data: spec{payload: pattern(1, 1000)}.frame(t)})
	}
	y.dev.Deliver(Frame{Data: spec{payload: pattern(1, 2000)}.frame(t)})
	y.eventually("drops", func() bool { s := y.dev.Stats().Rx[0]; return s.DropNoBuffers > 0 && s.DropTooLong == 1 })
	region := y.alloc(4096)
	const entries = 30
	y.must(opReportStats, uint64(8+16*entries), region, uint64(10))
	read := func() (name, queue uint32, value uint64) {
		b := y.at(region+8+16*(entries-12)+16, 16)
		return be.Uint32(b), be.Uint32(b[4:]), be.Uint64(b[8:])
	}
	y.eventually("a report", func() bool { return y.dev.Stats().Reports > 1 })
	_ = y.readReg(regDeviceStatus) // the device's lock is between its writes and our reads
	if name, queue, value := read(); name != statNoBuffers || queue != 0 || value != y.dev.Stats().Rx[0].DropNoBuffers {
		t.Errorf("entry %d of queue %d: %d; %+v", name, queue, value, y.dev.Stats().Rx[0])
	}
	names := []uint32{statQueueDrops, statNoBuffers, statOverMRU, statBadChecksums}
	for i := range 12 {
		b := y.at(region+8+16*uint64(entries-12+i), 16)
		if be.Uint32(b) != names[i%4] || be.Uint32(b[4:]) != uint32(i/4) {
			t.Errorf("entry %d: %x", i, b)
		}
	}
	if b := y.at(region, 8+16*(entries-12)); string(b) != string(make([]byte, len(b))) {
		t.Errorf("the driver's part was written to: %x", b)
	}
	y.must(opReportStats, uint64(0), uint64(0), uint64(10))
	n := y.dev.Stats().Reports
	time.Sleep(30 * time.Millisecond)
	if now := y.dev.Stats().Reports; now != n {
		t.Errorf("%d reports after the end", now-n)
	}
	// A region that is too small for the device's part stays as it is.
	y.must(opReportStats, uint64(8+16*11), region+2048, uint64(10))
	time.Sleep(30 * time.Millisecond)
	if b := y.at(region+2048, 2048); string(b) != string(make([]byte, 2048)) {
		t.Error("a region that is too small was written to")
	}
}
