package tcp

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"math/rand/v2"
	"net/netip"
	"testing"
	"time"

	"github.com/zctap/zctap/internal/buf"
	"github.com/zctap/zctap/internal/wire"
	"github.com/zctap/zctap/test/exchanges"
)

// fuzzConn plays a connection by a program of bytes: segments of any kind, calls
// of the application, time, and a pool that runs short. Whatever is in it:
// nothing panics, what is delivered is the peer's stream and what is sent is
// ours, byte for byte, windows do not shrink, and no buffer is left out.
type fuzzConn struct {
	*script
	prog   []byte
	seen   int
	others []uint16 // buffers in other hands
	iovs   []buf.Iov
	edge   wire.Seq // right edge of the window last offered
	edged  bool
}

func FuzzConn(f *testing.F) {
	rng := rand.New(rand.NewPCG(3, 4))
	for range 200 {
		p := make([]byte, 20+rng.IntN(400))
		for i := range p {
			p[i] = byte(rng.Uint32())
		}
		f.Add(p)
	}
	f.Add([]byte{0})
	for _, p := range recorded(f) {
		f.Add(p)
	}
	f.Fuzz(func(t *testing.T, prog []byte) { runProgram(t, prog) })
}

// TestPrograms is FuzzConn with programs by chance, which reach further than what
// a fuzzer finds in seconds.
func TestPrograms(t *testing.T) {
	for seed := range uint64(300) {
		rng := rand.New(rand.NewPCG(seed, 5))
		p := make([]byte, 5000)
		for i := range p {
			p[i] = byte(rng.Uint32())
		}
		p[0] |= 0x40
		t.Run(fmt.Sprint(seed), func(t *testing.T) { runProgram(t, p) })
	}
}

// recorded are programs of what Linux sent in connections to us: its segments, each as far from
// what is expected as it was, and what we wrote. Lengths and distances are an eighth, so that
// a byte can tell them.
func recorded(tb testing.TB) (programs [][]byte) {
	all, err := exchanges.All()
	if err != nil {
		tb.Fatal(err)
	}
	type conn struct {
		prog     []byte
		nxt, max wire.Seq // what we have acknowledged, and sent
	}
	for _, x := range all {
		conns, order := map[wire.Tuple]*conn{}, []*conn(nil)
		for _, f := range x.Frames {
			var p wire.Packet
			var h wire.TCP
			b := exchanges.Packet(f)
			if b == nil || wire.ParseIP(b, len(b), wire.Verify, &p) != wire.OK || p.Proto != wire.ProtoTCP || wire.ParseTCP(b, &p, &h) != wire.OK {
				continue
			}
			ours := h.SrcPort == 80
			key := wire.Tuple{Local: netip.AddrPortFrom(p.Dst, h.DstPort), Remote: netip.AddrPortFrom(p.Src, h.SrcPort)}
			if ours {
				key.Local, key.Remote = key.Remote, key.Local
			}
			c := conns[key]
			end := h.Seq.Add(uint32(h.PayloadLen))
			switch {
			case h.Flags&(wire.SYN|wire.ACK) == wire.SYN:
				c = &conn{prog: []byte{0x40 | 1 | 2}}
				conns[key], order = c, append(order, c)
			case c == nil:
			case h.Flags.Has(wire.SYN):
				c.nxt, c.max = h.Ack, h.Seq.Add(1)
			case ours:
				c.nxt = h.Ack
				if c.max.LessThan(end) {
					c.max = end
					c.prog = append(c.prog, 9, byte(h.PayloadLen/80), 1)
				}
			default:
				seq, ack := uint16(h.Seq.Sub(c.nxt)/8), uint16(h.Ack.Sub(c.max)/8)
				c.prog = append(c.prog, 4, byte(seq>>8), byte(seq), byte(ack>>8), byte(ack), byte(h.Flags), byte(h.PayloadLen/8), 0, 1, 10, 7, 1, 11, 255, 1)
			}
		}
		for _, c := range order {
			programs = append(programs, c.prog)
		}
	}
	return programs
}

// TestRecorded: played again, what Linux said gets somewhere.
func TestRecorded(t *testing.T) {
	programs, delivered := recorded(t), 0
	for i, p := range programs {
		t.Run(fmt.Sprint(i), func(t *testing.T) {
			if runProgram(t, p) > 0 {
				delivered++
			}
		})
	}
	if len(programs) < 6 || delivered < 4 {
		t.Errorf("%d connections, %d of which deliver data", len(programs), delivered)
	}
}

