package sim

import (
	"errors"
	"fmt"
	"io"
	"net/netip"
	"slices"
	"time"

	"github.com/zctap/zctap/internal/buf"
	"github.com/zctap/zctap/internal/driver"
	"github.com/zctap/zctap/internal/driver/mem"
	"github.com/zctap/zctap/internal/mono"
	"github.com/zctap/zctap/internal/wire"
)

// The operations of a program. Arguments are the bytes that follow.
const (
	opNext     = iota // peer, bits, length/16: just what the host expects, or a little beside it
	opSegment         // peer, seq and ack from what is expected (2 each), flags, length/16
	opOpen            // peer, options: a SYN
	opStray           // peer, seq and ack (4 each), flags, length/16: anywhere
	opTime            // units of 100 us; 200 and more: of seconds
	opRead            // peer, bytes/16, and whether to keep the views
	opWrite           // peer, bytes/16
	opShut            // peer
	opClose           // peer
	opAbort           // peer
	opDial            // peer
	opTake            // buffers: others have them
	opGive            // they come back
	opDatagram        // length/16
	opOptions         // peer, bits: the options of its segments from here on
	ops
	oftener = 8 // so many more numbers stand for opNext
)

const (
	peers       = 6
	machineSize = 48 // buffers
	listenPort  = 80
	maxFlights  = 2 * machineSize
)

// A machine runs a program on a host whose peers it plays.
type machine struct {
	prog []byte
	now  mono.Time
	host *Local
	far  *mem.End // of the wire
	pool *buf.Pool
	in   *driver.Batch

	peers  [peers]fuzzPeer
	others []uint16 // buffers in other hands
	err    error

	// What came of it.
	delivered, written int // bytes
	dialed             int // connections complete that the host began
}

// fuzzPeer is one remote end, and the connection with it. Byte s of the stream, either
// way, is streamByte of its sequence number, so that it is known whatever was sent.
type fuzzPeer struct {
	port  uint16
	conn  *localConn
	next  wire.Seq // what the host is expected to accept: its last ACK number
	sent  wire.Seq // the highest number that it has sent, and the byte behind it
	irs   wire.Seq // where the stream begins that the host receives, of what it last began
	known bool     // irs is
	iss   wire.Seq // where the host's own does
	// syns are the numbers of the last SYNs sent. A connection that the host began
	// has taken one of them, perhaps with data, and what it reads tells which.
	syns    []wire.Seq
	fixed   bool // conn's numbers are known:
	ourISS  wire.Seq
	begins  []wire.Seq // where the stream that it receives may begin
	options wire.TCPOptions
	wrote   int
}

// fix notes that the numbers are those of conn.
func (p *fuzzPeer) fix() { p.fixed, p.ourISS = true, p.iss }

func runProgram(prog []byte) error {
	m, err := newMachine(prog)
	if err != nil {
		return err
	}
	return m.run()
}

func newMachine(prog []byte) (*machine, error) {
	m := &machine{prog: prog, now: start, in: driver.NewBatch(64, 64*20)}
	own, err := newPool(machineSize)
	if err != nil {
		return nil, err
	}
	if m.pool, err = newPool(maxFlights); err != nil {
		return nil, err
	}
	var near *mem.End
	if near, m.far, err = mem.Pipe(mem.Config{Pool: own, Offload: mem.Plain}, mem.Config{Pool: m.pool, Offload: mem.Local}); err != nil {
		return nil, err
	}
	m.host, err = NewLocal(Settings{Seed: 1, SendSpace: 20_000, Patience: 20 * time.Second, Prefixes: prefixes(0)}, own, near)
	if err != nil {
		return nil, err
	}
	for i := range m.peers {
		m.peers[i].port = uint16(1000 + i)
		m.peers[i].next = wire.Seq(i) * 0x2fffff00
	}
	return m, m.host.Listen(listenPort, func(c Conn) {
		l := c.(*localConn)
		p := &m.peers[(l.tcp.Tuple().Remote.Port()-1000)%peers]
		m.forget(p)
		p.conn = l
		p.fix()
		p.begins = []wire.Seq{p.irs}
	})
}

