package stack

import (
	"math/rand/v2"
	"net/netip"
	"testing"
	"time"

	"github.com/zctap/zctap/internal/driver"
	"github.com/zctap/zctap/internal/stack/tcp"
	"github.com/zctap/zctap/internal/testenv"
	"github.com/zctap/zctap/internal/wire"
)

// An abuser is a peer with a connection of its own, who does with it what it likes,
// while somebody else wants to be served by the same stack.
type abuser struct {
	r    *rig
	rand *rand.Rand
	conn *tcp.Conn
	h    wire.TCP // of the next segment; Seq is what we expect
	out  int      // frames that were sent to it in this round
	una  wire.Seq // what we sent first
}

const (
	abuserPort, honestPort = 6666, 7777
	abuseBuffers           = 1024
)

// abuseRounds is how many rounds of a millisecond there are.
func abuseRounds() int {
	if testenv.Race {
		return 80
	}
	return 400
}

// open connects a peer at port.
func (r *rig) open(port uint16, o wire.TCPOptions, accepted *[]*tcp.Conn) (wire.TCP, *tcp.Conn) {
	r.t.Helper()
	h := wire.TCP{SrcPort: port, DstPort: ourPort, Seq: 1000, Flags: wire.SYN, Window: 65535, Options: o}
	answer := parse(r.t, r.deliver(tcpPacket(r.t, peer6, us6.Addr(), h, nil), whole)[0]).tcp
	h.Flags, h.Seq, h.Ack, h.Options = wire.ACK, 1001, answer.Seq.Add(1), wire.TCPOptions{}
	r.deliver(tcpPacket(r.t, peer6, us6.Addr(), h, nil), whole)
	return h, (*accepted)[len(*accepted)-1]
}

// segment makes a frame of the abuser's, off bytes beyond what we expect.
func (a *abuser) segment(off int, payload []byte, change func(h *wire.TCP)) driver.Frame {
	h := a.h
	h.Seq = h.Seq.Add(uint32(off))
	if change != nil {
		change(&h)
	}
	// The payload in a buffer of its own, as drivers have it, while there are any.
	p := tcpPacket(a.r.t, peer6, us6.Addr(), h, payload)
	if len(payload) == 0 || a.r.pool.Free() == 0 {
		return driver.Frame{Head: p, Len: len(p)}
	}
	return a.r.frame(p, layout{len(p) - len(payload), []int{4096}})
}

