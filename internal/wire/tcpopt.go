package wire

// Limits on TCP options.
const (
	// MaxTCPOptionsLen is the length in bytes of the options that a header can hold.
	MaxTCPOptionsLen = 40
	// MaxWindowScale is the largest shift (RFC 7323 section 2.3).
	MaxWindowScale = 14

	maxSACKBlocks = 4
)

// Kinds and lengths of TCP options (RFC 9293 section 3.2, RFC 2018, RFC 7323).
const (
	tcpOptEnd           = 0
	tcpOptNop           = 1
	tcpOptMSS           = 2
	tcpOptWindowScale   = 3
	tcpOptSACKPermitted = 4
	tcpOptSACK          = 5
	tcpOptTimestamps    = 8

	tcpOptMSSLen           = 4
	tcpOptWindowScaleLen   = 3
	tcpOptSACKPermittedLen = 2
	tcpOptSACKHeaderLen    = 2
	tcpOptTimestampsLen    = 10
	sackBlockLen           = 8
)

// SACKBlock is a range of bytes that the receiver holds: from Start on, up to End,
// which is not part of it (RFC 2018 section 3).
type SACKBlock struct{ Start, End Seq }

// TCPOptions are the options of a TCP header. The zero value has none.
type TCPOptions struct {
	// MSS is the maximum segment size in bytes that the sender of a SYN takes; zero
	// if it does not say.
	MSS uint16
	// WindowScale is the shift to apply to Window in all segments but those with
	// SYN, if HasWindowScale. Zero is an offer to scale, too (RFC 7323 section 2.2).
	WindowScale    uint8
	HasWindowScale bool
	// SACKPermitted tells that the sender of a SYN understands SACK.
	SACKPermitted bool
	// HasTimestamps tells that TSVal and TSEcr are there.
	HasTimestamps bool
	// SACKCount is how many elements of SACK are in use.
	SACKCount uint8
	// TSVal is the sender's timestamp, and TSEcr the one it echoes (RFC 7323
	// section 3.2), which means something only in a segment with ACK.
	TSVal, TSEcr uint32
	// SACK are blocks in the order of the header: as sent by a peer, unchecked. The
	// elements not in use are zero after parsing, and ignored by PutTCP.
	SACK [maxSACKBlocks]SACKBlock
}

// ParseTCPOptions reads the options of a TCP header: the bytes between the fixed
// part and the payload. syn tells whether the segment has SYN; MSS, window scale
// and SACK-permitted mean nothing elsewhere, and are not read.
//
// It is as tolerant as Linux. Unknown kinds, and known kinds with a wrong length,
// are skipped by their length. A length that cannot be ends the list, and what was
// read before it stands. If an option occurs twice, the last one counts. A window
// scale above MaxWindowScale is taken as MaxWindowScale (RFC 7323 section 2.3), and
// an MSS of zero is ignored.
func ParseTCPOptions(b []byte, syn bool, o *TCPOptions) {
	*o = TCPOptions{}
	// Nearly all segments of a connection with timestamps have just these 12 bytes
	// (RFC 7323 appendix A recommends them).
	if len(b) == 2+tcpOptTimestampsLen && be32(b) == tcpOptNop<<24|tcpOptNop<<16|tcpOptTimestamps<<8|tcpOptTimestampsLen {
		o.setTimestamps(b[4:])
		return
	}
	for len(b) > 0 {
		switch b[0] {
		case tcpOptEnd:
			return
		case tcpOptNop:
			b = b[1:]
			continue
		}
		if len(b) < 2 {
			return
		}
		n := int(b[1])
		if n < 2 || n > len(b) {
			return
		}
		o.set(b[0], b[2:n], syn)
		b = b[n:]
	}
}

// set takes in one option, given by its kind and what follows its length.
func (o *TCPOptions) set(kind uint8, data []byte, syn bool) {
	switch n := len(data) + 2; kind {
	case tcpOptMSS:
		if syn && n == tcpOptMSSLen && be16(data) != 0 {
			o.MSS = be16(data)
		}
	case tcpOptWindowScale:
		if syn && n == tcpOptWindowScaleLen {
			o.HasWindowScale = true
			o.WindowScale = min(data[0], MaxWindowScale)
		}
	case tcpOptSACKPermitted:
		if syn && n == tcpOptSACKPermittedLen {
			o.SACKPermitted = true
		}
	case tcpOptTimestamps:
		if n == tcpOptTimestampsLen {
			o.setTimestamps(data)
		}
	case tcpOptSACK:
		if len(data) > 0 && len(data)%sackBlockLen == 0 {
			o.setSACK(data)
		}
	}
}

func (o *TCPOptions) setTimestamps(data []byte) {
	o.HasTimestamps = true
	o.TSVal = be32(data[0:])
	o.TSEcr = be32(data[4:])
}

func (o *TCPOptions) setSACK(data []byte) {
	o.SACKCount, o.SACK = 0, [maxSACKBlocks]SACKBlock{}
	for len(data) >= sackBlockLen && o.SACKCount < maxSACKBlocks {
		o.SACK[o.SACKCount] = SACKBlock{Seq(be32(data[0:])), Seq(be32(data[4:]))}
		o.SACKCount++
		data = data[sackBlockLen:]
	}
}