// forget lets go of a connection whose place another takes.
func (m *machine) forget(p *fuzzPeer) {
	if p.conn != nil {
		m.check(p.conn.Abort(m.now))
	}
	p.conn, p.wrote = nil, 0
}

func (m *machine) check(err error) {
	if m.err == nil {
		m.err = err
	}
}

// run runs the program, and winds everything up.
func (m *machine) run() error {
	for len(m.prog) > 0 && m.err == nil {
		m.step()
		m.round()
	}
	m.give()
	// What was half open gives up, or is complete now that there are buffers again.
	for range 2000 {
		m.round()
		for i := range m.peers {
			m.forget(&m.peers[i])
		}
		m.round() // resets go out
		next := m.host.Next()
		if next == 0 || m.err != nil {
			break
		}
		m.now = max(m.now+1, next)
	}
	if m.err != nil {
		return m.err
	}
	m.answers()
	return errors.Join(m.err, m.host.Close(), m.far.Close(), closePool(m.pool))
}

// round is one of the host, and what must hold after it.
func (m *machine) round() {
	_, err := m.host.Round(m.now)
	m.check(err)
	m.answers()
	m.check(m.host.Check())
	if n := m.host.Conns(); n > 2*peers {
		m.check(fmt.Errorf("%d connections of %d peers", n, peers))
	}
}

func (m *machine) byte() (b byte) {
	if len(m.prog) > 0 {
		b, m.prog = m.prog[0], m.prog[1:]
	}
	return b
}

func (m *machine) word() int { return int(int16(uint16(m.byte())<<8 | uint16(m.byte()))) }

func (m *machine) seq() wire.Seq { return wire.Seq(uint32(m.word())<<16 | uint32(uint16(m.word()))) }

func (m *machine) peer() *fuzzPeer { return &m.peers[m.byte()%peers] }

func (m *machine) step() {
	switch m.byte() % (ops + oftener) {
	default: // opNext
		p, bits := m.peer(), m.byte()
		flags := wire.ACK | wire.Flags(bits)&(wire.FIN|wire.PSH)
		if !p.known && p.conn != nil {
			flags = wire.ACK | wire.SYN // what it has sent is a SYN
		}
		seq := p.next.Add(uint32([...]int32{0, 160, -160, 320}[bits>>6]))
		m.segment(p, seq, p.sent-wire.Seq(bits>>4&1), flags, 16*int(m.byte()))
	case opSegment:
		p := m.peer()
		seq, ack := p.next.Add(uint32(m.word())), p.sent.Add(uint32(m.word()))
		m.segment(p, seq, ack, wire.Flags(m.byte()), 16*int(m.byte()))
	case opOpen:
		p := m.peer()
		bits := m.byte()
		o := wire.TCPOptions{MSS: uint16(bits) * 8, HasTimestamps: bits&1 == 0, HasWindowScale: bits&2 == 0, WindowScale: bits % 15, SACKPermitted: bits&4 == 0, TSVal: 1}
		p.options = wire.TCPOptions{HasTimestamps: o.HasTimestamps, TSVal: 1}
		m.send(p, wire.TCP{Seq: p.next, Flags: wire.SYN, Window: uint16(bits) << 8, Options: o}, 0)
	case opStray:
		p := m.peer()
		m.segment(p, m.seq(), m.seq(), wire.Flags(m.byte()), 16*int(m.byte()))
	case opTime:
		d := time.Duration(m.byte())
		if d *= 100 * time.Microsecond; d >= 20*time.Millisecond {
			d = (d - 20*time.Millisecond) * 10_000
		}
		m.now = m.now.Add(d)
	case opRead:
		m.read(m.peer(), 1+16*int(m.byte()))
	case opWrite:
		m.write(m.peer(), 16*int(m.byte()))
	case opShut:
		if p := m.peer(); p.conn != nil {
			p.conn.CloseWrite(m.now)
		}
	case opClose:
		if p := m.peer(); p.conn != nil {
			m.check(p.conn.Close(m.now))
			p.conn, p.wrote = nil, 0
		}
	case opAbort:
		m.forget(m.peer())
	case opDial:
		m.dial(m.peer())
	case opTake:
		ids := make([]uint16, m.byte()%16)
		m.others = append(m.others, ids[:m.host.Pool.Alloc(ids)]...)
	case opGive:
		m.give()
	case opDatagram:
		m.datagram(16 * int(m.byte()))
	case opOptions:
		p := m.peer()
		bits := m.byte()
		p.options.TSVal += uint32(bits)
		p.options.HasTimestamps = bits&1 == 0
		if bits&2 != 0 {
			p.options.SACKCount = 1
			p.options.SACK[0] = wire.SACKBlock{Start: p.sent - wire.Seq(bits)*50, End: p.sent}
		} else {
			p.options.SACKCount = 0
		}
	}
}

