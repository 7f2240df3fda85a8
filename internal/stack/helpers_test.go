package stack

import (
	"bytes"
	"net/netip"
	"testing"
	"time"

	"github.com/zctap/zctap/internal/buf"
	"github.com/zctap/zctap/internal/driver"
	"github.com/zctap/zctap/internal/mono"
	"github.com/zctap/zctap/internal/sockq"
	"github.com/zctap/zctap/internal/stack/udp"
	"github.com/zctap/zctap/internal/testenv"
	"github.com/zctap/zctap/internal/wire"
)

func TestMain(m *testing.M) { testenv.Main(m) }

var (
	us4   = netip.MustParsePrefix("192.0.2.1/24")
	us6   = netip.MustParsePrefix("2001:db8::1/64")
	peer4 = netip.MustParseAddr("192.0.2.2")
	peer6 = netip.MustParseAddr("2001:db8::2")
)

// pair is our address and a peer's.
type pair struct{ us, peer netip.Addr }

var pairs = []pair{{us4.Addr(), peer4}, {us6.Addr(), peer6}}

// scriptWire is a driver on which a test is the peer: frames are given to Stack
// by the test itself, and what the stack sends is recorded.
type scriptWire struct {
	driver.Driver // nil: a Stack only sends
	caps          driver.Caps
	sent          [][]byte
	full          bool
	quiet         bool                    // nothing is recorded
	watch         func(f *driver.TxFrame) // if not nil, is shown what is not recorded
}

func (w *scriptWire) Caps() driver.Caps { return w.caps }

func (w *scriptWire) Send(_ mono.Time, frames []driver.TxFrame) (int, error) {
	if w.full {
		return 0, nil
	}
	if w.quiet {
		for i := range frames {
			if w.watch != nil {
				w.watch(&frames[i])
			}
		}
		return len(frames), nil
	}
	for _, f := range frames {
		w.sent = append(w.sent, bytes.Join([][]byte{f.Head, f.Payload[0], f.Payload[1]}, nil))
	}
	return len(frames), nil
}

// A rig is a stack on a scriptWire.
type rig struct {
	t     testing.TB
	pool  *buf.Pool
	wire  *scriptWire
	stack *Stack
	now   mono.Time
}

const rigBuffers = 256

func newRig(t testing.TB, change ...func(*Config, *driver.Caps)) *rig {
	t.Helper()
	r := &rig{t: t, now: mono.Time(time.Hour)}
	caps := driver.Caps{Name: "script", MTU: 1500}
	c := Config{CQ: sockq.NewCQ(), Prefixes: []netip.Prefix{us4, us6}, Seed: [32]byte{1}}
	for _, f := range change {
		f(&c, &caps)
	}
	if c.Pool == nil {
		c.Pool = newPool(t, rigBuffers)
	}
	r.pool = c.Pool
	r.wire = &scriptWire{caps: caps}
	c.Driver = r.wire
	s, err := New(c)
	if err != nil {
		t.Fatal(err)
	}
	r.stack = s
	return r
}

// newPool makes a pool on the heap, and checks at the test's end that all of its
// buffers are free again.
func newPool(t testing.TB, buffers int) *buf.Pool {
	t.Helper()
	region, err := buf.NewRegion(buf.RegionConfig{Buffers: buffers, Heap: true})
	if err != nil {
		t.Fatal(err)
	}
	p := buf.NewPool(region)
	t.Cleanup(func() {
		c, err := p.Census()
		if err != nil || c.Out() != 0 {
			t.Errorf("at the end: %+v, %v; want all buffers free", c, err)
		}
		p.Close()
		if !p.Remove() {
			t.Error("the pool could not be removed")
		}
	})
	return p
}

// layout says how a frame lies in memory: the first head bytes in Head, then
// buffers that hold so many bytes each, the last number as often as needed.
type layout struct {
	head    int
	buffers []int
}

