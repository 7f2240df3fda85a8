package wire

// A Continuation tells, from a packet's headers, whether it is what the sender of
// another TCP segment sends right after it: what receive offloads (GRO, LRO) look
// for. It costs a few comparisons where parsing costs ten times as much.
type Continuation struct {
	head  []byte // IP and TCP header of the first
	l4    int    // where the TCP header begins
	ident int    // of IPv4
}

// flagsOffset is where the control bits are in a TCP header.
const flagsOffset = 13

// ContinuationOf makes the Continuation of a packet that starts with head, and of
// which ParseIP and ParseTCP have made p and t. head stays as it is while c is in
// use. ok is false of packets with IP options or extension headers.
func ContinuationOf(head []byte, p *Packet, t *TCP) (c Continuation, ok bool) {
	c = Continuation{head: head[:t.PayloadOffset], l4: p.L4Offset}
	if p.Version == 4 {
		c.ident = ident(head)
		return c, p.L4Offset == IPv4HeaderLen
	}
	return c, p.L4Offset == IPv6HeaderLen
}

// HeaderLen is the length in bytes of the IP and TCP headers.
func (c *Continuation) HeaderLen() int { return len(c.head) }

// Next reports whether a packet that starts with head, and is as long as the first,
// differs from that by nothing but its sequence number, which is seq; PSH, which is
// in flags; and IPv4's identification. So ParseIP and ParseTCP would have found it
// OK, and all that they say the same but for these. The TCP checksum is not
// verified. False if head does not have all of the headers.
func (c *Continuation) Next(head []byte, seq Seq) (flags Flags, ok bool) {
	if len(head) < len(c.head) {
		return 0, false
	}
	a, b := head[:len(c.head)], c.head
	s, t := a[c.l4:], b[c.l4:]
	if len(s) < TCPHeaderLen || len(t) < TCPHeaderLen {
		return 0, false
	}
	flags = Flags(s[flagsOffset])
	switch {
	case [4]byte(s[0:]) != [4]byte(t[0:]), // ports
		Seq(be32(s[4:])) != seq,
		[4]byte(s[8:]) != [4]byte(t[8:]), // acknowledgment number
		s[12] != t[12],                   // data offset
		(flags^Flags(t[flagsOffset]))&^PSH != 0,
		[2]byte(s[14:]) != [2]byte(t[14:]), // window
		[2]byte(s[18:]) != [2]byte(t[18:]): // urgent pointer
		return 0, false
	}
	if string(s[TCPHeaderLen:]) != string(t[TCPHeaderLen:]) {
		return 0, false // options
	}
	if c.l4 == IPv4HeaderLen {
		return flags, c.nextIPv4(a, b)
	}
	return flags, string(a[:IPv6HeaderLen]) == string(b[:IPv6HeaderLen])
}

// nextIPv4 compares IPv4 headers without options. The header's checksum is right if
// it has changed as much as the identification: nothing else has, and the first one's
// was right.
func (c *Continuation) nextIPv4(a, b []byte) bool {
	if len(a) < IPv4HeaderLen || len(b) < IPv4HeaderLen {
		return false
	}
	return [4]byte(a[0:]) == [4]byte(b[0:]) && // version, length, service, total length
		[4]byte(a[6:]) == [4]byte(b[6:]) && // fragments, time to live, protocol
		[8]byte(a[12:]) == [8]byte(b[12:]) && // addresses
		(ident(a)-c.ident)%0xffff == 0 // ones' complement: see Sum
}

// ident is the sum of the words of an IPv4 header that change with each packet:
// identification and checksum.
func ident(h []byte) int { return int(be16(h[4:])) + int(be16(h[10:])) }
