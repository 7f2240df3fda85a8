package stack

import (
	"bytes"
	"math/rand/v2"
	"net/netip"
	"testing"
	"time"

	"github.com/zctap/zctap/internal/driver"
	"github.com/zctap/zctap/internal/stack/tcp"
	"github.com/zctap/zctap/internal/wire"
)

// crowds are two stacks with many connections, that are given the same frames: one whole
// batches, in which it looks ahead, the other one frame after the other.
type crowds struct {
	t     *testing.T
	rand  *rand.Rand
	addr  pair
	rigs  [2]*rig
	conns [2]map[uint16]*tcp.Conn // the last one, by the peer's port
	all   [2][]*tcp.Conn          // that were accepted
	peers []wire.TCP              // the next segment of each flow's peer
	fins  map[uint16]wire.Seq     // what acknowledges our FIN
}

func newCrowds(t *testing.T, seed uint64, flows int) *crowds {
	w := &crowds{t: t, rand: rand.New(rand.NewPCG(seed, 2)), addr: pairs[seed%2], fins: map[uint16]wire.Seq{}}
	for i := range w.rigs {
		w.conns[i] = map[uint16]*tcp.Conn{}
		w.rigs[i] = newRig(t, func(c *Config, _ *driver.Caps) { c.Pool, c.MaxPending = newPool(t, 1024), 1<<20 })
		_, err := w.rigs[i].stack.Listen("tcp", netip.AddrPortFrom(w.addr.us, ourPort), func() bool { return false },
			func(c *tcp.Conn) {
				w.conns[i][c.Tuple().Remote.Port()] = c
				w.all[i] = append(w.all[i], c)
			})
		if err != nil {
			t.Fatal(err)
		}
	}
	w.peers = make([]wire.TCP, flows)
	for first := 0; first < flows; first += 64 {
		var syns [][]byte
		for i := first; i < min(first+64, flows); i++ {
			w.peers[i] = wire.TCP{SrcPort: uint16(1000 + i), DstPort: ourPort, Seq: wire.Seq(w.rand.Uint32()), Window: 65535}
			syns = append(syns, w.next(i, wire.SYN, 0))
		}
		w.round(syns)
	}
	for i := range w.peers {
		w.round([][]byte{w.next(i, wire.ACK, 0)})
	}
	if len(w.conns[0]) != flows {
		t.Fatalf("%d connections", len(w.conns[0]))
	}
	return w
}

// next is the next segment of flow i's peer, with n bytes of payload.
func (w *crowds) next(i int, flags wire.Flags, n int) []byte {
	h := w.peers[i]
	if h.Flags = flags; flags == wire.SYN {
		h.Ack = 0
	}
	w.peers[i].Seq = h.Seq.Add(uint32(n))
	if flags&(wire.SYN|wire.FIN) != 0 {
		w.peers[i].Seq++
	}
	return tcpPacket(w.t, w.addr.peer, w.addr.us, h, pattern(i, n))
}

// burst is what some flows' peers send at once: data mostly, and what takes connections
// out of the table and puts others there, with the same ends.
func (w *crowds) burst() (out [][]byte) {
	few := w.rand.IntN(4) == 0
	for len(out) < 100 {
		i := w.rand.IntN(len(w.peers))
		switch {
		case few:
			i %= 30 // in turns: these are sorted
		case w.rand.IntN(2) == 0:
			i %= 30 // so often that their ACKs wait
		}
		fin, ended := w.fins[w.peers[i].SrcPort]
		switch op := w.rand.IntN(60); {
		case ended: // TIME-WAIT, and what follows it at once
			delete(w.fins, w.peers[i].SrcPort)
			w.peers[i].Ack = fin
			out = append(out, w.next(i, wire.FIN|wire.ACK, 0))
			if op < 45 {
				w.peers[i].Seq += 1 << 20
				out = append(out, w.next(i, wire.SYN, 0), w.next(i, wire.ACK, 10))
			}
		case op == 0:
			out = append(out, w.next(i, wire.RST|wire.ACK, 0), w.next(i, wire.SYN, 0))
		case op == 1:
			before := w.peers[i]
			out = append(out, w.next(i, wire.SYN, 0)) // which is challenged, or begins
			if c := w.conns[0][before.SrcPort]; c.State() == tcp.Established {
				w.peers[i] = before
			}
		case op == 2:
			p := w.next(i, wire.ACK, 20)
			wrong := bytes.Clone(p)
			wrong[len(p)-1]++ // and so is the checksum
			out = append(out, wrong, p)
		default:
			n := 1 + w.rand.IntN(6)
			if few {
				n = 1
			}
			for range n {
				out = append(out, w.next(i, wire.ACK, []int{1, 2, 3, 500}[w.rand.IntN(4)]))
			}
		}
	}
	return out
}