// whole is what a driver without header split delivers.
var whole = layout{0, []int{4096}}

// frame makes a received frame of b.
func (r *rig) frame(b []byte, l layout) driver.Frame {
	r.t.Helper()
	head := min(l.head, len(b))
	f := driver.Frame{Head: bytes.Clone(b[:head]), Len: len(b)}
	rest := b[head:]
	for i := 0; len(rest) > 0; i++ {
		n := min(l.buffers[min(i, len(l.buffers)-1)], len(rest))
		var id [1]uint16
		if r.pool.Alloc(id[:]) != 1 {
			r.t.Fatal("the test has run out of buffers")
		}
		off := 4096 - n // anywhere in the buffer will do
		copy(r.pool.Region().Buffer(id[0])[off:], rest[:n])
		f.Frags = append(f.Frags, r.pool.Frag(id[0], off, n))
		rest = rest[n:]
	}
	return f
}

// deliver has the stack take in one frame of b, and returns what it sends.
func (r *rig) clock() mono.Time { return r.now }

func (r *rig) deliver(b []byte, l layout) [][]byte {
	r.t.Helper()
	return r.deliverFrame(r.frame(b, l))
}

func (r *rig) deliverFrame(frames ...driver.Frame) [][]byte {
	r.t.Helper()
	r.wire.sent = nil
	r.stack.Deliver(r.now, batch(frames))
	if err := r.stack.Flush(r.now); err != nil {
		r.t.Fatal(err)
	}
	return r.wire.sent
}

// batch is frames as a driver has them in a batch: their frags lie one behind the other.
func batch(frames []driver.Frame) *driver.Batch {
	b := driver.Batch{Frames: frames}
	for i := range frames {
		b.Frags = append(b.Frags, frames[i].Frags...)
	}
	at := 0
	for i := range frames {
		f := &frames[i]
		n := len(f.Frags)
		f.Frags = b.Frags[at : at+n : at+n]
		at += n
	}
	return &b
}

// drops are the frames dropped, by cause.
func (r *rig) drops() map[string]uint64 {
	m := map[string]uint64{}
	r.stack.Drops(func(cause string, n uint64) { m[cause] = n })
	return m
}

// wantDrops fails the test unless just these frames were dropped.
func (r *rig) wantDrops(want map[string]uint64) {
	r.t.Helper()
	got := r.drops()
	for c, n := range want {
		if got[c] != n {
			r.t.Errorf("%d frames dropped for %q, want %d", got[c], c, n)
		}
		delete(got, c)
	}
	if len(got) > 0 {
		r.t.Errorf("also dropped: %v", got)
	}
}

// wantFree fails the test unless all buffers are free.
func (r *rig) wantFree() {
	r.t.Helper()
	if c, err := r.pool.Census(); err != nil || c.Out() != 0 {
		r.t.Errorf("census %+v, %v; want all buffers free", c, err)
	}
}

// recv takes one datagram from u, with its bytes, and returns its iovs.
func (r *rig) recv(u *udp.Socket) (m sockq.Message, payload []byte, copied int) {
	r.t.Helper()
	var (
		iovs [32]buf.Iov
		msgs [1]sockq.Message
	)
	n, k, _, err := u.Queue.Poll(iovs[:], msgs[:])
	if n != 1 || err != nil {
		r.t.Fatalf("%d datagrams, %v; want one", n, err)
	}
	for i := range iovs[:k] {
		payload = append(payload, iovs[i].Bytes()...)
		if iovs[i].Frag().Copied() {
			copied += len(iovs[i].Bytes())
		}
	}
	if _, err := r.pool.Return(iovs[:k]); err != nil {
		r.t.Fatal(err)
	}
	return msgs[0], payload, copied
}

// closeSocket gives u up, as an engine does.
func (r *rig) closeSocket(u *udp.Socket) {
	u.Queue.Close()
	r.stack.CloseSocket(u)
	u.Queue.Drain()
}

