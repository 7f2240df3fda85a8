//go:build linux

package gvnic

// maxFrame is the length in bytes of the longest frame, a super-frame that is
// to be segmented: the device's limit for TSO (gve_tx_dqo.c, gve_prep_tso).
const maxFrame = 256 << 10

// A Frame is an Ethernet frame on its way from one end of a wire to another.
type Frame struct {
	// Data is the frame from the destination's address on, without frame check
	// sequence. It belongs to who holds the Frame.
	Data []byte
	// SegmentSize, if not 0, says that the frame is a super-frame: TCP or UDP
	// with more payload than fits one packet, which stands for as many packets
	// of SegmentSize bytes of payload each. The headers are those of the first
	// (TCP) with the lengths of the whole.
	SegmentSize int
	// Checksum says what is known of the checksums of IP and above.
	Checksum Checksum
}

// Checksum says what is known of a frame's checksums.
type Checksum uint8

const (
	// Unverified: they are there, and nobody has looked at them.
	Unverified Checksum = iota
	// Partial: the sender left the transport checksum to its device, and the
	// device to whoever needs it. The frame has never been on a wire that could
	// harm it.
	Partial
	// Vouched: they are there and right.
	Vouched
)
