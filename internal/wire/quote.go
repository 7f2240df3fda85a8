package wire

import "net/netip"

// quotedL4Len is how many bytes of the transport header an ICMP error quotes at
// least (RFC 792). They hold the ports, and in TCP the sequence number.
const quotedL4Len = 8

// Quote is what an ICMP error quotes of the packet that it is about. Anyone can send
// one: a stack acts on it only if the flow exists, and for TCP if Seq is in flight
// (RFC 5927 section 4.1).
type Quote struct {
	// Flow is the flow of the quoted packet, seen from its sender: Local is us. The
	// ports are zero unless Proto is ProtoTCP or ProtoUDP.
	Flow Tuple
	// Seq is the sequence number of the quoted segment, if Proto is ProtoTCP.
	Seq Seq
}

// parseQuote parses the quoted packet of an ICMP error of the given IP version. head
// is what the error's head holds of the quote, and totalLen how much of it there
// is: usually less than the packet that it is from. So its length fields are not
// believed, nor is its checksum verified, which a router may have left as it was.
func parseQuote(head []byte, totalLen int, version uint8, q *Quote) Cause {
	if c := have(head, totalLen, 1); c != OK {
		return quoteCause(c)
	}
	if head[0]>>4 != version {
		return BadQuote
	}
	var p Packet
	var c Cause
	if version == 4 {
		c = quotedIPv4(head, totalLen, &p)
	} else {
		c = quotedIPv6(head, totalLen, &p)
	}
	if c != OK {
		return quoteCause(c)
	}
	q.Flow = Tuple{
		Local:  netip.AddrPortFrom(p.Src, 0),
		Remote: netip.AddrPortFrom(p.Dst, 0),
		Proto:  p.Proto,
	}
	if p.Proto != ProtoTCP && p.Proto != ProtoUDP {
		return OK
	}
	if c := have(head, totalLen, p.L4Offset+quotedL4Len); c != OK {
		return quoteCause(c)
	}
	l4 := head[p.L4Offset : p.L4Offset+quotedL4Len]
	q.Flow.Local = netip.AddrPortFrom(p.Src, be16(l4[0:]))
	q.Flow.Remote = netip.AddrPortFrom(p.Dst, be16(l4[2:]))
	if p.Proto == ProtoTCP {
		q.Seq = Seq(be32(l4[4:]))
	}
	return OK
}

// quoteCause turns what is wrong with a quoted packet into what is wrong with the
// packet that quotes it.
func quoteCause(c Cause) Cause {
	if c == NeedMore {
		return NeedMore
	}
	return BadQuote
}

// quotedIPv4 reads of a quoted IPv4 header what tells the flow.
func quotedIPv4(head []byte, totalLen int, p *Packet) Cause {
	if c := have(head, totalLen, IPv4HeaderLen); c != OK {
		return c
	}
	p.L4Offset = int(head[0]&0xf) * 4
	if p.L4Offset < IPv4HeaderLen {
		return BadHeaderLen
	}
	p.Proto = head[9]
	p.Src = netip.AddrFrom4([4]byte(head[12:16]))
	p.Dst = netip.AddrFrom4([4]byte(head[16:20]))
	if be16(head[6:])&0x1fff != 0 {
		return BadFragment // not the first one: it has no ports
	}
	return OK
}

// quotedIPv6 reads of a quoted IPv6 header and its extensions what tells the flow.
func quotedIPv6(head []byte, totalLen int, p *Packet) Cause {
	if c := have(head, totalLen, IPv6HeaderLen); c != OK {
		return c
	}
	src, dst := [16]byte(head[8:24]), [16]byte(head[24:40])
	if isMapped(&src) || isMapped(&dst) {
		return BadAddress
	}
	p.Src = netip.AddrFrom16(src)
	p.Dst = netip.AddrFrom16(dst)
	if c := walkExtensions(head, IPv6HeaderLen, totalLen, head[6], p); c != OK {
		return c
	}
	if p.IsFragment() {
		return BadFragment // routers make none in IPv6, and neither do we
	}
	return OK
}