func runProgram(t *testing.T, prog []byte) (received int) {
	z := &fuzzConn{script: newScript(t, 32, nil), prog: prog}
	z.sh.Transmit, z.sh.TransmitECT = z.transmit, z.transmit
	start := z.byte()
	z.opts.HasTimestamps, z.opts.HasWindowScale, z.opts.WindowScale = start&1 != 0, start&2 != 0, start>>4
	z.opts.SACKPermitted = start&0x20 == 0
	if start&8 != 0 {
		z.irs = ^wire.Seq(0) - 1000
	}
	z.opts.TSVal = 1
	setup := wire.Flags(0) // of ECN
	if start&0x10 != 0 {
		setup, z.sh.ECN = ecnSetup, true
	}
	if start&4 != 0 {
		z.c = Dial(z.sh, z.now, testTuple, testMSS)
	} else {
		z.c = z.l.Input(z.now, z.script.segment(0, 0, wire.SYN|setup, nil), testTuple)
	}
	z.flush()
	if start&0xc0 != 0 { // mostly with a handshake
		flags, seq := wire.ACK, 1
		if start&4 != 0 {
			flags, seq = wire.SYN|wire.ACK|setup&wire.ECE, 0
		}
		z.c.Input(z.now, z.script.segment(seq, 1, flags, nil))
		z.opts.HasWindowScale, z.opts.SACKPermitted = false, false
	}
	for len(z.prog) > 0 {
		z.step()
		if err := checkConn(z.c); err != nil {
			t.Fatal(err)
		}
	}
	if _, err := z.pool.Return(z.iovs); err != nil {
		t.Fatal(err)
	}
	z.giveBack(z.others)
	// The rest is newScript's: Abort, and a census.
	return z.seen
}

func (z *fuzzConn) byte() (b byte) {
	if len(z.prog) > 0 {
		b, z.prog = z.prog[0], z.prog[1:]
	}
	return b
}

func (z *fuzzConn) word() int {
	return int(int16(binary.BigEndian.Uint16([]byte{z.byte(), z.byte()})))
}

func (z *fuzzConn) step() {
	c := z.c
	switch op := z.byte(); op % 16 {
	case 0, 1, 2, 3: // a segment in order, or nearly
		z.segment(c.rcv.nxt.Add(uint32(z.word()%4*int(op>>6))), c.snd.una.Add(uint32(z.byte()%4)), wire.ACK|wire.Flags(z.byte()&0b1001), int(z.byte())*int(op>>4))
	case 4, 5: // somewhere near
		z.segment(c.rcv.nxt.Add(uint32(z.word())), c.snd.max.Add(uint32(z.word())), wire.Flags(z.byte()), int(z.byte()))
	case 6: // anywhere
		z.segment(wire.Seq(z.word()<<16|z.word()), wire.Seq(z.word()<<16|z.word()), wire.Flags(z.byte()), int(z.byte()))
	case 7: // an acknowledgment of all, or of some
		z.wnd = uint16(z.word())
		z.segment(c.rcv.nxt, c.snd.max-wire.Seq(z.byte()%8), wire.ACK, 0)
	case 8:
		z.now = z.now.Add(time.Duration(1+z.byte()) << (10 + op>>4*2))
		z.opts.TSVal += uint32(z.byte())
		c.Advance(z.now)
	case 9:
		if c.Send != nil {
			off := int(c.Send.wrote.Load())
			if _, err := c.Send.TryWrite(stream(off, 10*int(z.byte()))); err == nil {
				c.Kick()
			}
		}
	case 10:
		z.read(int(z.byte() % 8))
	case 11: // returns
		n := min(int(z.byte()), len(z.iovs))
		if _, err := z.pool.Return(z.iovs[:n]); err != nil {
			z.t.Fatal(err)
		}
		z.iovs = z.iovs[n:]
		z.sh.WindowCheck()
	case 12: // others take buffers, or give them back
		if op&16 != 0 {
			b := make([]uint16, z.byte()%16)
			z.others = append(z.others, b[:z.pool.Alloc(b)]...)
		} else {
			z.giveBack(z.others)
			z.others = nil
		}
	case 13:
		z.command(z.byte())
	case 14:
		c.Nagle = op&16 != 0
		c.SetKeepAlive(z.now, op&32 != 0, time.Duration(z.byte())*time.Second)
	case 15: // an ICMP error
		m := wire.ICMP{Kind: wire.ICMPKind(z.byte() % 8), Code: z.byte(), MTU: uint32(uint16(z.word()))}
		m.Quote = wire.Quote{Flow: c.tuple, Seq: c.snd.una.Add(uint32(z.word()))}
		if op&16 != 0 {
			m.Kind, m.Quote.Seq = wire.ICMPPacketTooBig, c.snd.una
		}
		before := c.snd.mss
		if c.InputICMP(z.now, &m); c.snd.mss > before && c.path.full == 0 || c.state.synchronized() && c.snd.mss < min(before, minPathMTU4-20-20-timestampsLen) {
			z.t.Fatalf("%+v: segments of %d bytes, were %d", m, c.snd.mss, before)
		}
	}
	if z.byte()&1 != 0 {
		z.flush()
	}
}

