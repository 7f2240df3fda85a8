package tcp

import (
	"bytes"
	"fmt"
	"net/netip"
	"testing"
	"time"

	"github.com/zctap/zctap/internal/buf"
	"github.com/zctap/zctap/internal/mono"
	"github.com/zctap/zctap/internal/stack/ip"
	"github.com/zctap/zctap/internal/wire"
)

// A script is one connection with a peer that the test plays by hand: segments
// go in, what comes out is compared. Sequence numbers of the peer are relative to
// its SYN's, acknowledgments to ours.
type script struct {
	t    testing.TB
	sh   *Shared
	pool *buf.Pool
	c    *Conn
	l    *Listener
	now  mono.Time
	irs  wire.Seq // the peer's SYN
	out  []sent
	opts wire.TCPOptions // what the peer sends with each segment
	wnd  uint16          // the peer's window field

	acks       *ip.Tx // nil: ACKs go the way of the others
	accepted   []*Conn
	connectErr []error
	full       bool
}

// sent is a segment that came out.
type sent struct {
	wire.TCP
	payload []byte
	mss     int
	ect     bool
}

const testMSS = 1460

var testTuple = wire.Tuple{
	Local:  netip.MustParseAddrPort("10.0.0.1:80"),
	Remote: netip.MustParseAddrPort("10.0.0.2:40000"),
	Proto:  wire.ProtoTCP,
}

// newPool makes a pool of n buffers on the heap, so that the race detector sees
// them, and checks at the test's end that none is out.
func newPool(t testing.TB, n int) *buf.Pool {
	t.Helper()
	r, err := buf.NewRegion(buf.RegionConfig{Buffers: n, BufferSize: 4096, Heap: true})
	if err != nil {
		t.Fatal(err)
	}
	p := buf.NewPool(r)
	t.Cleanup(func() {
		if c, err := p.Census(); err != nil || c.Out() != 0 {
			t.Errorf("buffers at the end: %+v, %v", c, err)
		}
		p.Close()
		if !p.Remove() {
			t.Error("pool not removed")
		}
	})
	return p
}

// newScript makes a stack without a connection. change may change its Config.
func newScript(t testing.TB, buffers int, change func(*Config)) *script {
	s := &script{t: t, pool: newPool(t, buffers), now: 1e9, irs: 5000, wnd: 60000, opts: wire.TCPOptions{MSS: testMSS}}
	cfg := Config{Pool: s.pool, Hasher: wire.KeyedHasher([16]byte{1}), Transmit: s.transmit}
	cfg.TransmitECT = s.transmitECT
	cfg.Congestion = Reno // windows are easier to follow
	if change != nil {
		change(&cfg)
	}
	s.sh = NewShared(cfg)
	s.l = &Listener{
		Shared:   s.sh,
		MSS:      func(*wire.Tuple) int { return testMSS },
		Full:     func() bool { return s.full },
		OnAccept: func(c *Conn) { s.accepted = append(s.accepted, c) },
	}
	t.Cleanup(s.end)
	return s
}

// end lets go of everything, before newPool's check.
func (s *script) end() {
	if s.c == nil {
		return
	}
	s.c.Abort(s.now)
	s.flush()
	if !s.c.Done() {
		s.t.Errorf("aborted connection is not done, in %v", s.c.state)
	}
	if s.c.Recv != nil {
		s.c.Recv.Close()
		s.c.Recv.Drain()
	}
	if s.sh.conns != 0 || s.sh.timeWaits != 0 {
		s.t.Errorf("%d connections counted at the end, %d in TIME-WAIT", s.sh.conns, s.sh.timeWaits)
	}
	if n := s.sh.Constrained(); n != 0 {
		s.t.Errorf("%d connections constrained at the end", n)
	}
	if s.l.Pending() != 0 {
		s.t.Errorf("%d connections pending at the end", s.l.Pending())
	}
}

func (s *script) transmit(src, dst netip.Addr, h *wire.TCP, p [2][]byte, mss int) {
	s.flushAcks() // which were sent before
	s.put(src, dst, h, p, mss)
}

func (s *script) put(src, dst netip.Addr, h *wire.TCP, p [2][]byte, mss int) {
	if src != testTuple.Local.Addr() || dst != testTuple.Remote.Addr() || h.SrcPort != 80 || h.DstPort != 40000 {
		s.t.Errorf("segment from %v:%d to %v:%d", src, h.SrcPort, dst, h.DstPort)
	}
	if _, err := wire.PutTCP(make([]byte, 60), h); err != nil {
		s.t.Errorf("segment %+v: %v", *h, err)
	}
	s.out = append(s.out, sent{*h, bytes.Join(p[:], nil), mss, false})
}

// flush is the end of a round: what came out of it.
func (s *script) flush() []sent {
	s.t.Helper()
	for c := s.sh.NextDirty(); c != nil; c = s.sh.NextDirty() {
		c.Output(s.now)
		s.flushAcks()
		if err := checkConn(c); err != nil {
			s.t.Fatal(err)
		}
	}
	out := s.out
	s.out = nil
	return out
}

// frags puts p into fresh buffers, sizes bytes each.
func frags(t testing.TB, pool *buf.Pool, p []byte, size int) (f []buf.Frag) {
	t.Helper()
	for len(p) > 0 {
		var ids [1]uint16
		if pool.Alloc(ids[:]) == 0 {
			t.Fatal("no buffer free")
		}
		n := min(len(p), size)
		f = append(f, pool.Frag(ids[0], 0, n))
		copy(pool.Region().View(f[len(f)-1]), p[:n])
		p = p[n:]
	}
	return f
}

