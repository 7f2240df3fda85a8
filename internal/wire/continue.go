package wire

import "encoding/binary"

// A Continuation tells, from a packet's headers, whether it is what the sender of
// another TCP segment sends right after it: what receive offloads (GRO, LRO) look
// for. It costs a few comparisons where parsing costs ten times as much.
type Continuation struct {
	first []byte // link, IP and TCP header of the first
	l4    int    // where the TCP header begins
	// mask has the bits of first that packets must have in common with it, all but: in IPv4,
	// identification and checksum; the TCP sequence number, PSH, and checksum. It is longer.
	mask []byte
}

// SeqOffset is where the sequence number is in a TCP header: a look at it, before a
// Continuation is made, tells most packets apart that come in turns.
const SeqOffset = 4

// flagsOffset is where the control bits are in a TCP header.
const flagsOffset = 13

// Begin makes c the Continuation of a packet that starts with head, behind a link
// header of link bytes, EthernetHeaderLen at most, and of which ParseIP and ParseTCP have made
// p and t. head stays as it is while c is in use. It returns false of packets with IP options or
// extension headers.
func (c *Continuation) Begin(head []byte, link int, p *Packet, t *TCP) bool {
	ipHeader, mask := IPv6HeaderLen, &mask6
	if p.Version == 4 {
		ipHeader, mask = IPv4HeaderLen, &mask4
	}
	if link > EthernetHeaderLen || p.L4Offset != ipHeader || t.PayloadOffset < ipHeader+TCPHeaderLen {
		return false
	}
	// Field by field: what is returned by value is copied by vectors, which waits for its stores.
	c.first, c.l4, c.mask = head[:link+t.PayloadOffset], link+ipHeader, mask[EthernetHeaderLen-link:]
	return true
}

// HeaderLen is the length in bytes of the headers, the link's included.
func (c *Continuation) HeaderLen() int { return len(c.first) }

// Count reports how many packets continue the first, one after the other. heads are what
// they start with, and they are as long as the first. One continues it if it differs by
// nothing but its sequence number, which is seq, and for each packet step more than for the
// one before; PSH, and flags is what any of them has; and IPv4's identification. So ParseIP
// and ParseTCP would have found it OK, and all that they say the same but for these. TCP
// checksums are not verified. A head that does not have all of the headers ends the count.
func (c *Continuation) Count(heads [][]byte, seq Seq, step int) (n int, flags Flags) {
	if vectors && len(c.first) <= maxContinueVectors {
		n, all := continueVectors(heads, c.first, c.mask, c.l4, uint32(seq), uint32(step))
		return n, Flags(all)
	}
	return c.countWords(heads, uint32(seq), uint32(step))
}

// CountAt is Count of packets that lie in one memory, each from one of the places at on. A place
// that does not have all of the headers, or is none of mem, ends the count.
func (c *Continuation) CountAt(mem []byte, at []int, seq Seq, step int) (n int, flags Flags) {
	if vectors && len(c.first) <= maxContinueVectors {
		n, all := continueVectorsAt(mem, at, c.first, c.mask, c.l4, uint32(seq), uint32(step))
		return n, Flags(all)
	}
	return c.countWordsAt(mem, at, uint32(seq), uint32(step))
}

// countWords is Count by words of 8 bytes.
func (c *Continuation) countWords(heads [][]byte, seq, step uint32) (n int, flags Flags) {
	for _, head := range heads {
		if len(head) < len(c.first) || !c.same(head, seq) {
			break
		}
		flags |= Flags(head[c.l4+flagsOffset])
		seq += step
		n++
	}
	return n, flags
}

// countWordsAt is CountAt by words of 8 bytes.
func (c *Continuation) countWordsAt(mem []byte, at []int, seq, step uint32) (n int, flags Flags) {
	for _, i := range at {
		if i < 0 || i > len(mem)-len(c.first) || !c.same(mem[i:], seq) {
			break
		}
		flags |= Flags(mem[i+c.l4+flagsOffset])
		seq += step
		n++
	}
	return n, flags
}

// same reports whether head, which is as long as the first or longer, is that of a packet with the
// number seq that continues it. It compares words of 8 bytes, of which the last overlaps the one
// before it where headers are no multiple of that.
//
// All words are compared before it is looked at whether any differs: most often none
// does, and loads that wait for no branch come at the same time.
func (c *Continuation) same(head []byte, seq uint32) bool {
	first, mask, l4 := c.first, c.mask[:len(c.first)], c.l4
	head = head[:len(first)]
	last := len(first) - 8
	differ := (word64(head[last:]) ^ word64(first[last:])) & word64(mask[last:])
	for i := 8; i <= len(first); i += 8 {
		differ |= (word64(head[i-8:i]) ^ word64(first[i-8:i])) & word64(mask[i-8:i])
	}
	// The IP header's checksum is right if it has changed as much as the identification:
	// nothing else has, and the first one's was right. In ones' complement: see Sum.
	changed := changing(head, l4) - changing(first, l4)
	return differ == 0 && (changed == 0 || changed%0xffff == 0) && be32(head[l4+SeqOffset:]) == seq
}

// changing is the sum, in any byte order, of the words of an IPv4 header that change with
// each packet, identification and checksum: 16 and 10 bytes before the TCP header. In IPv6
// they are of the destination, and do not change.
func changing(head []byte, l4 int) int { return int(word16(head[l4-16:])) + int(word16(head[l4-10:])) }

func word16(b []byte) uint16 { return binary.LittleEndian.Uint16(b) }
func word32(b []byte) uint32 { return binary.LittleEndian.Uint32(b) }
func word64(b []byte) uint64 { return binary.LittleEndian.Uint64(b) }

// A continueMask is the mask of an Ethernet, IP and TCP header with as many options as there
// can be.
type continueMask [EthernetHeaderLen + IPv6HeaderLen + TCPHeaderLen + MaxTCPOptionsLen]byte

var mask4, mask6 = newContinueMask(IPv4HeaderLen), newContinueMask(IPv6HeaderLen)

func newContinueMask(ipHeader int) (m continueMask) {
	for i := range m {
		m[i] = 0xff
	}
	ip := m[EthernetHeaderLen:]
	if ipHeader == IPv4HeaderLen {
		clear(ip[4:6])   // identification
		clear(ip[10:12]) // checksum
	}
	tcp := ip[ipHeader:]
	clear(tcp[4:8]) // sequence number
	tcp[flagsOffset] = ^byte(PSH)
	clear(tcp[16:18]) // checksum
	return m
}

// maxContinueVectors is the most bytes of headers that continueVectors looks at: three blocks
// of vectorLen, the first, the last, and one between them, which overlap in shorter ones.
const maxContinueVectors = 3 * vectorLen
