package stack

import (
	"errors"
	"net/netip"
	"syscall"
	"testing"
	"time"

	"github.com/zctap/zctap/internal/stack/tcp"
	"github.com/zctap/zctap/internal/testenv"
	"github.com/zctap/zctap/internal/wire"
)

// A closer makes connections that end in TIME-WAIT.
type closer struct {
	r     *rig
	conns []*tcp.Conn
	gone  []any
}

func newCloser(t testing.TB) *closer {
	k := &closer{}
	k.r = newRig(t)
	k.r.stack.gone = func(tag any) { k.gone = append(k.gone, tag) }
	_, err := k.r.stack.Listen("tcp", netip.AddrPortFrom(us4.Addr(), ourPort), func() bool { return false },
		func(c *tcp.Conn) { k.conns = append(k.conns, c) })
	if err != nil {
		t.Fatal(err)
	}
	return k
}

// close has a peer at port connect, and us close first. It returns the peer.
func (k *closer) close(port uint16) *peer {
	r := k.r
	r.t.Helper()
	k.conns = k.conns[:0]
	p := &peer{r: r, addr: pairs[0], h: wire.TCP{SrcPort: port, DstPort: ourPort, Seq: 1000, Flags: wire.SYN, Window: 65535}}
	p.h.Seq, p.h.Ack, p.h.Flags = 1001, parse(r.t, p.send(nil, whole)[0]).tcp.Seq.Add(1), wire.ACK
	p.send(nil, whole)
	if len(k.conns) != 1 {
		r.t.Fatal("not connected")
	}
	c := k.conns[0]
	c.Tag = int(port)
	c.Recv.Close()
	c.Close(r.now)
	r.deliverFrame()
	p.h.Flags, p.h.Ack = wire.FIN|wire.ACK, p.h.Ack.Add(1)
	p.send(nil, whole)
	if c.State() != tcp.TimeWait {
		r.t.Fatalf("%v, want TIME-WAIT", c.State())
	}
	return p
}

// TestTimeWaitsAreSmall: nothing of the connection is kept but what TIME-WAIT takes.
func TestTimeWaitsAreSmall(t *testing.T) {
	k := newCloser(t)
	const n = 10_000
	before := testenv.HeapInUse()
	for i := range n {
		k.close(uint16(1000 + i))
	}
	k.conns = nil
	each := (testenv.HeapInUse() - before) / n
	t.Logf("%d bytes each, with their part of the table", each)
	if each > 640 {
		t.Errorf("%d bytes for a connection in TIME-WAIT", each)
	}
	if c := k.r.stack.conns.n; c != 0 || k.r.stack.Stats().Conns != n {
		t.Errorf("%d connections, %d in all", c, k.r.stack.Stats().Conns)
	}
	// Nor are there ever more than docs/tcp-conformance.md says (MUST-13).
	const most = 16_384
	for i := n; i < most+100; i++ {
		k.close(uint16(1000 + i))
	}
	if st := k.r.stack.Stats(); st.Conns != most || st.TCP.TimeWaitOverflows != 100 {
		t.Errorf("%d in TIME-WAIT, %d ended early", st.Conns, st.TCP.TimeWaitOverflows)
	}
}

// TestTimeWaitsEndInOrder: each after its time, which a FIN that comes again begins anew,
// and the oldest early if there are too many.
func TestTimeWaitsEndInOrder(t *testing.T) {
	k := newCloser(t)
	k.r.stack.tcp.MaxTimeWait = 3
	var peers []*peer
	for i := range 5 {
		peers = append(peers, k.close(uint16(i)))
		k.r.now = k.r.now.Add(time.Second)
	}
	if len(k.gone) != 2 || k.gone[0] != 0 || k.gone[1] != 1 || k.r.stack.Stats().TCP.TimeWaitOverflows != 2 {
		t.Fatalf("gone %v, %d overflows", k.gone, k.r.stack.Stats().TCP.TimeWaitOverflows)
	}
	again := k.r.now
	peers[3].h.Seq = 1001
	if out := peers[3].send(nil, whole); len(out) != 1 {
		t.Errorf("FIN again drew %d frames", len(out))
	}
	var after []time.Duration
	for next := k.r.stack.Next(); next != 0; next = k.r.stack.Next() {
		k.r.now = next
		k.r.stack.Advance(next)
		k.r.deliverFrame()
		after = append(after, next.Sub(again))
	}
	const s = time.Second
	if len(after) != 3 || after[0] != 57*s || after[1] != 59*s || after[2] != 60*s {
		t.Errorf("they ended after %v", after)
	}
	if len(k.gone) != 5 || k.gone[2] != 2 || k.gone[3] != 4 || k.gone[4] != 3 || k.r.stack.Stats().Conns != 0 {
		t.Errorf("gone %v, %d left", k.gone, k.r.stack.Stats().Conns)
	}
}

