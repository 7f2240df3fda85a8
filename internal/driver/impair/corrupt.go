package impair

import (
	"github.com/zctap/zctap/internal/buf"
	"github.com/zctap/zctap/internal/driver"
	"github.com/zctap/zctap/internal/wire"
)

// maxLinkHeader is an Ethernet header with all its VLAN tags, bytes.
const maxLinkHeader = wire.EthernetHeaderLen + wire.MaxVLANTags*wire.VLANTagLen

// Where a UDP header has its length and, behind it, its checksum, which is its
// end: bytes from the header's start (RFC 768).
const udpLength, udpEnd = 4, wire.UDPHeaderLen

// A corrupter inverts bits of frames.
type corrupter struct {
	region *buf.Region
	link   int // Caps.LinkHeader

	// head is the first bytes of a frame in one piece, as many as headers take.
	head  [maxLinkHeader + wire.MaxHeaderLen]byte
	views [][]byte // what pieces returns
}

func newCorrupter(r *buf.Region, linkHeader int) corrupter {
	return corrupter{region: r, link: linkHeader}
}

// A target is the bytes [from, to) of a frame, but for the hole.
type target struct{ from, to, hole, holeEnd int }

// byte is the place of one of the target's bytes, n modulo their number.
func (t *target) byte(n uint64) int {
	at := t.from + int(n%uint64(t.to-t.from-(t.holeEnd-t.hole)))
	if t.holeEnd > 0 && at >= t.hole {
		at += t.holeEnd - t.hole
	}
	return at
}

// flip inverts one bit of f, and has its checksum verified. The memory of f,
// Head and the frags' buffers, is the driver's and shared with no other frame.
func (c *corrupter) flip(f *driver.Frame, bit uint64) {
	if f.Len == 0 {
		return
	}
	t := c.aim(f)
	at := t.byte(bit / 8)
	c.pieces(f, at, at+1)[0][0] ^= 1 << (bit % 8)
	f.Checksum = driver.Unverified
}

// aim finds the bytes of which any bit may be flipped: see Poll. If f has no
// checksum that would fail then it gets one.
func (c *corrupter) aim(f *driver.Frame) target {
	n := 0
	for _, p := range c.pieces(f, 0, f.Len) {
		n += copy(c.head[n:], p)
	}
	head := c.head[:n]
	all := target{from: min(c.link, f.Len-1), to: f.Len}
	link := 0
	if c.link > 0 {
		var e wire.Ethernet
		if wire.ParseEthernet(head, f.Len, &e) != wire.OK ||
			e.EtherType != wire.EtherTypeIPv4 && e.EtherType != wire.EtherTypeIPv6 {
			return all
		}
		link = e.HeaderLen
	}
	var p wire.Packet
	if wire.ParseIP(head[link:], f.Len-link, wire.Verify, &p) != wire.OK {
		return all
	}
	hasSum, sound := transport(head[link:], &p)
	l4 := link + p.L4Offset
	switch {
	case !sound && p.Version == 6:
		return all
	case !sound:
		return target{from: link + 1, to: l4}
	}
	if f.Checksum == driver.Vouched || !hasSum {
		c.complete(f, head, l4, &p)
	}
	t := target{from: l4, to: link + p.Len()}
	if p.Version == 4 {
		t.from = link + 1
	}
	if p.Proto == wire.ProtoUDP {
		t.hole, t.holeEnd = l4+udpLength, l4+udpEnd
	}
	return t
}

// transport reports whether p, which begins with head, is a sound and whole
// packet of a protocol with a checksum, and whether it has one.
func transport(head []byte, p *wire.Packet) (hasSum, sound bool) {
	switch p.Proto {
	case wire.ProtoTCP:
		var t wire.TCP
		return true, wire.ParseTCP(head, p, &t) == wire.OK
	case wire.ProtoUDP:
		var u wire.UDP
		sound = wire.ParseUDP(head, p, &u) == wire.OK
		return u.HasChecksum, sound
	case wire.ProtoICMP, wire.ProtoICMPv6:
		var i wire.ICMP
		return true, wire.ParseICMP(head, p, &i) == wire.OK
	}
	return false, false
}

// complete puts the right checksum into the transport header of f, which begins
// with head. The header begins at l4.
func (c *corrupter) complete(f *driver.Frame, head []byte, l4 int, p *wire.Packet) {
	end := l4 + p.L4Len
	head = head[l4:min(len(head), end)]
	if err := wire.FillChecksum(head, p.Proto, p.PseudoSum(), c.pieces(f, l4+len(head), end)...); err != nil {
		panic("impair: a parsed header without a checksum field: " + err.Error())
	}
	// The longest of the headers, options aside, has all checksum fields in it.
	head = head[:min(len(head), wire.TCPHeaderLen)]
	for _, p := range c.pieces(f, l4, l4+len(head)) {
		head = head[copy(p, head):]
	}
}

// pieces is the bytes [from, to) of f where they lie, in a slice that the next
// call reuses.
func (c *corrupter) pieces(f *driver.Frame, from, to int) [][]byte {
	c.views = c.views[:0]
	add := func(p []byte) {
		if lo, hi := max(from, 0), min(to, len(p)); lo < hi {
			c.views = append(c.views, p[lo:hi])
		}
		from -= len(p)
		to -= len(p)
	}
	add(f.Head)
	for _, g := range f.Frags {
		add(c.region.View(g))
	}
	return c.views
}