// packetOf builds a packet around a transport header, whose checksum it fills in.
func packetOf(t testing.TB, src, dst netip.Addr, proto uint8, l4 []byte) []byte {
	t.Helper()
	pseudo := wire.Sum{}
	if proto != wire.ProtoICMP {
		pseudo = wire.PseudoSum(src, dst, proto, len(l4))
	}
	if err := wire.FillChecksum(l4, proto, pseudo); err != nil {
		t.Fatal(err)
	}
	h := wire.IPHeader{Src: src, Dst: dst, Proto: proto, HopLimit: 64, PayloadLen: len(l4)}
	b := make([]byte, h.Len(), h.Len()+len(l4))
	if _, err := wire.PutIP(b, &h); err != nil {
		t.Fatal(err)
	}
	return append(b, l4...)
}

func udpPacket(t testing.TB, src, dst netip.AddrPort, payload []byte) []byte {
	t.Helper()
	l4 := make([]byte, wire.UDPHeaderLen, wire.UDPHeaderLen+len(payload))
	if _, err := wire.PutUDP(l4, &wire.UDP{SrcPort: src.Port(), DstPort: dst.Port(), PayloadLen: len(payload)}); err != nil {
		t.Fatal(err)
	}
	return packetOf(t, src.Addr(), dst.Addr(), wire.ProtoUDP, append(l4, payload...))
}

func tcpPacket(t testing.TB, src, dst netip.Addr, h wire.TCP, payload []byte) []byte {
	t.Helper()
	l4 := make([]byte, h.HeaderLen(), h.HeaderLen()+len(payload))
	if _, err := wire.PutTCP(l4, &h); err != nil {
		t.Fatal(err)
	}
	return packetOf(t, src, dst, wire.ProtoTCP, append(l4, payload...))
}

func pingPacket(t testing.TB, p pair, data []byte) []byte {
	t.Helper()
	l4 := append([]byte{8, 0, 0, 0, 0, 7, 0, 9}, data...)
	if p.us.Is6() {
		l4[0] = 128
		return packetOf(t, p.peer, p.us, wire.ProtoICMPv6, l4)
	}
	return packetOf(t, p.peer, p.us, wire.ProtoICMP, l4)
}

// parsed is what a receiver makes of a packet.
type parsed struct {
	wire.Packet
	tcp     wire.TCP
	udp     wire.UDP
	icmp    wire.ICMP
	payload []byte
}

// parse reads a packet that the stack sent, whose checksum has to be right.
func parse(t testing.TB, b []byte) (p parsed) {
	t.Helper()
	if c := wire.ParseIP(b, len(b), wire.Verify, &p.Packet); c != wire.OK {
		t.Fatalf("IP header: %v", c)
	}
	var c wire.Cause
	var off, n int
	switch p.Proto {
	case wire.ProtoTCP:
		c = wire.ParseTCP(b, &p.Packet, &p.tcp)
		off, n = p.tcp.PayloadOffset, p.tcp.PayloadLen
	case wire.ProtoUDP:
		c = wire.ParseUDP(b, &p.Packet, &p.udp)
		off, n = p.udp.PayloadOffset, p.udp.PayloadLen
	default:
		c = wire.ParseICMP(b, &p.Packet, &p.icmp)
		off, n = p.icmp.PayloadOffset, p.icmp.PayloadLen
	}
	if c != wire.OK {
		t.Fatalf("transport header: %v", c)
	}
	if c := p.VerifyL4(b); c != wire.OK {
		t.Fatalf("transport checksum: %v", c)
	}
	p.payload = b[off : off+n]
	return p
}

// pattern is n bytes that tell where they belong in stream seed.
func pattern(seed, n int) []byte {
	b := make([]byte, n)
	for i := range b {
		b[i] = byte(i*7 + i>>8*13 + seed*101)
	}
	return b
}