// round delivers packets, requires that both stacks make the same of them, and has
// the applications take what came, and close some connections.
func (w *crowds) round(packets [][]byte) {
	w.t.Helper()
	pass := time.Duration(w.rand.IntN(60)) * time.Millisecond
	full := w.rand.IntN(4) == 0
	for _, r := range w.rigs {
		r.wire.full = full
	}
	inTwoWays(w.t, w.rigs, pass, len(packets), func(r *rig, k int) driver.Frame { return r.frame(packets[k], whole) }, oneWay)
	a, b := w.rigs[0], w.rigs[1]
	if a.stack.Next() != b.stack.Next() {
		w.t.Fatalf("after a batch of %d it is due at %d, one by one at %d", len(packets), a.stack.Next(), b.stack.Next())
	}
	for _, c := range a.stack.Conns() {
		// What waits for the wire is looked at when that has room.
		if d, next := max(c.Deadline(), a.now+1), a.stack.Next(); c.Deadline() != 0 && !full && (next == 0 || d.Before(next)) {
			w.t.Fatalf("a connection is due at %d, the stack at %d", d, next)
		}
	}
	for _, p := range a.wire.sent {
		h := parse(w.t, p)
		i := h.tcp.DstPort - 1000
		end := h.tcp.Seq.Add(uint32(len(h.payload)))
		switch {
		case h.tcp.Flags.Has(wire.RST):
		case h.tcp.Flags.Has(wire.SYN):
			w.peers[i].Ack = end.Add(1)
		case h.tcp.Flags.Has(wire.FIN):
			w.fins[h.tcp.DstPort] = end.Add(1)
		}
	}
	for port := range uint16(len(w.peers)) {
		c, d := w.conns[0][1000+port], w.conns[1][1000+port]
		if c == nil && d == nil {
			continue
		}
		got, _, err := a.take(c)
		if got1, _, err1 := b.take(d); !bytes.Equal(got, got1) || err != err1 || c.State() != d.State() {
			w.t.Fatalf("flow %d: %d bytes, %v, %v; one by one %d bytes, %v, %v", port, len(got), err, c.State(), len(got1), err1, d.State())
		}
		if w.rand.IntN(400) == 0 {
			c.Close(a.now)
			d.Close(b.now)
		}
	}
}

// TestLookAheadAsSingle: a batch of so many connections that the stack looks ahead, and sorts it by flow,
// does just what its frames do one by one, also where connections end in it, and others begin with their ends.
func TestLookAheadAsSingle(t *testing.T) {
	for seed := range uint64(2) {
		w := newCrowds(t, seed, lookFlows+300)
		ahead, sorted, opened, s := 0, 0, len(w.all[0]), w.rigs[0].stack
		for range 120 {
			if s.conns.n >= lookFlows {
				ahead++
			}
			w.round(w.burst())
			if s.order.mixed {
				sorted++
			}
		}
		if n := s.Stats().TCP.DelayedAcks; n < 10 {
			t.Errorf("seed %d: %d delayed ACKs", seed, n)
		}
		if anew := len(w.all[0]) - opened; ahead < 30 || anew < 100 || sorted < 5 {
			t.Errorf("seed %d: %d batches with a look ahead, %d sorted by flow, %d connections anew", seed, ahead, sorted, anew)
		}
		for i, r := range w.rigs {
			for _, c := range w.all[i] {
				c.Recv.Close()
				c.Recv.Drain()
			}
			for _, c := range r.stack.Conns() {
				c.Abort(r.now)
			}
			r.deliverFrame()
			r.wantFree()
		}
	}
}
