package stack

import (
	"bytes"
	"errors"
	"net/netip"
	"syscall"
	"testing"
	"time"

	"github.com/zctap/zctap/internal/buf"
	"github.com/zctap/zctap/internal/driver"
	"github.com/zctap/zctap/internal/stack/tcp"
	"github.com/zctap/zctap/internal/wire"
)

// A peer is the other end of a connection, played by the test: it sends what it
// is told to, and takes no notice of what comes.
type peer struct {
	r    *rig
	addr pair
	h    wire.TCP // of the next segment
}

const peerPort, ourPort = 999, 80

// connect has a peer connect to a listener of the stack's.
func (r *rig) connect(a pair) (*peer, *tcp.Conn) {
	r.t.Helper()
	var conn *tcp.Conn
	l, err := r.stack.Listen("tcp", netip.AddrPortFrom(a.us, ourPort), func() bool { return false }, func(c *tcp.Conn) { conn = c })
	if err != nil {
		r.t.Fatal(err)
	}
	defer l.Close()
	p := &peer{r: r, addr: a, h: wire.TCP{SrcPort: peerPort, DstPort: ourPort, Seq: 1000, Flags: wire.SYN, Window: 65535}}
	out := p.send(nil, whole)
	if len(out) != 1 {
		r.t.Fatalf("SYN drew %d frames", len(out))
	}
	answer := parse(r.t, out[0]).tcp
	if answer.Flags != wire.SYN|wire.ACK || answer.Ack != 1001 {
		r.t.Fatalf("SYN drew %+v", answer)
	}
	p.h.Flags, p.h.Seq, p.h.Ack = wire.ACK, 1001, answer.Seq.Add(1)
	p.send(nil, whole)
	if conn == nil {
		r.t.Fatal("not connected")
	}
	return p, conn
}

// send sends a segment, in the given layout, and returns what comes back.
func (p *peer) send(payload []byte, l layout) [][]byte {
	p.r.t.Helper()
	out := p.r.deliver(tcpPacket(p.r.t, p.addr.peer, p.addr.us, p.h, payload), l)
	p.h.Seq = p.h.Seq.Add(uint32(len(payload)))
	return out
}

// take takes what c has received, and reports how much of it was copied.
func (r *rig) take(c *tcp.Conn) (b []byte, copied int, err error) {
	r.t.Helper()
	var iovs [64]buf.Iov
	n, _, _, err := c.Recv.Poll(iovs[:], 1<<30)
	for i := range iovs[:n] {
		b = append(b, iovs[i].Bytes()...)
		if iovs[i].Frag().Copied() {
			copied += len(iovs[i].Bytes())
		}
	}
	if _, err := r.pool.Return(iovs[:n]); err != nil {
		r.t.Fatal(err)
	}
	return b, copied, err
}

// end resets c and requires that nothing of it is left.
func (r *rig) end(c *tcp.Conn) {
	r.t.Helper()
	r.endAll([]*tcp.Conn{c})
}

// TestSegmentLayouts delivers a stream in segments that lie in memory in every
// way: it comes out whole, and only what lay in Head was copied.
func TestSegmentLayouts(t *testing.T) {
	for _, a := range pairs {
		r := newRig(t)
		p, c := r.connect(a)
		payload := pattern(1, 25)
		headers := len(tcpPacket(t, a.peer, a.us, p.h, nil))
		var copied uint64
		for _, l := range layouts(headers + len(payload)) {
			if out := p.send(payload, l); len(out) > 1 {
				t.Fatalf("%+v drew %d frames", l, len(out))
			}
			got, n, err := r.take(c)
			if !bytes.Equal(got, payload) || err != nil {
				t.Fatalf("%+v: %x, %v", l, got, err)
			}
			if want := min(max(l.head-headers, 0), len(payload)); n != want {
				t.Fatalf("%+v: %d bytes copied, want %d", l, n, want)
			}
			copied += uint64(n)
		}
		if st := r.stack.Stats().TCP; st.CopiedBytes != copied || st.ZeroCopyBytes != uint64(len(layouts(headers+len(payload)))*len(payload))-copied {
			t.Errorf("%d bytes counted as copied and %d as not, want %d", st.CopiedBytes, st.ZeroCopyBytes, copied)
		}
		r.wantDrops(nil)
		r.end(c)
	}
}

