package wire

// icmpHeaderLen is the length in bytes of the part that all the ICMP messages have
// which are of interest here: type, code, checksum and 4 bytes more.
const icmpHeaderLen = 8

// ICMPKind is what an ICMP message says, whatever the IP version.
type ICMPKind uint8

// Kinds of ICMP messages.
const (
	// ICMPOther is every message without a meaning for the endpoint of a flow:
	// redirects, neighbour discovery, source quench and so on.
	ICMPOther ICMPKind = iota
	// ICMPEchoRequest and ICMPEchoReply fill in EchoID and EchoSeq.
	ICMPEchoRequest
	ICMPEchoReply
	// The rest are errors, and fill in Quote.
	// ICMPUnreachable: destination unreachable; ICMP.Code says why.
	ICMPUnreachable
	// ICMPPacketTooBig: packet too big, or IPv4's fragmentation needed; fills in MTU.
	ICMPPacketTooBig
	// ICMPTimeExceeded: the hop limit ran out, or reassembly took too long.
	ICMPTimeExceeded
	// ICMPParameterProblem: something in a header was not understood.
	ICMPParameterProblem
)

// IsError reports whether messages of the kind quote a packet.
func (k ICMPKind) IsError() bool { return k >= ICMPUnreachable }

// Message types and codes (RFC 792, RFC 1191, RFC 4443).
const (
	icmp4EchoReply        = 0
	icmp4Unreachable      = 3
	icmp4EchoRequest      = 8
	icmp4TimeExceeded     = 11
	icmp4ParameterProblem = 12

	icmp4CodePortUnreachable = 3
	icmp4CodeFragNeeded      = 4

	icmp6Unreachable      = 1
	icmp6PacketTooBig     = 2
	icmp6TimeExceeded     = 3
	icmp6ParameterProblem = 4
	icmp6EchoRequest      = 128
	icmp6EchoReply        = 129

	icmp6CodePortUnreachable = 4

	icmpCodeReassembly = 1 // of "time exceeded", in both
)

// ICMP is what an ICMPv4 or ICMPv6 message means.
type ICMP struct {
	Kind ICMPKind
	// Type and Code are as in the message; their numbers depend on the IP version.
	Type, Code uint8
	// EchoID and EchoSeq identify an echo request and its reply.
	EchoID, EchoSeq uint16
	// MTU is the largest packet, in bytes, that passes the router which sent an
	// ICMPPacketTooBig. It is whatever the router claims. Zero means that it does
	// not say (RFC 1191 section 4).
	MTU uint32
	// PayloadOffset is where the data of an echo message starts, in bytes from the
	// start of the IP header, and PayloadLen its length.
	PayloadOffset, PayloadLen int
	// Quote tells which packet of ours an error is about.
	Quote Quote
}

// ParseICMP parses the ICMP message in a packet that starts with head, and fills in
// m. p is what ParseIP made of the same packet, with ProtoICMP or ProtoICMPv6.
// The checksum is not verified: see Packet.VerifyL4, and note that an error whose
// data lies beyond the head has been verified only if that data was given too.
func ParseICMP(head []byte, p *Packet, m *ICMP) Cause {
	if p.IsFragment() {
		return Fragment
	}
	switch {
	case p.Version == 4 && p.Proto == ProtoICMP:
	case p.Version == 6 && p.Proto == ProtoICMPv6:
	default:
		return WrongProtocol
	}
	end := p.Len()
	off := p.L4Offset + icmpHeaderLen
	if c := have(head, end, off); c != OK {
		return c
	}
	h := head[p.L4Offset:off]
	*m = ICMP{
		Kind:          icmpKind(p.Version, h[0], h[1]),
		Type:          h[0],
		Code:          h[1],
		PayloadOffset: off,
		PayloadLen:    end - off,
	}
	switch m.Kind {
	case ICMPOther:
		return OK
	case ICMPEchoRequest, ICMPEchoReply:
		m.EchoID = be16(h[4:])
		m.EchoSeq = be16(h[6:])
		return OK
	case ICMPPacketTooBig:
		if p.Version == 4 {
			m.MTU = uint32(be16(h[6:]))
		} else {
			m.MTU = be32(h[4:])
		}
	}
	return parseQuote(head[off:min(len(head), end)], end-off, p.Version, &m.Quote)
}

func icmpKind(version, typ, code uint8) ICMPKind {
	if version == 4 {
		switch typ {
		case icmp4EchoRequest:
			return ICMPEchoRequest
		case icmp4EchoReply:
			return ICMPEchoReply
		case icmp4Unreachable:
			if code == icmp4CodeFragNeeded {
				return ICMPPacketTooBig
			}
			return ICMPUnreachable
		case icmp4TimeExceeded:
			return ICMPTimeExceeded
		case icmp4ParameterProblem:
			return ICMPParameterProblem
		}
		return ICMPOther
	}
	switch typ {
	case icmp6EchoRequest:
		return ICMPEchoRequest
	case icmp6EchoReply:
		return ICMPEchoReply
	case icmp6Unreachable:
		return ICMPUnreachable
	case icmp6PacketTooBig:
		return ICMPPacketTooBig
	case icmp6TimeExceeded:
		return ICMPTimeExceeded
	case icmp6ParameterProblem:
		return ICMPParameterProblem
	}
	return ICMPOther
}
