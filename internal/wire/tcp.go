package wire

// TCPHeaderLen is the length in bytes of a TCP header without options.
const TCPHeaderLen = 20

// Flags are the control bits of a TCP header (RFC 9293 section 3.1, RFC 3168
// section 6.1).
type Flags uint8

// The control bits.
const (
	FIN Flags = 1 << iota
	SYN
	RST
	PSH
	ACK
	URG
	ECE // ECN echo
	CWR // congestion window reduced
)

// Has reports whether all bits of want are set.
func (f Flags) Has(want Flags) bool { return f&want == want }

// String returns one letter for each bit that is set, as packet dumps show them:
// F S R P . U E W.
func (f Flags) String() string {
	const letters = "FSRP.UEW"
	var b [len(letters)]byte
	n := 0
	for i := range letters {
		if f&(1<<i) != 0 {
			b[n] = letters[i]
			n++
		}
	}
	return string(b[:n])
}

// TCP is what a TCP header means. ParseTCP yields it and PutTCP takes it.
type TCP struct {
	SrcPort, DstPort uint16
	// Seq is the sequence number of the first byte, which is the SYN if there is one.
	Seq Seq
	// Ack is the next sequence number that the sender expects, if Flags has ACK.
	Ack   Seq
	Flags Flags
	// Window is the field as it is in the header, not scaled.
	Window uint16
	// Urgent is the urgent pointer, an offset from Seq, if Flags has URG.
	Urgent  uint16
	Options TCPOptions
	// PayloadOffset is where the payload starts, in bytes from the start of the IP
	// header, and PayloadLen the payload's length in bytes. PutTCP ignores both.
	PayloadOffset, PayloadLen int
}

// ParseTCP parses the header of the TCP segment in a packet that starts with head,
// and fills in t. p is what ParseIP made of the same packet, with ProtoTCP. The
// checksum is not verified: see Packet.VerifyL4.
func ParseTCP(head []byte, p *Packet, t *TCP) Cause {
	if p.IsFragment() {
		return Fragment
	}
	end := p.Len()
	start := p.L4Offset
	if c := have(head, end, start+TCPHeaderLen); c != OK {
		return c
	}
	h := (*[TCPHeaderLen]byte)(head[start:]) // of a length that the compiler knows
	headerLen := int(h[12]>>4) * 4
	if headerLen < TCPHeaderLen {
		return BadHeaderLen
	}
	if c := have(head, end, start+headerLen); c != OK {
		return c
	}
	t.SrcPort = be16(h[0:])
	t.DstPort = be16(h[2:])
	t.Seq = Seq(be32(h[4:]))
	t.Ack = Seq(be32(h[8:]))
	t.Flags = Flags(h[13])
	t.Window = be16(h[14:])
	t.Urgent = be16(h[18:])
	t.PayloadOffset = start + headerLen
	t.PayloadLen = end - t.PayloadOffset
	ParseTCPOptions(head[start+TCPHeaderLen:start+headerLen], t.Flags.Has(SYN), &t.Options)
	return OK
}