// TestRefusedSegments is RFC 9293 section 3.10.7.1.
func TestRefusedSegments(t *testing.T) {
	for _, a := range pairs {
		for _, tt := range []struct {
			name    string
			h       wire.TCP
			payload int
			want    *wire.TCP
		}{
			{"SYN", wire.TCP{Seq: 7, Flags: wire.SYN}, 0, &wire.TCP{Ack: 8, Flags: wire.RST | wire.ACK}},
			{"SYN with data and FIN", wire.TCP{Seq: 7, Flags: wire.SYN | wire.FIN}, 10, &wire.TCP{Ack: 19, Flags: wire.RST | wire.ACK}},
			{"data", wire.TCP{Seq: 7, Ack: 99, Flags: wire.ACK}, 10, &wire.TCP{Seq: 99, Flags: wire.RST}},
			{"RST", wire.TCP{Seq: 7, Flags: wire.RST}, 0, nil},
			{"RST and ACK", wire.TCP{Seq: 7, Ack: 99, Flags: wire.RST | wire.ACK}, 0, nil},
		} {
			t.Run(tt.name, func(t *testing.T) {
				r := newRig(t)
				p := &peer{r: r, addr: a, h: tt.h}
				p.h.SrcPort, p.h.DstPort = peerPort, ourPort
				out := p.send(pattern(1, tt.payload), layout{50, []int{4096}})
				r.wantDrops(map[string]uint64{"no-connection": 1})
				r.wantFree()
				if tt.want == nil {
					if len(out) != 0 {
						t.Errorf("%d frames out, want none", len(out))
					}
					return
				}
				if len(out) != 1 {
					t.Fatalf("%d frames out, want 1", len(out))
				}
				got := parse(t, out[0]).tcp
				if got.Seq != tt.want.Seq || got.Ack != tt.want.Ack || got.Flags != tt.want.Flags || got.SrcPort != ourPort || got.DstPort != peerPort {
					t.Errorf("%+v, want %+v", got, *tt.want)
				}
			})
		}
	}
}

// TestOneAckABatch: segments that come together are acknowledged together, and
// shown together.
func TestOneAckABatch(t *testing.T) {
	r := newRig(t)
	p, c := r.connect(pairs[0])
	r.wire.sent = nil
	b := newFrames(r, p, 20, 1000)
	if out := r.deliverFrame(b...); len(out) != 1 || parse(t, out[0]).tcp.Ack != p.h.Seq {
		t.Errorf("%d frames out, want one ACK of everything", len(out))
	}
	if n := c.Recv.Buffered(); n != 20_000 {
		t.Errorf("%d bytes to read, want 20000", n)
	}
	r.end(c)
}

// TestTimeWait: the ends of a connection that was closed stay for a while, then
// are forgotten; meanwhile a newer SYN may take them over.
func TestTimeWait(t *testing.T) {
	r := newRig(t)
	p, c := r.connect(pairs[0])
	c.Recv.Close()
	c.Close(r.now)
	out := r.deliverFrame()
	if len(out) != 1 || !parse(t, out[0]).tcp.Flags.Has(wire.FIN) {
		t.Fatalf("%d frames out, want a FIN", len(out))
	}
	p.h.Flags, p.h.Ack = wire.FIN|wire.ACK, parse(t, out[0]).tcp.Seq.Add(1)
	p.send(nil, whole)
	if c.State() != tcp.TimeWait || r.stack.Stats().Conns != 1 {
		t.Fatalf("%v, %d connections", c.State(), r.stack.Stats().Conns)
	}
	// An old SYN does not.
	if _, again := r.reconnect(1); again != nil {
		t.Error("an old SYN made a connection")
	}
	if _, again := r.reconnect(5000); again == nil {
		t.Error("a new SYN made no connection")
	} else {
		r.end(again)
	}
	// Once more, and wait.
	p, c = r.connect(pairs[0])
	c.Recv.Close()
	c.Close(r.now)
	p.h.Flags, p.h.Ack = wire.FIN|wire.ACK, parse(t, r.deliverFrame()[0]).tcp.Seq.Add(1)
	p.send(nil, whole)
	start := r.now
	for r.stack.Stats().Conns > 0 && r.stack.Next() > r.now {
		r.now = r.stack.Next()
		r.stack.Advance(r.now)
		r.deliverFrame()
	}
	if n := r.stack.Stats().Conns; n != 0 || r.now.Sub(start) != tcp.DefaultTimeWait || r.stack.Next() != 0 {
		t.Errorf("%d connections left after %v, next timer %v", n, r.now.Sub(start), r.stack.Next())
	}
}

// Where nobody listens any more no SYN ends TIME-WAIT, neither one that comes later nor one in
// the batch of the peer's FIN.
func TestTimeWaitWithoutListener(t *testing.T) {
	for _, later := range []bool{false, true} {
		r := newRig(t)
		p, c := r.connect(pairs[0])
		c.Recv.Close()
		c.Close(r.now)
		p.h.Flags, p.h.Ack = wire.FIN|wire.ACK, parse(t, r.deliverFrame()[0]).tcp.Seq.Add(1)
		syn := p.h
		syn.Seq, syn.Flags, syn.Ack = syn.Seq.Add(1<<20), wire.SYN, 0
		var frames []driver.Frame
		for _, h := range []wire.TCP{p.h, syn} {
			frames = append(frames, r.frame(tcpPacket(t, p.addr.peer, p.addr.us, h, nil), whole))
		}
		var out [][]byte
		if later {
			r.deliverFrame(frames[0])
			out = r.deliverFrame(frames[1])
		} else {
			out = r.deliverFrame(frames...)
		}
		for _, b := range out {
			if f := parse(t, b).tcp.Flags; f.Has(wire.RST) {
				t.Errorf("later %v: a RST", later)
			}
		}
		if n := r.stack.Stats().Conns; len(out) == 0 || n != 1 {
			t.Errorf("later %v: %d answers, %d connections", later, len(out), n)
		}
		r.stack.DropTimeWaits()
	}
}