// segment makes a segment of the peer; ack is relative to our ISS.
func (s *script) segment(seq, ack int, flags wire.Flags, payload []byte) *Segment {
	h := &wire.TCP{
		SrcPort: 40000, DstPort: 80, Flags: flags, Window: s.wnd, Options: s.opts,
		Seq: s.irs.Add(uint32(seq)), PayloadLen: len(payload),
	}
	if flags.Has(wire.ACK) && s.c != nil {
		h.Ack = s.c.snd.iss.Add(uint32(ack))
	}
	return &Segment{TCP: h, Frags: frags(s.t, s.pool, payload, 4096), Len: len(payload)}
}

// in gives a segment to the connection without flushing.
func (s *script) in(seq, ack int, flags wire.Flags, payload []byte) {
	s.c.Input(s.now, s.segment(seq, ack, flags, payload))
}

// inOut is in and flush: a batch of one segment.
func (s *script) inOut(seq, ack int, flags wire.Flags, payload []byte) []sent {
	s.in(seq, ack, flags, payload)
	return s.flush()
}

// advance moves the clock on, running timers as they come due, and returns what
// came out meanwhile.
func (s *script) advance(d time.Duration) (out []sent) {
	end := s.now.Add(d)
	for {
		next := s.c.Deadline()
		if next == 0 || end.Before(next) {
			s.now = end
			return out
		}
		s.now = max(s.now, next)
		s.c.Advance(s.now)
		out = append(out, s.flush()...)
	}
}

// established makes a passive connection whose handshake is done.
func established(t *testing.T, change func(*script)) *script {
	s := newScript(t, 1024, nil)
	if change != nil {
		change(s)
	}
	s.establish()
	return s
}

func (s *script) establish() {
	s.t.Helper()
	syn := s.opts
	s.c = s.l.Input(s.now, s.segment(0, 0, wire.SYN, nil), testTuple)
	if s.c == nil {
		s.t.Fatal("SYN made no connection")
	}
	s.opts.MSS, s.opts.HasWindowScale, s.opts.SACKPermitted = 0, false, false
	s.opts.TSVal = syn.TSVal
	s.expect("SYN-ACK", s.flush(), seg(0, 1, wire.SYN|wire.ACK, 0))
	s.in(1, 1, wire.ACK, nil)
	s.expect("after the handshake", s.flush())
	s.state(Established)
	s.c.acks.quick = 0 // delayed ACKs from the first segment on
}

// want is what a segment that came out has to look like.
type want struct {
	seq, ack int // relative to our and to the peer's SYN
	flags    wire.Flags
	n        int // payload
}

func seg(seq, ack int, flags wire.Flags, n int) want { return want{seq, ack, flags, n} }

func (w want) String() string {
	return fmt.Sprintf("%v seq %d ack %d len %d", w.flags, w.seq, w.ack, w.n)
}

// expect compares all that came out, but for PSH and windows.
func (s *script) expect(what string, out []sent, wants ...want) {
	s.t.Helper()
	var got []want
	for _, o := range out {
		w := want{int(o.Seq.Sub(s.c.snd.iss)), int(o.Ack.Sub(s.irs)), o.Flags &^ wire.PSH, len(o.payload)}
		if !o.Flags.Has(wire.ACK) {
			w.ack = 0
		}
		got = append(got, w)
	}
	if fmt.Sprint(got) != fmt.Sprint(wants) {
		s.t.Fatalf("%s: came out\n  %v, want\n  %v", what, got, wants)
	}
}

func (s *script) state(want State) {
	s.t.Helper()
	if s.c.state != want {
		s.t.Fatalf("state is %v, want %v", s.c.state, want)
	}
}

// received takes everything that the application can read now.
func (s *script) received() []byte {
	s.t.Helper()
	var p []byte
	iovs := make([]buf.Iov, 16)
	for {
		n, _, more, err := s.c.Recv.Poll(iovs, 1<<30)
		for i := range iovs[:n] {
			p = append(p, iovs[i].Bytes()...)
		}
		if _, e := s.pool.Return(iovs[:n]); e != nil {
			s.t.Fatal(e)
		}
		if err != nil || !more {
			return p
		}
	}
}

// recvErr is what the application reads behind all payload.
func (s *script) recvErr() error {
	s.received()
	_, _, _, err := s.c.Recv.Poll(make([]buf.Iov, 1), 1)
	return err
}

// write is the application's.
func (s *script) write(n int) {
	s.t.Helper()
	k, err := s.c.Send.TryWrite(stream(int(s.c.Send.wrote.Load()), n))
	if k != n || err != nil {
		s.t.Fatalf("wrote %d of %d: %v", k, n, err)
	}
	s.c.Kick()
}

// stream is n bytes of the test's payload from offset off on.
func stream(off, n int) []byte {
	p := make([]byte, n)
	for k := 0; k < n; {
		k += copy(p[k:], pattern[(off+k)%len(pattern):])
	}
	return p
}

// pattern is what the stream repeats: as long as a prime number, so that no shift
// by a power of two or by segments goes unnoticed.
var pattern = func() []byte {
	p := make([]byte, 65521)
	for i := range p {
		p[i] = byte(uint32(i) * 2654435761 >> 24)
	}
	return p
}()

func netipAddrPort(a netip.AddrPort, port uint16) netip.AddrPort {
	return netip.AddrPortFrom(a.Addr(), port)
}

type iov = buf.Iov

// popAll takes everything that is queued, and keeps it.
func (s *script) popAll() (all []iov) {
	s.t.Helper()
	for {
		iovs := make([]iov, 64)
		n, _, more, err := s.c.Recv.Poll(iovs, 1<<30)
		all = append(all, iovs[:n]...)
		if err != nil || !more {
			return all
		}
	}
}

func mustAddrPort(s string) netip.AddrPort { return netip.MustParseAddrPort(s) }
