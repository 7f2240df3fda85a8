// Package wire parses and builds the headers of Ethernet, IPv4, IPv6, TCP, UDP
// and ICMP packets, in place: it reads and writes bytes that the caller owns,
// keeps no reference to them, and allocates nothing.
//
// # Head and payload
//
// A driver of zctap splits each frame: the headers lie in one contiguous slice,
// the head, and the payload stays in the buffers of the region where the device
// put it. No function of this package needs the payload, apart from the checksum
// functions, which take it as a list of slices. Thus every parser takes
//
//	head      the first bytes of the packet, as many as the driver has at hand
//	totalLen  the length in bytes of the whole packet, head and payload together
//
// and everything it yields is an offset into the packet or a value.
//
// # A frame's way through the package
//
//	var e wire.Ethernet                        // only where the link is Ethernet
//	c := wire.ParseEthernet(frame, frameLen, &e)
//	head, totalLen := frame[e.HeaderLen:], frameLen-e.HeaderLen
//
//	var p wire.Packet
//	c = wire.ParseIP(head, totalLen, wire.Verify, &p)
//	var t wire.TCP
//	c = wire.ParseTCP(head, &p, &t)            // or ParseUDP, ParseICMP, by p.Proto
//	c = p.VerifyL4(head[:t.PayloadOffset], payload...)
//	key := p.Tuple(t.SrcPort, t.DstPort)       // our side is Local
//
// The parsed forms (Packet, TCP, UDP, ICMP) are what smoltcp calls a Repr: plain
// values that hold what a header means, valid after the head is gone. The way back:
// PutIP, PutTCP, PutUDP, PutEchoReply and PutICMPError write a header into
// the caller's buffer and return its length, which the Len functions tell
// beforehand. A checksum is filled in last, by FillChecksum or, where the device
// finishes it, by FillPartialChecksum.
//
// A packet from a TUN device is preceded by a VnetHdr, which may say that several
// segments have been merged and that checksums need no look (ChecksumVouched). A
// frame from AF_XDP has none; where its sender may be on the same machine,
// Packet.IsPartial recognizes a checksum that nobody has finished.
//
// # Outcomes
//
// A parser returns a Cause, not an error: a number with which a drop can be
// counted by indexing an array. OK means that the result is filled in; after any
// other Cause its content means nothing. NeedMore is no drop: the packet is
// longer than the head and the parser has to see more of it. A head of
// MaxHeaderLen bytes never draws NeedMore, so one retry is enough.
//
// The network decides what parsers see, so they check each length before they
// read, never panic, and do a bounded amount of work: MaxHeaderLen bytes at most.
// Builders see the application's values; they return an error for wrong ones,
// and have written nothing then.
//
// # What is refused
//
//   - Packets shorter than their headers say (Truncated). Bytes beyond the length
//     that IP declares are Ethernet padding and are ignored.
//   - IPv4 headers with a wrong checksum, unless the driver vouches for it.
//   - Source routing: the IPv4 options LSRR and SSRR, and IPv6 routing headers
//     with segments left (RFC 7126, RFC 5095).
//   - IPv6 options that are unknown and say so must be fatal, extension headers in
//     an order that RFC 8200 forbids, and chains longer than MaxExtensionHeaders
//     or MaxExtensionBytes. AH, ESP and mobility headers are not walked: they end
//     up in Packet.Proto as a protocol that nobody serves.
//   - Jumbograms (RFC 2675), and the zero lengths that come with them.
//   - Fragments whose length or offset cannot be right. Sound fragments are
//     reported, not reassembled (package ip does); the transport parsers refuse them.
//   - Sources that are multicast or the IPv4 broadcast address, and IPv4-mapped
//     IPv6 addresses (RFC 4942 section 2.2). A Packet of IPv4 thus always has
//     addresses with Is4, one of IPv6 never has.
//   - IPv6 UDP without a checksum (RFC 8200 section 8.1).
//   - Ethernet frames with more than two VLAN tags.
//
// TCP options, on the contrary, are read as Linux does: what is unknown is
// skipped, what is malformed ends the list, and the segment counts.
//
// Whether an address is ours, a checksum of TCP must hold, or a sequence number is
// acceptable is for the layers above to say.
package wire
