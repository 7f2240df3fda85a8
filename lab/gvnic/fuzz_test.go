//go:build linux

package gvnic

import (
	"bytes"
	"net/netip"
	"testing"
	"time"

	"github.com/zctap/zctap/internal/wire"
)

// quick is an attached device for fuzzing: it has a guest that is up, with all
// memory in one piece, and a peer that takes and forgets.
func quick(f *testing.F, c Config) *guest {
	c.FIFO = 256 << 10
	g := newGuest(f, newDevice(f, c))
	Join(&slowEnd{mailbox: mailbox{closed: true}}, g.dev)
	return g
}

// alive checks that the device still answers.
func (g *guest) alive(t *testing.T) {
	t.Helper()
	g.writeReg(regDriverStatus, driverReset)
	if s := g.readReg(regDeviceStatus); s&statusIsReset == 0 {
		t.Fatalf("device status %#x", s)
	}
	g.startAdmin()
	g.must(opReportSpeed, g.inner)
}

// anew resets the device, and frees all memory.
func (g *guest) anew(t *testing.T) {
	t.Helper()
	g.t, g.free, g.adm = t, 0, 0
	g.writeReg(regDriverStatus, driverReset)
}

// FuzzAdmin executes commands of any content. Some of the pages that they point
// to are memory.
func FuzzAdmin(f *testing.F) {
	g := quick(f, Config{RSSOption: true})
	g.startAdmin()
	arena := g.alloc(1 << 20)
	seed := func(op uint32, fields ...any) {
		c := pack(be.AppendUint32(nil, op), append([]any{0}, fields...)...)
		f.Add(append(c, make([]byte, 64-len(c))...), []byte{1})
	}
	seed(opDescribe, arena, 1, 4096)
	seed(opConfigure, arena, arena, 128, 4, 64, 0, uint8(3))
	seed(opCreateTx, 0, 0, arena, arena, uint32(rawAddressing), 0, arena+1<<16, uint16(256), uint16(256))
	seed(opCreateRx, 0, 0, 0, 2, arena, arena, arena+1<<16, uint32(rawAddressing), uint16(256), uint16(4096), uint16(256), uint8(1), uint8(0), uint16(128))
	seed(opConfigureRSS, uint16(3), uint8(1), uint8(0), uint16(40), uint16(128), arena, arena)
	seed(opQueryRSS, uint64(4096), arena)
	seed(opQueryFlows, uint16(0), uint16(0), 0, uint64(4096), arena)
	seed(opExtended, opConfigureFlow, flowCommandSize, arena)
	seed(opReportStats, uint64(8+160), arena, uint64(10))
	seed(opPtypeMap, uint64(2048), arena)
	seed(opVerifyDriver, uint64(304), arena)
	seed(opSetParameter, 1, 0, uint64(1500))
	seed(opDestroyRx, 0)
	f.Fuzz(func(t *testing.T, commands, memory []byte) {
		g.t = t
		for off := 0; off < 1<<20 && len(memory) > 0; off += 1 << 18 {
			copy(g.at(arena+uint64(off), 4096), memory)
		}
		if len(memory) > 0 && memory[0]&1 != 0 {
			g.command(opConfigure, arena, arena+1<<18, 1, 4, 64, 0, uint8(3))
		}
		commands = commands[:min(len(commands), 64*40)]
		for len(commands) > 0 {
			n := min(64, len(commands))
			b := g.at(g.adm+uint64(g.prod%64*64), 64)
			clear(b[copy(b, commands[:n]):])
			g.prod++
			g.writeReg(regAdminDoorbell, g.prod)
			if s := status(be.Uint32(b[4:])); s == 0 {
				t.Fatalf("command %x has no status", b)
			}
			commands = commands[n:]
		}
		g.alive(t)
	})
}

// FuzzTx gives the transmit queue a ring of any content.
func FuzzTx(f *testing.F) {
	g := quick(f, Config{MTU: 9000})
	good := spec{payload: pattern(1, 3000), partial: true}.frame(f)
	ctx, gen := tsoDesc(3000, 1000, 54), [txDescSize]byte{8: txGeneral}
	first, last := packetDesc(0, 54, 1, 0), packetDesc(54, 3000, 1, 1<<5|1<<6|1<<7)
	f.Add(bytes.Join([][]byte{ctx[:], gen[:], first[:], last[:]}, nil), good)
	f.Add(bytes.Repeat(first[:], 64), good)
	f.Add([]byte{}, []byte{})
	f.Fuzz(func(t *testing.T, ring, memory []byte) {
		g.anew(t)
		g.up(setup{ring: 64, queues: 1, noPost: true})
		q := g.tx[0]
		copy(g.at(q.buf, guestTxBuffer), memory)
		n := min(len(ring)/txDescSize, 63)
		for i := range n {
			d := [txDescSize]byte(ring[i*txDescSize:])
			if d[7] == 0 && d[8]&0x1f == txPacket { // most point into memory
				le.PutUint64(d[:], le.Uint64(d[:])%(guestTxBuffer)+q.buf)
			}
			q.put(d)
		}
		q.kick()
		for {
			c, ok := q.poll()
			if !ok {
				break
			}
			if c.queue != 0 || c.kind != complPacket && c.kind != complDescriptor {
				t.Fatalf("completion %+v", c)
			}
		}
		if s := g.dev.Stats(); s.Tx[0].Failed != 0 {
			t.Fatalf("%+v", s)
		}
		g.alive(t)
	})
}