// abuses are rounds of what can be done with one connection.
var abuses = []struct {
	name string
	// answers is the most frames that a round may draw, and all of them together,
	// if not 0: segments that cost their sender nothing are answered now and then only.
	answers, all int
	round        func(a *abuser) []driver.Frame
}{
	{"one byte at a time, unread", 64, 0, func(a *abuser) (f []driver.Frame) {
		for range 64 {
			f = append(f, a.segment(0, []byte{1}, nil))
			a.h.Seq++
		}
		return f
	}},
	{"one byte at a time, out of order", 64, 0, func(a *abuser) (f []driver.Frame) {
		for range 64 {
			f = append(f, a.segment(1+a.rand.IntN(60000), []byte{1}, nil))
		}
		return f
	}},
	{"every second byte", 64, 0, func(a *abuser) (f []driver.Frame) {
		for i := range 64 {
			f = append(f, a.segment(2+2*(a.rand.IntN(400)*64+i), []byte{1}, nil))
		}
		return f
	}},
	{"the same bytes again, with others in them", 64, 0, func(a *abuser) (f []driver.Frame) {
		for range 64 {
			f = append(f, a.segment(1+a.rand.IntN(3000), pattern(a.rand.IntN(100), 1000), nil))
		}
		return f
	}},
	{"ACKs of nothing new", 16, 16, func(a *abuser) (f []driver.Frame) {
		for range 256 {
			f = append(f, a.segment(0, nil, nil))
		}
		return f
	}},
	{"ACKs from anywhere", 1, 16, func(a *abuser) (f []driver.Frame) {
		for range 256 {
			f = append(f, a.segment(0, nil, func(h *wire.TCP) { h.Seq, h.Ack = wire.Seq(a.rand.Uint32()), wire.Seq(a.rand.Uint32()) }))
		}
		return f
	}},
	{"SYNs and RSTs from anywhere", 1, 16, func(a *abuser) (f []driver.Frame) {
		for range 256 {
			f = append(f, a.segment(0, nil, func(h *wire.TCP) {
				h.Flags = []wire.Flags{wire.SYN, wire.RST, wire.RST | wire.ACK, wire.SYN | wire.ACK}[a.rand.IntN(4)]
				h.Seq = h.Seq.Add(1 + a.rand.Uint32N(1<<31)) // but for the one that is right
			}))
		}
		return f
	}},
	{"keep-alives with a byte of garbage", 2, 0, func(a *abuser) (f []driver.Frame) {
		for range 64 {
			f = append(f, a.segment(-1, []byte{9}, nil))
		}
		return f
	}},
	{"FINs, here and there", 1, 0, func(a *abuser) (f []driver.Frame) {
		for range 64 {
			f = append(f, a.segment(a.rand.IntN(3000), nil, func(h *wire.TCP) { h.Flags |= wire.FIN }))
		}
		return f
	}},
	{"a window that grows and shrinks", 64, 0, func(a *abuser) (f []driver.Frame) {
		for i := range 64 {
			f = append(f, a.segment(0, nil, func(h *wire.TCP) { h.Window = uint16(i % 2 * a.rand.IntN(1<<16)) }))
		}
		return f
	}},
	{"urgent data, congestion and all other flags", 64, 0, func(a *abuser) (f []driver.Frame) {
		for range 64 {
			f = append(f, a.segment(a.rand.IntN(2), []byte{9}, func(h *wire.TCP) {
				h.Flags |= wire.Flags(a.rand.Uint32()) &^ (wire.RST | wire.SYN | wire.FIN)
				h.Urgent = uint16(a.rand.Uint32())
			}))
		}
		return f
	}},
	{"SACKs of single bytes", 200, 0, func(a *abuser) (f []driver.Frame) {
		for range 64 {
			f = append(f, a.segment(0, nil, func(h *wire.TCP) {
				h.Options.SACKCount = 4
				for i := range h.Options.SACK {
					from := a.una.Add(1 + a.rand.Uint32N(60000))
					h.Options.SACK[i] = wire.SACKBlock{Start: from, End: from + 1}
				}
			}))
		}
		return f
	}},
	{"SACKs that are taken back", 400, 0, func(a *abuser) (f []driver.Frame) {
		for i := range 64 {
			f = append(f, a.segment(0, nil, func(h *wire.TCP) {
				if i%2 == 0 {
					h.Options.SACKCount = 1
					h.Options.SACK[0] = wire.SACKBlock{Start: a.una.Add(1448), End: a.una.Add(50000)}
				}
			}))
		}
		return f
	}},
	{"SACKs of what was never sent", 200, 0, func(a *abuser) (f []driver.Frame) {
		for range 64 {
			f = append(f, a.segment(0, nil, func(h *wire.TCP) {
				h.Options.SACKCount = 2
				for i := range 2 {
					h.Options.SACK[i] = wire.SACKBlock{Start: wire.Seq(a.rand.Uint32()), End: wire.Seq(a.rand.Uint32())}
				}
			}))
		}
		return f
	}},
}