func (z *fuzzConn) command(b byte) {
	c := z.c
	switch b % 16 {
	case 0, 1, 2, 3:
		c.CloseWrite(z.now)
	case 4:
		if c.Recv != nil {
			c.Send.Close()
			c.Recv.Close()
		}
		c.Close(z.now)
	case 5:
		c.Abort(z.now)
	case 6:
		z.full = !z.full
	case 7:
		z.l.Close()
	case 8:
		if c.Reopen(z.script.segment(z.word(), 0, wire.SYN, nil)) != nil && c.state != Closed {
			z.t.Fatal("reopened and not closed")
		}
	}
}

// segment gives the connection a segment whose payload is the peer's stream at
// seq, in frags of many sizes.
func (z *fuzzConn) segment(seq, ack wire.Seq, flags wire.Flags, n int) {
	n = min(n, 3000, (z.pool.Free()-1)*1000)
	if n < 0 {
		return
	}
	payload := wrapping(seq-z.irs-1, n)
	if flags.Has(wire.SYN) {
		payload = wrapping(seq-z.irs, n)
	}
	s := z.script.segment(0, 0, flags, nil)
	s.TCP.Seq, s.TCP.Ack = seq, ack
	s.Frags, s.Len = frags(z.t, z.pool, payload, 1000), n
	s.ECN = wire.ECN(n % 4)
	if z.c.opt.sack {
		z.blocks(&s.TCP.Options)
	}
	z.c.Input(z.now, s)
}

// blocks adds SACK blocks, some of them of what is under way.
func (z *fuzzConn) blocks(o *wire.TCPOptions) {
	n := z.byte()
	o.SACKCount = n % 5
	for i := range o.SACKCount {
		b := wire.SACKBlock{Start: z.c.snd.una.Add(uint32(z.byte()) * 37), End: z.c.snd.una.Add(uint32(z.byte()) * 53)}
		switch n >> 4 {
		case 0:
			b.Start = wire.Seq(z.word()<<16 | z.word())
		case 1:
			b.End = wire.Seq(z.word()<<16 | z.word())
		case 2:
			b.Start, b.End = b.Start-2000, b.End-2000
		}
		o.SACK[i] = b
	}
	if n&8 != 0 {
		o.TSEcr = uint32(z.now/1e6) + z.c.opt.tsOffset - uint32(n)
	}
}

func (z *fuzzConn) read(n int) {
	if z.c.Recv == nil || n == 0 || z.c.Recv.Closed() {
		return
	}
	iovs := make([]buf.Iov, n)
	k, _, _, _ := z.c.Recv.Poll(iovs, 1<<20)
	// Out of order SYNs may have set irs; the stream begins behind it.
	for i := range iovs[:k] {
		want := wrapping(z.c.rcv.irs-z.irs+wire.Seq(z.seen), len(iovs[i].Bytes()))
		if !bytes.Equal(iovs[i].Bytes(), want) {
			z.t.Fatalf("at byte %d of the stream: %.16x, want %.16x", z.seen, iovs[i].Bytes(), want)
		}
		z.seen += len(want)
	}
	z.iovs = append(z.iovs, iovs[:k]...)
}

func (z *fuzzConn) transmit(_, _ netip.Addr, h *wire.TCP, p [2][]byte, mss int) {
	if _, err := wire.PutTCP(make([]byte, 60), h); err != nil {
		z.t.Fatal(err)
	}
	payload := bytes.Join(p[:], nil)
	if len(payload) > 0 {
		if want := stream(int(uint32(h.Seq-z.c.snd.iss-1)), len(payload)); !bytes.Equal(payload, want) {
			z.t.Fatalf("sent wrong bytes at %d", h.Seq-z.c.snd.iss)
		}
		if mss < minMSS-timestampsLen {
			z.t.Fatalf("segments of %d bytes", mss)
		}
	}
	if h.Flags.Has(wire.RST) || !h.Flags.Has(wire.ACK) {
		return
	}
	edge := h.Ack.Add(uint32(h.Window))
	if !h.Flags.Has(wire.SYN) {
		edge = h.Ack.Add(uint32(h.Window) << z.c.opt.rcvShift)
	}
	// By less than a scaling unit it may seem to: RFC 7323 section 2.4.
	if z.edged && z.edge.Sub(edge) >= 1<<z.c.opt.rcvShift && !h.Flags.Has(wire.SYN) {
		z.t.Fatalf("window's right edge moved left by %d in %v", z.edge.Sub(edge), z.c.state)
	}
	if !z.edged || z.edge.LessThan(edge) {
		z.edge, z.edged = edge, true
	}
}

// wrapping is n bytes of the peer's stream from off on; unlike stream it goes on
// where the sequence numbers wrap.
func wrapping(off wire.Seq, n int) []byte {
	p := make([]byte, n)
	for i := range p {
		p[i] = byte(uint32(off) * 2654435761 >> 24)
		off++
	}
	return p
}