// FuzzRx gives the receive queue buffers of any content, and frames.
func FuzzRx(f *testing.F) {
	g := quick(f, Config{MTU: 9000})
	f.Add(make([]byte, 32*5), spec{payload: pattern(1, 8000)}.frame(f), uint16(1000), uint8(3))
	f.Add([]byte{0: 1, 15: 1, 31: 0}, spec{v6: true}.frame(f), uint16(0), uint8(0))
	f.Fuzz(func(t *testing.T, ring, frame []byte, segment uint16, how uint8) {
		g.anew(t)
		g.up(setup{ring: 64, queues: 1, noPost: true, rsc: how&1 != 0, noSplit: how&2 != 0})
		q := g.rx[0]
		n := min(len(ring)/rxDescSize, 63)
		for i := range n {
			d := g.at(q.ring+uint64(i*rxDescSize), rxDescSize)
			copy(d, ring[i*rxDescSize:])
			le.PutUint16(d, uint16(i))
			for _, at := range []int{8, 16} {
				if d[at+7] == 0 {
					le.PutUint64(d[at:], le.Uint64(d[at:])%(64<<12)+q.bufs)
				}
			}
		}
		before := g.dev.Stats()
		g.ring(q.db, uint32(n))
		g.dev.Deliver(Frame{Data: frame, SegmentSize: int(segment), Checksum: Checksum(how >> 2 % 3)})
		g.dev.Deliver(Frame{Data: bytes.Clone(frame)})
		for range 20 { // until the worker has looked at it
			if g.dev.in.mu.Lock(); len(g.dev.in.frames) == 0 {
				g.dev.in.mu.Unlock()
				break
			}
			g.dev.in.mu.Unlock()
			time.Sleep(100 * time.Microsecond)
		}
		g.readReg(regDeviceStatus)
		for c := 0; ; c++ {
			w := g.load(q.compl + uint64(c)*rxComplSize + 4)
			if w>>rxGeneration&1 == 0 {
				break
			}
			if c >= n {
				t.Fatalf("%d completions for %d buffers", c+1, n)
			}
		}
		if s := g.dev.Stats(); s.Rx[0].Descriptors-before.Rx[0].Descriptors > uint64(n) {
			t.Fatalf("%+v", s)
		}
		g.alive(t)
	})
}

// FuzzFrame runs a frame through all that looks into frames.
func FuzzFrame(f *testing.F) {
	for _, s := range []spec{
		{payload: pattern(1, 5000)}, {v6: true, payload: pattern(1, 5000)}, {proto: wire.ProtoUDP, payload: pattern(1, 5000)},
		{tags: 2, stamps: true}, {proto: protoSCTP, payload: pattern(1, 30)}, {proto: wire.ProtoICMP}, {v6: true, proto: protoAH},
	} {
		f.Add(s.frame(f), uint16(1000))
	}
	f.Add(arpRequest(src4, dst4), uint16(0))
	rss := defaultRSS(4)
	f.Fuzz(func(t *testing.T, data []byte, segment uint16) {
		orig := bytes.Clone(data)
		p := parse(data, wire.Verify)
		if p.end > len(data) || p.payload > p.end || p.l4 > p.end || int(p.ptype()) >= len(ptypes) {
			t.Fatalf("%+v", p)
		}
		rss.hash(&p)
		transportOK(data, &p)
		p.flowKey()
		if len(data) >= wire.EthernetHeaderLen {
			all := func(netip.Addr) bool { return true }
			arpReply(data, macB, all)
			ndReply(data, macB, all)
		}
		frame := Frame{Data: data, SegmentSize: int(segment), Checksum: Partial}
		out, ok := frame.segment()
		if !bytes.Equal(data, orig) {
			t.Fatal("the frame has changed")
		}
		if ok && segment > 0 {
			total := 0
			for _, o := range out {
				_, _, payload := checkFrame(t, o.Data)
				total += len(payload)
			}
			if s, _ := newSuper(frame); total != s.end-s.payload || len(out) > maxFrame/minSegment {
				t.Fatalf("%d bytes in %d packets of %d", total, len(out), s.end-s.payload)
			}
		}
		if b, ok := appendTAP(nil, Frame{Data: bytes.Clone(data), SegmentSize: int(segment), Checksum: Partial}); ok {
			if again, ok := tapFrame(b); !ok || len(again.Data) != len(data) {
				t.Fatalf("%d bytes to the TAP, %d back", len(data), len(again.Data))
			}
		}
		tapFrame(data)
		whole := Frame{Data: data, Checksum: Partial}
		if whole.settle() {
			q := parse(data, wire.Vouched)
			if !transportOK(data, &q) {
				t.Fatal("a computed checksum is wrong")
			}
		}
	})
}