// reconnect has the same peer send a SYN with the given sequence number.
func (r *rig) reconnect(seq wire.Seq) (p *peer, conn *tcp.Conn) {
	r.t.Helper()
	l, err := r.stack.Listen("tcp", netip.AddrPortFrom(us4.Addr(), ourPort), func() bool { return false }, func(c *tcp.Conn) { conn = c })
	if err != nil {
		r.t.Fatal(err)
	}
	defer l.Close()
	p = &peer{r: r, addr: pairs[0], h: wire.TCP{SrcPort: peerPort, DstPort: ourPort, Seq: seq, Flags: wire.SYN, Window: 65535}}
	out := p.send(nil, whole)
	if len(out) == 0 || !parse(r.t, out[0]).tcp.Flags.Has(wire.SYN) {
		return p, nil
	}
	p.h.Flags, p.h.Seq, p.h.Ack = wire.ACK, seq.Add(1), parse(r.t, out[0]).tcp.Seq.Add(1)
	p.send(nil, whole)
	return p, conn
}

// TestFullWireHoldsPayloadBack: while the wire is full connections keep what they
// have to send, but what came is shown.
func TestFullWireHoldsPayloadBack(t *testing.T) {
	r := newRig(t)
	p, c := r.connect(pairs[0])
	r.wire.full = true
	p.send(pattern(1, 100), whole) // its ACK fills the wire
	if !r.stack.Stalled() {
		t.Fatal("the wire is not full")
	}
	if _, err := c.Send.TryWrite(pattern(2, 5000)); err != nil {
		t.Fatal(err)
	}
	c.Kick()
	p.send(pattern(1, 100), whole)
	if n := c.Recv.Buffered(); n != 200 {
		t.Errorf("%d bytes shown, want 200", n)
	}
	before := r.stack.Stats().TCP.SentBytes
	r.deliverFrame()
	if n := r.stack.Stats().TCP.SentBytes; n != before {
		t.Errorf("%d bytes sent to a full wire", n-before)
	}
	r.wire.full = false
	var got []byte
	for _, b := range r.deliverFrame() {
		got = append(got, parse(t, b).payload...)
	}
	if !bytes.Equal(got, pattern(2, 5000)) {
		t.Errorf("%d bytes sent", len(got))
	}
	r.end(c)
}

func TestListenAndDialErrors(t *testing.T) {
	r := newRig(t)
	full := func() bool { return false }
	l, err := r.stack.Listen("tcp", netip.AddrPortFrom(netip.Addr{}, 80), full, nil)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := r.stack.Listen("tcp", netip.AddrPortFrom(us6.Addr(), 80), full, nil); !errors.Is(err, syscall.EADDRINUSE) {
		t.Errorf("Listen where all listen: %v", err)
	}
	l.Close()
	if l, err = r.stack.Listen("tcp", netip.AddrPortFrom(us6.Addr(), 80), full, nil); err != nil {
		t.Errorf("Listen after Close: %v", err)
	}
	l.Close()
	if n := r.stack.listeners.n; n != 0 {
		t.Errorf("%d listeners left", n)
	}
	for _, bad := range []string{"0.0.0.0/24", "224.0.0.1/24", "127.0.0.1/8", "::/64"} {
		if _, err := New(Config{Pool: r.pool, Driver: r.wire, Prefixes: []netip.Prefix{netip.MustParsePrefix(bad)}}); !errors.Is(err, syscall.EADDRNOTAVAIL) {
			t.Errorf("New with address %s: %v", bad, err)
		}
	}
}

// TestDialIsRetransmitted and in the end given up, with all of it forgotten.
func TestDialIsRetransmitted(t *testing.T) {
	r := newRig(t)
	c, err := r.stack.Dial(r.now, "tcp", netip.AddrPort{}, netip.AddrPortFrom(peer4, 80))
	if err != nil {
		t.Fatal(err)
	}
	var ended error
	c.OnConnect = func(err error) { ended = err }
	syns := len(r.deliverFrame())
	start := r.now
	for ended == nil {
		next := r.stack.Next()
		if next <= r.now || next.Sub(start) > time.Hour {
			t.Fatalf("the next timer is in %v", next.Sub(r.now))
		}
		r.now = next
		r.stack.Advance(r.now)
		syns += len(r.deliverFrame())
	}
	if !errors.Is(ended, syscall.ETIMEDOUT) || syns < 4 {
		t.Errorf("%v after %d SYNs in %v", ended, syns, r.now.Sub(start))
	}
	if n := r.stack.Stats().Conns; n != 0 {
		t.Errorf("%d connections left", n)
	}
}

// newFrames makes n segments of payload bytes each, which follow one another.
func newFrames(r *rig, p *peer, n, payload int) (frames []driver.Frame) {
	for range n {
		b := tcpPacket(r.t, p.addr.peer, p.addr.us, p.h, pattern(1, payload))
		p.h.Seq = p.h.Seq.Add(uint32(payload))
		frames = append(frames, r.frame(b, whole))
	}
	return frames
}