func (m *machine) give() {
	for _, id := range m.others {
		m.host.Pool.Put(id)
	}
	m.others = m.others[:0]
}

func (m *machine) dial(p *fuzzPeer) {
	c, err := m.host.Stack.Dial(m.now, "tcp4", netip.AddrPortFrom(prefixes(0)[0].Addr(), listenPort),
		netip.AddrPortFrom(prefixes(1)[0].Addr(), p.port))
	if err != nil {
		return // one has the ports
	}
	m.forget(p)
	p.known, p.fixed, p.begins = false, false, nil
	p.conn = m.host.conn(c)
	c.OnConnect = func(err error) {
		if err == nil {
			m.dialed++
		}
	}
}

func (m *machine) read(p *fuzzPeer, n int) {
	if p.conn == nil {
		return
	}
	if !p.fixed && p.conn.tcp.Recv != nil {
		m.check(errors.New("a connection is complete, and no ACK of a SYN was sent"))
		return
	}
	verify := func(off int64, b []byte) error {
		p.begins = slices.DeleteFunc(p.begins, func(irs wire.Seq) bool { return !isStream(b, irs.Add(1+uint32(off))) })
		if len(p.begins) == 0 {
			return fmt.Errorf("%w: peer %d: %d bytes from %d on", errWrong, p.port, len(b), off)
		}
		return nil
	}
	k, err := p.conn.Read(n, n&16 != 0, verify)
	m.delivered += k
	if n&32 != 0 && err == nil {
		err = p.conn.Release(verify)
	}
	if errors.Is(err, errWrong) {
		m.check(err)
	}
	if err != nil && !errors.Is(err, io.EOF) {
		m.check(p.conn.Release(verify))
	}
}

func (m *machine) write(p *fuzzPeer, n int) {
	if p.conn == nil || p.conn.tcp.Send == nil {
		return
	}
	b := make([]byte, n)
	for i := range b {
		b[i] = streamByte(p.ourISS.Add(1 + uint32(p.wrote+i)))
	}
	if k, err := p.conn.Write(b); err == nil {
		p.wrote += k
		m.written += k
	}
}

// segment sends a segment of p's stream.
func (m *machine) segment(p *fuzzPeer, seq, ack wire.Seq, flags wire.Flags, n int) {
	m.send(p, wire.TCP{Seq: seq, Ack: ack, Flags: flags, Window: uint16(len(m.prog) * 321), Options: p.options}, min(n, 1460))
}

