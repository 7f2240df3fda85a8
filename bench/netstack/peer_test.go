package netstack

import (
	"encoding/binary"
	"net/netip"
	"testing"

	"github.com/zctap/zctap/internal/wire"
)

// payloadLen is that of a full segment with timestamps at an MTU of 1500.
const payloadLen = 1448

var (
	usPrefix = netip.MustParsePrefix("192.0.2.1/16")
	peerAddr = netip.MustParseAddr("192.0.2.2")
)

// port is where receivers listen.
const port = 9000

// A peer is the other end of every flow: it makes frames, without allocating when
// under way. The frames of a batch stay valid until the next batch.
type peer struct {
	tb    testing.TB
	flows []peerFlow
	burst int // frames of one flow that follow each other
	next  int // flow of the next burst
	batch [][]byte
}

type peerFlow struct {
	srcPort  uint16
	seq, ack wire.Seq
	head     []byte // IP and TCP header; nil of a UDP flow
	frame    []byte // head and payload
}

func newPeer(tb testing.TB, flows, burst int) *peer {
	p := &peer{tb: tb, flows: make([]peerFlow, flows), burst: burst}
	for i := range p.flows {
		p.flows[i].srcPort = uint16(10000 + i)
		p.flows[i].seq = wire.Seq(i * 77)
	}
	return p
}

// syn is the frame that opens flow i.
func (p *peer) syn(i int) []byte {
	f := &p.flows[i]
	b := p.tcp(f, wire.SYN, wire.TCPOptions{MSS: 1460, HasTimestamps: true, TSVal: 1, HasWindowScale: true, WindowScale: 7}, 0)
	f.seq++
	return b
}

// established takes the answer to syn, and is the ACK of it.
func (p *peer) established(i int, synAck []byte) []byte {
	f := &p.flows[i]
	var ip wire.Packet
	var h wire.TCP
	if wire.ParseIP(synAck, len(synAck), wire.Vouched, &ip) != wire.OK || wire.ParseTCP(synAck, &ip, &h) != wire.OK ||
		h.Flags != wire.SYN|wire.ACK || h.DstPort != f.srcPort {
		p.tb.Fatalf("flow %d: no SYN-ACK: %x", i, synAck)
	}
	f.ack = h.Seq.Add(1)
	stamps := wire.TCPOptions{HasTimestamps: true, TSVal: 1, TSEcr: h.Options.TSVal}
	f.frame = p.tcp(f, wire.ACK, stamps, payloadLen)
	f.head = f.frame[:len(f.frame)-payloadLen]
	return p.tcp(f, wire.ACK, stamps, 0)
}

func (p *peer) tcp(f *peerFlow, flags wire.Flags, o wire.TCPOptions, payload int) []byte {
	h := wire.TCP{SrcPort: f.srcPort, DstPort: port, Seq: f.seq, Ack: f.ack, Flags: flags, Window: 65535, Options: o}
	l4 := make([]byte, h.HeaderLen()+payload)
	if _, err := wire.PutTCP(l4, &h); err != nil {
		p.tb.Fatal(err)
	}
	return p.ip(wire.ProtoTCP, l4)
}

func (p *peer) ip(proto uint8, l4 []byte) []byte {
	if err := wire.FillChecksum(l4, proto, wire.PseudoSum(peerAddr, usPrefix.Addr(), proto, len(l4))); err != nil {
		p.tb.Fatal(err)
	}
	h := wire.IPHeader{Src: peerAddr, Dst: usPrefix.Addr(), Proto: proto, HopLimit: 64, PayloadLen: len(l4)}
	b := make([]byte, h.Len(), h.Len()+len(l4))
	if _, err := wire.PutIP(b, &h); err != nil {
		p.tb.Fatal(err)
	}
	return append(b, l4...)
}

// udp makes all flows such of UDP.
func (p *peer) udp() {
	for i := range p.flows {
		f := &p.flows[i]
		l4 := make([]byte, wire.UDPHeaderLen+payloadLen)
		if _, err := wire.PutUDP(l4, &wire.UDP{SrcPort: f.srcPort, DstPort: port, PayloadLen: payloadLen}); err != nil {
			p.tb.Fatal(err)
		}
		f.frame = p.ip(wire.ProtoUDP, l4)
	}
}

// flowsOf is of how many flows n frames are that come at once.
func (p *peer) flowsOf(n int) int { return min((n+p.burst-1)/p.burst, len(p.flows)) }

// segments is the next n frames, a burst of one flow after the other: each a segment in
// order, with the right checksum. With more frames than flows a frame's memory
// would be used twice: the frames of a flow are copied then.
func (p *peer) segments(n int) [][]byte {
	if cap(p.batch) < n {
		p.batch = make([][]byte, 0, n)
		for range n {
			p.batch = append(p.batch, make([]byte, 2048))
		}
	}
	p.batch = p.batch[:n]
	for i := range p.batch {
		f := &p.flows[p.next]
		if (i+1)%p.burst == 0 || i == n-1 {
			p.next = (p.next + 1) % len(p.flows)
		}
		b := p.batch[i][:len(f.frame)]
		copy(b, f.frame)
		if f.head != nil {
			seq := b[wire.IPv4HeaderLen+4:]
			sum := b[wire.IPv4HeaderLen+16:]
			was := binary.BigEndian.Uint32(seq)
			binary.BigEndian.PutUint32(seq, uint32(f.seq))
			// RFC 1624: the checksum follows what has changed.
			binary.BigEndian.PutUint16(sum, update(binary.BigEndian.Uint16(sum), was, uint32(f.seq)))
			f.seq = f.seq.Add(payloadLen)
		}
		p.batch[i] = b
	}
	return p.batch
}

// update is checksum sum after a word of what it covers has changed (RFC 1624
// equation 3).
func update(sum uint16, from, to uint32) uint16 {
	s := uint32(^sum) + uint32(^uint16(from>>16)) + uint32(^uint16(from)) + to>>16 + to&0xffff
	s = s>>16 + s&0xffff
	s = s>>16 + s&0xffff
	return ^uint16(s)
}
