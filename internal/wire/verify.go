package wire

// VerifyL4 verifies the checksum of the TCP segment, UDP datagram or ICMP message
// that the packet carries. head holds the first bytes of the packet, from the IP
// header on, and payload the rest of it, in any number of slices; payload is only
// read. Bytes beyond the packet's declared end are ignored, so that padding does no
// harm. Call it after the protocol's own parser, which may lower p.L4Len.
//
// It returns BadChecksum if the sum is wrong, Truncated if there are fewer bytes
// than the packet has, NeedMore if the head ends before the checksum field,
// Fragment if the packet is not whole, and WrongProtocol for a protocol that is not
// known here. An IPv4 UDP datagram without a checksum is OK.
//
// A frame whose checksum is only partial, see IsPartial, fails: it was never on a
// wire, and its driver tells so.
func (p *Packet) VerifyL4(head []byte, payload ...[]byte) Cause {
	field, c := p.checksumField(head)
	if c != OK {
		return c
	}
	if field == 0 && p.Proto == ProtoUDP && p.Version == 4 {
		return OK
	}
	head = head[p.L4Offset:]
	left := p.L4Len
	s := p.PseudoSum()
	head = head[:min(len(head), left)]
	s.Add(head)
	left -= len(head)
	for _, b := range payload {
		b = b[:min(len(b), left)]
		s.Add(b)
		left -= len(b)
	}
	if left > 0 {
		return Truncated
	}
	if !s.Valid() {
		return BadChecksum
	}
	return OK
}

// IsPartial reports whether the checksum field holds the sum of the pseudo-header
// only, as a sender leaves it for a device to finish (the kernel's
// CHECKSUM_PARTIAL). Such frames reach a receiver that the kernel takes for such a
// device: a veth peer in AF_XDP copy mode, or a TUN reader. What they carry was
// never on a wire; yet as a corrupt frame looks so once in 65536 times, only a
// driver that can receive such frames should ask.
//
// head holds the first bytes of the packet, from the IP header on. Call it after
// the protocol's own parser. ICMPv4 has no pseudo-header and is never partial.
func (p *Packet) IsPartial(head []byte) bool {
	field, c := p.checksumField(head)
	if c != OK || p.Version == 4 && p.Proto == ProtoICMP {
		return false
	}
	return field == p.PseudoSum().Fold()
}

// checksumField reads the checksum of the protocol above IP from its header.
func (p *Packet) checksumField(head []byte) (uint16, Cause) {
	off, ok := checksumOffset(p.Proto)
	if !ok {
		return 0, WrongProtocol
	}
	if p.IsFragment() {
		return 0, Fragment
	}
	off += p.L4Offset
	if c := have(head, p.Len(), off+2); c != OK {
		return 0, c
	}
	return be16(head[off:]), OK
}