func (m *machine) send(p *fuzzPeer, h wire.TCP, n int) {
	h.SrcPort, h.DstPort = p.port, listenPort
	if h.Flags.Has(wire.SYN) {
		p.syns = append(p.syns[max(len(p.syns)-63, 0):], h.Seq)
	}
	b := make([]byte, h.HeaderLen()+n)
	k, err := wire.PutTCP(b, &h)
	if err != nil {
		return
	}
	at := h.Seq
	if h.Flags.Has(wire.SYN) {
		at++
	}
	for i := range b[k:] {
		b[k+i] = streamByte(at.Add(uint32(i)))
	}
	m.packet(wire.ProtoTCP, b)
}

func (m *machine) datagram(n int) {
	b := make([]byte, wire.UDPHeaderLen+min(n, 1400))
	_, err := wire.PutUDP(b, &wire.UDP{SrcPort: 1, DstPort: uint16(n), PayloadLen: len(b) - wire.UDPHeaderLen})
	m.check(err)
	m.packet(wire.ProtoUDP, b)
}

func (m *machine) packet(proto uint8, l4 []byte) {
	h := wire.IPHeader{Src: prefixes(1)[0].Addr(), Dst: prefixes(0)[0].Addr(), Proto: proto, HopLimit: 64, PayloadLen: len(l4)}
	b := make([]byte, h.Len())
	if _, err := wire.PutIP(b, &h); err != nil {
		m.check(err)
		return
	}
	_, err := m.far.Send(m.now, []driver.TxFrame{{Head: append(b, l4...)}})
	m.check(err)
}

// answers looks at what the host has sent.
func (m *machine) answers() {
	for {
		m.check(m.far.Poll(m.now, m.in))
		for i := range m.in.Frames {
			f := &m.in.Frames[i]
			b := append([]byte(nil), f.Head...)
			for _, g := range f.Frags {
				b = append(b, m.pool.Region().View(g)...)
			}
			m.answer(b)
			m.pool.PutFrags(f.Frags)
		}
		if len(m.in.Frames) == 0 {
			return
		}
	}
}

// answer takes in one packet of the host's. Its checksums must be right, its payload
// its stream.
func (m *machine) answer(b []byte) {
	var ip wire.Packet
	var h wire.TCP
	if c := wire.ParseIP(b, len(b), wire.Verify, &ip); c != wire.OK {
		m.check(fmt.Errorf("sent a packet with %v: %x", c, b))
		return
	}
	if c := ip.VerifyL4(b); c != wire.OK {
		m.check(fmt.Errorf("sent a packet with %v: %x", c, b))
	}
	if ip.Proto != wire.ProtoTCP || wire.ParseTCP(b, &ip, &h) != wire.OK || h.DstPort < 1000 || h.DstPort >= 1000+peers {
		return
	}
	p := &m.peers[h.DstPort-1000]
	if h.Flags.Has(wire.RST) {
		return
	}
	end := h.Seq.Add(uint32(h.PayloadLen))
	if h.Flags.Has(wire.SYN) {
		p.iss, p.sent = h.Seq, h.Seq
		p.known = false
		end++
	}
	if p.sent.LessThan(end) {
		p.sent = end
	}
	if h.Flags.Has(wire.ACK) {
		if !p.known {
			p.irs, p.known = h.Ack-1, true
			if p.conn != nil && !p.fixed {
				p.fix()
				if p.begins = []wire.Seq{p.irs}; !h.Flags.Has(wire.SYN) {
					p.begins = slices.Clone(p.syns)
				}
			}
		}
		p.next = h.Ack
	}
	if !isStream(b[h.PayloadOffset:h.PayloadOffset+h.PayloadLen], h.Seq) {
		m.check(fmt.Errorf("sent to peer %d: %d wrong bytes from %d on", p.port, h.PayloadLen, h.Seq))
	}
}

// isStream reports whether b is any stream's bytes from number s on.
func isStream(b []byte, s wire.Seq) bool {
	for i := range b {
		if b[i] != streamByte(s.Add(uint32(i))) {
			return false
		}
	}
	return true
}

// streamByte is the byte of any stream with a sequence number.
func streamByte(s wire.Seq) byte { return byte(uint32(s) * 2654435761 >> 24) }