// abuse runs rounds of it, nil for none, and returns how many bytes somebody honest got
// through meanwhile, who repeats what is not acknowledged and sends what the window
// allows; the most buffers that the abuser kept; and by how much the heap has grown.
func abuse(t *testing.T, answers, all int, round func(a *abuser) []driver.Frame) (bytes int, held int, grown int64) {
	r := newRig(t, func(c *Config, _ *driver.Caps) { c.Pool = newPool(t, abuseBuffers) })
	var accepted []*tcp.Conn
	l, err := r.stack.Listen("tcp", netip.AddrPortFrom(us6.Addr(), ourPort), func() bool { return false },
		func(c *tcp.Conn) { accepted = append(accepted, c) })
	if err != nil {
		t.Fatal(err)
	}
	a := &abuser{r: r, rand: rand.New(rand.NewPCG(3, 4))}
	a.h, a.conn = r.open(abuserPort, wire.TCPOptions{MSS: 1440, SACKPermitted: true}, &accepted)
	a.una = a.h.Ack
	honest, conn := r.open(honestPort, wire.TCPOptions{MSS: 1440}, &accepted)
	if _, err := a.conn.Send.TryWrite(pattern(1, 1<<20)); err != nil { // for those who SACK
		t.Fatal(err)
	}
	a.conn.Kick()
	r.deliverFrame()
	window, before, most, total := 65535, testenv.HeapInUse(), 0, 0
	for range abuseRounds() {
		r.now = r.now.Add(time.Millisecond)
		r.stack.Advance(r.now)
		a.out = 0
		var frames []driver.Frame
		if round != nil {
			frames = round(a)
		}
		out := r.deliverFrame(frames...)
		for _, b := range out {
			if parse(t, b).tcp.DstPort == abuserPort {
				a.out++
			}
		}
		most, total = max(most, a.out), total+a.out
		frames = frames[:0]
		at := honest.Seq
		for sent := 0; sent < 16 && int(at-honest.Seq)+1400 <= window && r.pool.Free() > 0; sent++ {
			h := honest
			h.Seq = at
			p := tcpPacket(t, peer6, us6.Addr(), h, pattern(9, 1400))
			frames = append(frames, r.frame(p, layout{len(p) - 1400, []int{4096}}))
			at = at.Add(1400)
		}
		r.stack.WindowCheck()
		for _, b := range r.deliverFrame(frames...) {
			if p := parse(t, b); p.tcp.DstPort == honestPort {
				honest.Seq, window = p.tcp.Ack, int(p.tcp.Window)
			}
		}
		for conn.Recv.Buffered() > 0 {
			b, _, err := r.take(conn)
			if err != nil {
				t.Fatal(err)
			}
			bytes += len(b)
		}
		r.pool.Reclaim()
		held = max(held, a.conn.Held())
	}
	grown = testenv.HeapInUse() - before
	if most > answers {
		t.Errorf("a round drew %d frames, want %d at most", most, answers)
	}
	if all > 0 && total > all {
		t.Errorf("%d frames drawn, want %d at most", total, all)
	}
	l.Close()
	r.endAll(accepted)
	return bytes, held, grown
}

// TestAbuse: whatever a peer does with its connection, it does not keep more than half of
// the buffers, its part of the heap is bounded, and whoever else is there keeps at least
// half of the speed.
func TestAbuse(t *testing.T) {
	alone, _, _ := abuse(t, 1<<20, 0, nil)
	if want := abuseRounds() * 16 * 1400; alone < want/2 {
		t.Fatalf("%d bytes of %d without abuse", alone, want)
	}
	for _, k := range abuses {
		t.Run(k.name, func(t *testing.T) {
			bytes, held, grown := abuse(t, k.answers, k.all, k.round)
			t.Logf("%d %% of the speed, %d buffers held, %d bytes of heap", 100*bytes/alone, held, grown)
			if bytes < alone/2 {
				t.Errorf("%d bytes got through, %d without abuse", bytes, alone)
			}
			if held > abuseBuffers/2 {
				t.Errorf("%d of %d buffers held", held, abuseBuffers)
			}
			if grown > 1<<20 {
				t.Errorf("the heap has grown by %d bytes", grown)
			}
		})
	}
}

// TestZeroWindows: peers that never open their windows, of connections that the
// application has closed, are given up in the end, however faithfully they answer.
func TestZeroWindows(t *testing.T) {
	r := newRig(t)
	var accepted []*tcp.Conn
	_, err := r.stack.Listen("tcp", netip.AddrPortFrom(us6.Addr(), ourPort), func() bool { return false },
		func(c *tcp.Conn) { accepted = append(accepted, c) })
	if err != nil {
		t.Fatal(err)
	}
	const n = 100
	peers := map[uint16]wire.TCP{}
	for i := range uint16(n) {
		h, c := r.open(1000+i, wire.TCPOptions{MSS: 1440}, &accepted)
		h.Window = 0
		peers[h.SrcPort] = h
		r.deliver(tcpPacket(t, peer6, us6.Addr(), h, nil), whole)
		if _, err := c.Send.TryWrite(pattern(1, 100_000)); err != nil {
			t.Fatal(err)
		}
		c.Recv.Close()
		c.Close(r.now)
		r.deliverFrame()
	}
	start, probes := r.now, 0
	for r.stack.Stats().Conns > 0 && r.now.Sub(start) < time.Hour {
		r.now = max(r.now, r.stack.Next())
		r.stack.Advance(r.now)
		for _, b := range r.deliverFrame() {
			p := parse(t, b)
			probes++
			if h, ok := peers[p.tcp.DstPort]; ok && !p.tcp.Flags.Has(wire.RST) {
				r.deliver(tcpPacket(t, peer6, us6.Addr(), h, nil), whole)
			}
		}
	}
	took := r.now.Sub(start)
	if took > 2*tcp.DefaultUserTimeout || took < tcp.DefaultUserTimeout || probes > 30*n {
		t.Errorf("gone after %v and %d probes", took, probes)
	}
	r.wantFree()
}
