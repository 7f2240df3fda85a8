package wire

// UDPHeaderLen is the length in bytes of a UDP header.
const UDPHeaderLen = 8

// UDP is what a UDP header means. ParseUDP yields it and PutUDP takes it.
type UDP struct {
	SrcPort, DstPort uint16
	// HasChecksum is false if the sender did not compute one, which only IPv4
	// allows. PutUDP ignores it.
	HasChecksum bool
	// PayloadOffset is where the payload starts, in bytes from the start of the IP
	// header. PutUDP ignores it.
	PayloadOffset int
	// PayloadLen is the length of the payload in bytes.
	PayloadLen int
}

// ParseUDP parses the header of the UDP datagram in a packet that starts with head,
// and fills in u. p is what ParseIP made of the same packet, with ProtoUDP.
//
// The UDP length may be less than what IP declares (RFC 768 does not say what the
// rest is; Linux ignores it, and so do we): then p.L4Len is lowered to it, for the
// checksum covers no more. A length of zero is a jumbogram's (RFC 2675 section 4)
// and refused, in IPv4 too. The checksum is not verified: see Packet.VerifyL4.
func ParseUDP(head []byte, p *Packet, u *UDP) Cause {
	if p.IsFragment() {
		return Fragment
	}
	if c := have(head, p.Len(), p.L4Offset+UDPHeaderLen); c != OK {
		return c
	}
	h := head[p.L4Offset : p.L4Offset+UDPHeaderLen]
	length := int(be16(h[4:]))
	if length == 0 {
		return Jumbogram
	}
	if length < UDPHeaderLen {
		return BadLength
	}
	if length > p.L4Len {
		return Truncated
	}
	u.HasChecksum = be16(h[6:]) != 0
	if !u.HasChecksum && p.Version == 6 {
		return ZeroChecksum
	}
	u.SrcPort = be16(h[0:])
	u.DstPort = be16(h[2:])
	u.PayloadOffset = p.L4Offset + UDPHeaderLen
	u.PayloadLen = length - UDPHeaderLen
	p.L4Len = length
	return OK
}
