package wire

import "encoding/binary"

// A Continuation tells, from a packet's headers, whether it is what the sender of
// another TCP segment sends right after it: what receive offloads (GRO, LRO) look
// for. It costs a few comparisons where parsing costs ten times as much.
type Continuation struct {
	head   []byte // link, IP and TCP header of the first
	ip, l4 int    // where the IP header and the TCP header begin
	ident  int    // of IPv4
}

// flagsOffset is where the control bits are in a TCP header.
const flagsOffset = 13

// ContinuationOf makes the Continuation of a packet that starts with head, behind a link
// header of link bytes, and of which ParseIP and ParseTCP have made p and t. head stays as
// it is while c is in use. ok is false of packets with IP options or extension headers.
func ContinuationOf(head []byte, link int, p *Packet, t *TCP) (c Continuation, ok bool) {
	c = Continuation{head: head[:link+t.PayloadOffset], ip: link, l4: link + p.L4Offset}
	if p.Version == 4 {
		c.ident = ident(head[link:])
		return c, p.L4Offset == IPv4HeaderLen
	}
	return c, p.L4Offset == IPv6HeaderLen
}

// HeaderLen is the length in bytes of the headers, the link's included.
func (c *Continuation) HeaderLen() int { return len(c.head) }

// Count reports how many packets continue the first, one after the other. heads are what
// they start with, and they are as long as the first. One continues it if it differs by
// nothing but its sequence number, which is seq, and for each packet step more than for the
// one before; PSH, and flags is what any of them has; and IPv4's identification. So ParseIP
// and ParseTCP would have found it OK, and all that they say the same but for these. TCP
// checksums are not verified. A head that does not have all of the headers ends the count.
func (c *Continuation) Count(heads [][]byte, seq Seq, step int) (n int, flags Flags) {
	if vectors && c.vectorsFit() {
		n, all := continueVectors(heads, c.head, c.mask(), c.l4, uint32(seq), uint32(step))
		return n, Flags(all)
	}
	for _, head := range heads {
		more, ok := c.next(head, seq)
		if !ok {
			break
		}
		flags |= more
		seq = seq.Add(uint32(step))
		n++
	}
	return n, flags
}

// next is Count of one packet.
//
// All is compared before it is looked at whether anything differs: most often nothing
// does, and loads that wait for no branch come at the same time.
func (c *Continuation) next(head []byte, seq Seq) (flags Flags, ok bool) {
	n := len(c.head)
	if len(head) < n || n < c.l4+TCPHeaderLen || string(head[:c.ip]) != string(c.head[:c.ip]) {
		return 0, false
	}
	var differ uint64
	a, b, options := head[c.ip:n], c.head[c.ip:], c.l4-c.ip+TCPHeaderLen
	if c.l4-c.ip == IPv4HeaderLen {
		differ = c.differ4((*[IPv4HeaderLen + TCPHeaderLen]byte)(a), (*[IPv4HeaderLen + TCPHeaderLen]byte)(b))
	} else {
		differ = differ6((*[IPv6HeaderLen + TCPHeaderLen]byte)(a), (*[IPv6HeaderLen + TCPHeaderLen]byte)(b))
	}
	for ; len(a)-options >= 8; options += 8 {
		differ |= word64(a[options:]) ^ word64(b[options:])
	}
	if options < len(a) { // they are padded to 4 bytes
		differ |= uint64(word32(a[options:]) ^ word32(b[options:]))
	}
	l4 := head[c.l4:]
	return Flags(l4[flagsOffset]), differ == 0 && Seq(be32(l4[4:])) == seq
}

// differ4 is 0 if IPv4 headers without options, and TCP headers but for theirs, are
// alike. The IP header's checksum is right if it has changed as much as the
// identification: nothing else has, and the first one's was right.
func (c *Continuation) differ4(a, b *[IPv4HeaderLen + TCPHeaderLen]byte) uint64 {
	changed := ident(a[:]) - c.ident
	if changed != 0 { // seldom: what one gains the other loses
		changed %= 0xffff // ones' complement: see Sum
	}
	return (word64(a[0:])^word64(b[0:]))&^identMask | // version, length, service, total length, fragments
		(word64(a[8:])^word64(b[8:]))&^headerSumMask | // time to live, protocol, source
		(word64(a[16:]) ^ word64(b[16:])) | // destination, ports
		(word64(a[24:])^word64(b[24:]))&ackMask | // and sequence number
		(word64(a[32:])^word64(b[32:]))&restMask | // data offset, flags, window, urgent pointer
		uint64(changed)
}

// differ6 is differ4 of IPv6 headers.
func differ6(a, b *[IPv6HeaderLen + TCPHeaderLen]byte) (differ uint64) {
	for i := 0; i < IPv6HeaderLen; i += 8 {
		differ |= word64(a[i:]) ^ word64(b[i:])
	}
	return differ |
		(word64(a[40:])^word64(b[40:]))&portsMask | // and sequence number
		uint64(word32(a[48:])^word32(b[48:])) | // acknowledgment number
		(word64(a[52:])^word64(b[52:]))&restMask // data offset, flags, window, urgent pointer
}

// What of 8 bytes of headers must not differ, or may: masks of words as word64 loads
// them, the first byte lowest.
const (
	identMask     = uint64(0xffff) << (8 * 4) // bytes 4 and 5 of an IPv4 header
	headerSumMask = uint64(0xffff) << (8 * 2) // bytes 10 and 11
	portsMask     = uint64(1<<32 - 1)         // the first 4 of 8 bytes
	ackMask       = ^portsMask                // the last 4
	// Of a TCP header from the data offset on all but PSH, and the checksum.
	restMask = ^(uint64(PSH)<<8 | uint64(0xffff)<<(8*4))
)

func word64(b []byte) uint64 { return binary.LittleEndian.Uint64(b) }
func word32(b []byte) uint32 { return binary.LittleEndian.Uint32(b) }

// ident is the sum of the words of an IPv4 header that change with each packet:
// identification and checksum.
func ident(h []byte) int { return int(be16(h[4:])) + int(be16(h[10:])) }
