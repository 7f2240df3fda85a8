package wire

import "errors"

// Errors of the builders. They tell of a wrong argument; nothing has been written
// when one is returned.
var (
	// ErrShortBuffer: the buffer does not hold the header. The Len functions and
	// methods tell how long it has to be.
	ErrShortBuffer = errors.New("wire: buffer is shorter than the header")
	// ErrAddress: the addresses are invalid, of two families, or IPv4-mapped.
	ErrAddress = errors.New("wire: addresses must be both IPv4 or both IPv6, and not IPv4-mapped")
	// ErrLength: the payload does not fit into the length field, or is negative.
	ErrLength = errors.New("wire: payload length out of range")
	// ErrOptions: TCP options exceed 40 bytes, or name more SACK blocks than there
	// are. MaxSACKBlocks tells how many fit.
	ErrOptions = errors.New("wire: TCP options do not fit into the header")
	// ErrTags: more VLAN tags than an Ethernet header may have here.
	ErrTags = errors.New("wire: number of VLAN tags out of range")
	// ErrProtocol: the protocol has no checksum that is known here.
	ErrProtocol = errors.New("wire: protocol without a known checksum field")
	// ErrOffload: a virtio_net_hdr that does not fit its packet.
	ErrOffload = errors.New("wire: offload header does not fit the packet")
	// ErrNoReply: an ICMP error about this packet must not be sent.
	ErrNoReply = errors.New("wire: packet must not be answered by an ICMP error")
)
