package ip

import (
	"bytes"
	"time"

	"github.com/zctap/zctap/internal/buf"
	"github.com/zctap/zctap/internal/mono"
	"github.com/zctap/zctap/internal/wire"
)

// Bounds of a Reassembler. Everything in it was sent by somebody whom we know
// nothing of.
const (
	// Datagrams under way, of all sources and of one.
	maxDatagrams, maxFromOne = 64, 16
	// maxPieces is the fragments of one datagram: the longest over the smallest MTU
	// that is in use (576) has 119.
	maxPieces = 128
	// ethernetPieces is the buffers that the longest datagram takes over Ethernet.
	ethernetPieces = 46
	// keptQuote is how much of a first fragment is kept behind its IP header, bytes,
	// for an ICMP error about it.
	keptQuote = 64

	// How long a datagram may take: Linux's ipfrag_time for IPv4 (RFC 791 section 3.2
	// has a timer of 15 s, RFC 1122 section 3.3.2 one to two minutes), and RFC 8200
	// section 4.5 for IPv6.
	timeout4, timeout6 = 30 * time.Second, 60 * time.Second
)

// A Refusal is why fragments are dropped.
type Refusal uint8

// The refusals.
const (
	FragmentOverlap   Refusal = iota // one overlaps another: none of them is believed (RFC 5722)
	FragmentTiny                     // the first one lacks a part of the header (RFC 1858, RFC 7112)
	FragmentsTooMany                 // more than maxPieces
	FragmentBadEnd                   // the ends of the datagram that two tell differ, or lie before data
	FragmentBadECN                   // congestion marks that cannot be of one packet (RFC 3168 section 5.3)
	FragmentOfRefused                // their first one was refused by the caller; see Refuse
	FragmentEvicted                  // newer ones took its place
	FragmentExpired                  // the rest did not come in time
	NumRefusals       = iota
)

var refusalNames = [NumRefusals]string{
	"fragment-overlap", "fragment-tiny", "fragments-too-many", "fragment-bad-end", "fragment-bad-ecn",
	"fragment-of-refused", "fragment-evicted", "fragment-expired",
}

// String is the name under which the refusal is counted.
func (r Refusal) String() string { return refusalNames[r] }

// A Reassembler puts fragmented packets together (RFC 791 section 3.2, RFC 8200
// section 4.5). Payload stays where it is: a packet is the list of its fragments'
// buffers. What it holds is bounded, for each source and in all; the oldest makes
// room, so that a flood of fragments that belong to nothing delays nobody whose
// fragments come at once.
//
// Fragments that overlap condemn their datagram, and those of it that are still to
// come (RFC 5722); only an exact copy of one is dropped alone (RFC 8200 section 4.5).
type Reassembler struct {
	pool         *buf.Pool
	total, share int // buffers that may be held, and by one source
	held         int // buffers
	underway     []*datagram
	next         mono.Time // not after the first deadline; 0: none
	whole        Whole     // of the last Input

	// Drops counts fragments by Refusal, Twice those that were dropped for they were
	// there already, and Reassembled the packets put together.
	Drops              [NumRefusals]uint64
	Twice, Reassembled uint64
}

// A Whole is a packet put together from fragments.
type Whole struct {
	// Packet is the header, as if it had come whole, apart from its options: L4Offset
	// is zero.
	Packet wire.Packet
	// Frags is the IP payload, Packet.L4Len bytes, with a kernel reference for each.
	// The slice is valid until the next call.
	Frags []buf.Frag
}

// fragmentKey says what belongs together. In IPv4 the protocol does (RFC 791), in
// IPv6 only that of the first fragment counts.
type fragmentKey struct {
	src, dst [16]byte
	id       uint32
	proto    uint8
	version  uint8
}

// A datagram is one that is under way.
type datagram struct {
	key      fragmentKey
	deadline mono.Time
	pieces   []piece // in order, none overlapping
	got      int     // bytes
	end      int     // of the datagram; -1: not known
	buffers  int
	refused  bool // what is still to come of it is dropped
	cause    Refusal
	ecn      uint8       // a bit for each codepoint seen
	first    wire.Packet // of the first fragment, if quote is set
	quote    []byte      // the beginning of the first fragment
}

// A piece is one fragment.
type piece struct {
	start, end int
	frags      []buf.Frag
}

// NewReassembler makes a Reassembler for buffers of p. It holds an eighth of them at
// most, or as many as the longest datagram takes.
func NewReassembler(p *buf.Pool) *Reassembler {
	n := p.Region().Count()
	r := &Reassembler{pool: p, total: max(n/8, min(ethernetPieces, n/2))}
	r.share = max(r.total/4, min(ethernetPieces, r.total))
	return r
}

