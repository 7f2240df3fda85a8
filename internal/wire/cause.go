package wire

// Cause is the outcome of a parser: OK, NeedMore, or why the packet is refused.
// It is a small number, so that a stack can keep a counter for each in an array of
// NumCauses elements.
type Cause uint8

// The outcomes of parsing.
const (
	// OK: the packet is sound as far as the parser looks.
	OK Cause = iota
	// NeedMore: the headers extend beyond the head, but not beyond the packet.
	// Gather more of the packet, MaxHeaderLen bytes at most, and parse again.
	NeedMore
	// Truncated: the packet ends before its headers, or before the length that
	// they declare.
	Truncated
	// TooManyTags: an Ethernet frame has more than two VLAN tags.
	TooManyTags
	// BadVersion: neither IPv4 nor IPv6.
	BadVersion
	// BadHeaderLen: a header length field is below the protocol's minimum.
	BadHeaderLen
	// BadLength: a length field contradicts another one.
	BadLength
	// BadHeaderChecksum: the checksum of the IPv4 header is wrong.
	BadHeaderChecksum
	// BadAddress: an address that cannot be in such a packet, see ParseIP.
	BadAddress
	// BadOption: the options of an IP header are malformed.
	BadOption
	// RefusedOption: an IPv6 option that the receiver does not know and that asks
	// for the packet to be discarded then (RFC 8200 section 4.2).
	RefusedOption
	// SourceRouted: the packet carries a source route that is not used up.
	SourceRouted
	// BadExtension: IPv6 extension headers that are too many, too long, repeated,
	// or in a forbidden order.
	BadExtension
	// Jumbogram: an IPv6 packet or a UDP datagram with a length field of zero.
	Jumbogram
	// BadFragment: a fragment with an impossible offset or length.
	BadFragment
	// Fragment: a sound fragment was given to the parser of a whole segment,
	// datagram or message.
	Fragment
	// WrongProtocol: ParseICMP was given a packet of another protocol, or ICMP of
	// the other IP version.
	WrongProtocol
	// ZeroChecksum: an IPv6 UDP datagram without a checksum.
	ZeroChecksum
	// BadChecksum: the checksum of the TCP segment, UDP datagram or ICMP message is
	// wrong.
	BadChecksum
	// BadQuote: an ICMP error quotes something that we cannot have sent.
	BadQuote
	// BadOffload: a virtio_net_hdr that contradicts itself or the packet.
	BadOffload

	endOfCauses
)

// NumCauses is the number of Cause values: the length of an array indexed by Cause.
const NumCauses = int(endOfCauses)

var causeNames = [NumCauses]string{
	OK:                "ok",
	NeedMore:          "need-more",
	Truncated:         "truncated",
	TooManyTags:       "too-many-tags",
	BadVersion:        "bad-version",
	BadHeaderLen:      "bad-header-length",
	BadLength:         "bad-length",
	BadHeaderChecksum: "bad-header-checksum",
	BadAddress:        "bad-address",
	BadOption:         "bad-option",
	RefusedOption:     "refused-option",
	SourceRouted:      "source-routed",
	BadExtension:      "bad-extension",
	Jumbogram:         "jumbogram",
	BadFragment:       "bad-fragment",
	Fragment:          "fragment",
	WrongProtocol:     "wrong-protocol",
	ZeroChecksum:      "zero-checksum",
	BadChecksum:       "bad-checksum",
	BadQuote:          "bad-quote",
	BadOffload:        "bad-offload",
}

// String returns the name under which the cause is counted, in lower case with
// hyphens.
func (c Cause) String() string {
	if int(c) < len(causeNames) {
		return causeNames[c]
	}
	return "unknown"
}

// have tells whether the first need bytes of a packet can be read. end is where
// the packet, or the part of it that is of interest, ends; head holds its first
// bytes. What the packet lacks is told before what the head lacks, so that a
// longer head never turns one refusal into another.
func have(head []byte, end, need int) Cause {
	if need > end {
		return Truncated
	}
	if need > len(head) {
		return NeedMore
	}
	return OK
}