// TestDropTimeWaits: an engine that ends gives back what they had.
func TestDropTimeWaits(t *testing.T) {
	k := newCloser(t)
	k.close(1)
	k.close(2)
	k.r.stack.DropTimeWaits()
	if len(k.gone) != 2 || k.r.stack.Stats().Conns != 0 || k.r.stack.Next() != 0 {
		t.Errorf("gone %v, %d left", k.gone, k.r.stack.Stats().Conns)
	}
}

// dialToTimeWait dials and closes: the connection is in TIME-WAIT then. It returns its FIN, too.
func (r *rig) dialToTimeWait(from, to netip.AddrPort, timestamps bool) (c *tcp.Conn, fin wire.TCP) {
	r.t.Helper()
	c, err := r.stack.Dial(r.now, "tcp", from, to)
	if err != nil {
		r.t.Fatal(err)
	}
	syn := parse(r.t, r.deliverFrame()[0]).tcp
	p := &peer{r: r, addr: pairs[0], h: wire.TCP{
		SrcPort: to.Port(), DstPort: from.Port(), Seq: 1000, Flags: wire.SYN | wire.ACK, Ack: syn.Seq.Add(1), Window: 65535,
	}}
	p.h.Options.HasTimestamps, p.h.Options.TSVal = timestamps, 7
	p.send(nil, whole)
	p.h.Seq, p.h.Flags = 1001, wire.ACK
	c.Recv.Close()
	c.Close(r.now)
	fin = parse(r.t, r.deliverFrame()[0]).tcp
	p.h.Flags, p.h.Ack = wire.FIN|wire.ACK, fin.Seq.Add(1)
	p.send(nil, whole)
	if c.State() != tcp.TimeWait {
		r.t.Fatalf("%v, want TIME-WAIT", c.State())
	}
	return c, fin
}

// TestDialSparesTimeWait: who leaves the port to us does not get one in TIME-WAIT as long as
// others are easily found, though it could be dialed again.
func TestDialSparesTimeWait(t *testing.T) {
	to := netip.AddrPortFrom(peer4, 80)
	dial := func(r *rig) netip.AddrPort {
		c, err := r.stack.Dial(r.now, "tcp", netip.AddrPort{}, to)
		if err != nil {
			t.Fatal(err)
		}
		c.Abort(r.now)
		r.deliverFrame()
		return c.Tuple().Local
	}
	first := dial(newRig(t)) // what chance picks: the next rig has the same seed
	r := newRig(t)
	r.dialToTimeWait(first, to, true)
	r.now = r.now.Add(2 * time.Second)
	if got := dial(r); got == first || got.Port() != first.Port()+1 {
		t.Errorf("dialed from %v, with %v in TIME-WAIT", got, first)
	}
	r.stack.DropTimeWaits()
}

// TestDialReusesTimeWait: ends in TIME-WAIT can be dialed again after a second, if the
// connection had timestamps, with numbers beyond the old ones.
func TestDialReusesTimeWait(t *testing.T) {
	for _, timestamps := range []bool{false, true} {
		r := newRig(t)
		from, to := netip.AddrPortFrom(us4.Addr(), 5000), netip.AddrPortFrom(peer4, 80)
		c, fin := r.dialToTimeWait(from, to, timestamps)
		if _, err := r.stack.Dial(r.now, "tcp", from, to); !errors.Is(err, syscall.EADDRINUSE) {
			t.Errorf("dialed at once: %v", err)
		}
		r.now = r.now.Add(time.Second)
		next, err := r.stack.Dial(r.now, "tcp", from, to)
		if !timestamps {
			if !errors.Is(err, syscall.EADDRINUSE) {
				t.Errorf("dialed without timestamps: %v", err)
			}
			continue
		}
		if err != nil {
			t.Fatal(err)
		}
		out := r.deliverFrame()
		if len(out) != 1 {
			t.Fatalf("%d frames", len(out))
		}
		again := parse(t, out[0]).tcp
		if again.Flags != wire.SYN || !fin.Seq.LessThan(again.Seq) || int32(again.Options.TSVal-fin.Options.TSVal) < 1000 {
			t.Errorf("SYN %+v after %+v", again, fin)
		}
		if c.State() != tcp.Closed || r.stack.Stats().Conns != 1 {
			t.Errorf("the old one is in %v, %d connections", c.State(), r.stack.Stats().Conns)
		}
		next.Abort(r.now)
		r.deliverFrame()
	}
}