// Input takes in the fragment p and the references of frags, its payload; head is its
// beginning, from the IP header on. It returns the packet that it completes, whose
// references are the caller's, or nil. Whether a fragment is for us, and from whom it
// may be, the caller has checked, and that head is long enough for UpperLayer.
func (r *Reassembler) Input(now mono.Time, p *wire.Packet, head []byte, frags []buf.Frag) *Whole {
	key := keyOf(p)
	d := r.find(&key)
	if d == nil {
		d = r.add(now, &key)
	}
	if d.refused {
		r.Drops[d.cause]++
		r.pool.PutFrags(frags)
		return nil
	}
	if c, ok := d.judge(p, head); !ok {
		r.Drops[c]++
		r.pool.PutFrags(frags)
		r.refuse(d, c)
		return nil
	}
	start, end := int(p.FragOffset), int(p.FragOffset)+p.L4Len
	i, overlap := d.place(start, end)
	if overlap {
		r.pool.PutFrags(frags)
		if i < len(d.pieces) && d.pieces[i].start == start && d.pieces[i].end == end {
			r.Twice++
			return nil
		}
		r.Drops[FragmentOverlap]++
		r.refuse(d, FragmentOverlap)
		return nil
	}
	if !r.room(d, len(frags)) {
		r.Drops[FragmentEvicted]++
		r.pool.PutFrags(frags)
		r.refuse(d, FragmentEvicted)
		return nil
	}
	d.insert(i, piece{start, end, append([]buf.Frag(nil), frags...)})
	d.buffers += len(frags)
	r.held += len(frags)
	d.ecn |= 1 << p.ECN()
	if !p.MoreFragments {
		d.end = end
	}
	if start == 0 {
		d.first = *p
		d.quote = bytes.Clone(head[:min(len(head), p.L4Offset+min(p.L4Len, keptQuote))])
	}
	if d.got != d.end {
		return nil
	}
	return r.complete(d)
}

// Refuse condemns the packet whose first fragment is p, which the caller drops and counts for what
// its headers say: what is held of it is dropped, and what is still to come. It is noted as Input
// notes a packet that it condemns, within the same bounds.
func (r *Reassembler) Refuse(now mono.Time, p *wire.Packet) {
	key := keyOf(p)
	d := r.find(&key)
	if d == nil {
		d = r.add(now, &key)
	}
	if !d.refused {
		r.refuse(d, FragmentOfRefused)
	}
}

func keyOf(p *wire.Packet) fragmentKey {
	k := fragmentKey{src: p.Src.As16(), dst: p.Dst.As16(), id: p.ID, version: p.Version}
	if p.Version == 4 {
		k.proto = p.Proto
	}
	return k
}

// judge says what is wrong with a fragment of d, which starts with head, where it is not its
// place.
func (d *datagram) judge(p *wire.Packet, head []byte) (c Refusal, ok bool) {
	end := int(p.FragOffset) + p.L4Len
	last := 0 // where the data that is there ends
	if n := len(d.pieces); n > 0 {
		last = d.pieces[n-1].end
	}
	switch {
	case p.FragOffset == 0 && !hasHeaders(p, head):
		return FragmentTiny, false
	case len(d.pieces) == maxPieces:
		return FragmentsTooMany, false
	case d.end >= 0 && (end > d.end || !p.MoreFragments && end != d.end), !p.MoreFragments && end < last:
		return FragmentBadEnd, false
	case !soundECN(d.ecn | 1<<p.ECN()):
		return FragmentBadECN, false
	}
	return 0, true
}

// hasHeaders reports whether the first fragment of a packet holds all headers, so that what is
// judged is all in one: nobody sends less.
func hasHeaders(p *wire.Packet, head []byte) bool {
	proto, off, c := p.UpperLayer(head)
	return c == wire.OK && p.Len()-off >= headerLen(proto)
}

// headerLen is the length of a protocol's header, bytes.
func headerLen(proto uint8) int {
	switch proto {
	case wire.ProtoTCP:
		return wire.TCPHeaderLen
	case wire.ProtoUDP, wire.ProtoICMP, wire.ProtoICMPv6:
		return wire.UDPHeaderLen // ICMP's is as long
	}
	return 0
}

// soundECN reports whether the codepoints seen, a bit for each, can be of one packet:
// what was sent without a transport that takes part cannot be marked.
func soundECN(seen uint8) bool {
	const both = 1<<wire.CE | 1<<wire.NotECT
	return seen&both != both
}

// place is where a fragment goes, and whether one is there already.
func (d *datagram) place(start, end int) (i int, overlap bool) {
	i = len(d.pieces) // most come in order
	for i > 0 && d.pieces[i-1].end > start {
		i--
	}
	return i, i < len(d.pieces) && d.pieces[i].start < end
}

func (d *datagram) insert(i int, p piece) {
	d.pieces = append(d.pieces, piece{})
	copy(d.pieces[i+1:], d.pieces[i:])
	d.pieces[i] = p
	d.got += p.end - p.start
}

// complete hands out d, which lacks nothing.
func (r *Reassembler) complete(d *datagram) *Whole {
	w := &r.whole
	w.Packet, w.Frags = d.first, w.Frags[:0]
	p := &w.Packet
	p.MoreFragments, p.L4Offset, p.L4Len = false, 0, d.end
	if d.ecn&(1<<wire.CE) != 0 {
		p.TrafficClass |= uint8(wire.CE)
	}
	for i := range d.pieces {
		w.Frags = append(w.Frags, d.pieces[i].frags...)
	}
	r.held -= d.buffers
	d.pieces = nil
	r.remove(d)
	r.Reassembled++
	return w
}
