package wire

import "encoding/binary"

// Limits on the length in bytes of a packet that carries an ICMP error, IP header
// included (RFC 1812 section 4.3.2.3; RFC 4443 section 2.4 c, the minimum MTU).
const (
	maxICMPv4Error = 576
	maxICMPv6Error = 1280
)

// EchoHeaderLen is the length in bytes of the ICMP header of an echo reply; the data
// of the request follows it.
const EchoHeaderLen = icmpHeaderLen

// PutEchoReply writes the ICMP header of the reply to an echo request to the start
// of b and returns its length, EchoHeaderLen. p and m are the request. The data is
// the request's, m.PayloadLen bytes, and has to follow. The checksum field is zero:
// fill it in with FillChecksum, whose sum includes the data. Whether a request to a
// group or to all is answered is for the caller to say (RFC 1122 section 3.2.2.6).
func PutEchoReply(b []byte, p *Packet, m *ICMP) (int, error) {
	if m.Kind != ICMPEchoRequest {
		return 0, ErrNoReply
	}
	if len(b) < EchoHeaderLen {
		return 0, ErrShortBuffer
	}
	b[0] = icmp4EchoReply
	if p.Version == 6 {
		b[0] = icmp6EchoReply
	}
	b[1], b[2], b[3] = 0, 0, 0
	binary.BigEndian.PutUint16(b[4:], m.EchoID)
	binary.BigEndian.PutUint16(b[6:], m.EchoSeq)
	return EchoHeaderLen, nil
}

// An ICMPError is one that a host may send about a packet.
type ICMPError uint8

// The errors of a host.
const (
	// PortUnreachable: nobody is at the packet's destination port.
	PortUnreachable ICMPError = iota
	// ReassemblyTimeout: the rest of the packet did not come in time.
	ReassemblyTimeout
)

// icmpErrors are the types and codes in the two versions.
var icmpErrors = [...]struct{ type4, code4, type6, code6 uint8 }{
	PortUnreachable:   {icmp4Unreachable, icmp4CodePortUnreachable, icmp6Unreachable, icmp6CodePortUnreachable},
	ReassemblyTimeout: {icmp4TimeExceeded, icmpCodeReassembly, icmp6TimeExceeded, icmpCodeReassembly},
}

// ICMPErrorLen returns the length in bytes of the message that PutICMPError makes
// about a packet that starts with orig.
func ICMPErrorLen(orig []byte, p *Packet) int {
	limit := maxICMPv4Error - IPv4HeaderLen
	if p.Version == 6 {
		limit = maxICMPv6Error - IPv6HeaderLen
	}
	return min(icmpHeaderLen+min(len(orig), p.Len()), limit)
}

// PutICMPError writes a whole ICMP message to the start of b and returns its length.
// It is about the packet p, which starts with orig, and goes from p.Dst to p.Src. It
// quotes orig as far as the packet and the limits of a message reach, so it is never
// longer than the packet by more than its own header: it amplifies nothing. The
// checksum is in place. b and orig must not overlap.
//
// It returns ErrNoReply if no error may be sent about the packet (RFC 1122 section
// 3.2.2, RFC 4443 section 2.4 e): one to a group or to all, one from nobody, a later
// fragment, or an ICMP message. Directed broadcasts only the caller can tell.
func PutICMPError(b []byte, e ICMPError, orig []byte, p *Packet) (int, error) {
	if !mayDrawError(p) {
		return 0, ErrNoReply
	}
	n := ICMPErrorLen(orig, p)
	if len(b) < n {
		return 0, ErrShortBuffer
	}
	b = b[:n]
	proto := uint8(ProtoICMP)
	b[0], b[1] = icmpErrors[e].type4, icmpErrors[e].code4
	if p.Version == 6 {
		proto = ProtoICMPv6
		b[0], b[1] = icmpErrors[e].type6, icmpErrors[e].code6
	}
	binary.BigEndian.PutUint32(b[4:], 0)
	copy(b[icmpHeaderLen:], orig)
	var pseudo Sum
	if p.Version == 6 {
		pseudo = PseudoSum(p.Dst, p.Src, proto, n)
	}
	return n, FillChecksum(b, proto, pseudo)
}

// mayDrawError reports whether an ICMP error may be sent about a packet.
func mayDrawError(p *Packet) bool {
	switch {
	case p.FragOffset != 0, p.Proto == ProtoICMP, p.Proto == ProtoICMPv6:
		return false
	case p.Dst.IsMulticast(), p.Dst == LimitedBroadcast:
		return false
	}
	return !p.Src.IsUnspecified() && !p.Src.IsMulticast()
}
