package wire

import "encoding/binary"

// MaxSACKBlocks returns how many SACK blocks fit into the header of a segment
// without SYN, beside the timestamps if there are any (RFC 2018 section 3).
func MaxSACKBlocks(timestamps bool) int {
	if timestamps {
		return maxSACKBlocks - 1
	}
	return maxSACKBlocks
}

// Len returns the length in bytes that the options take in a header built by
// PutTCP, padding included: a multiple of 4.
func (o *TCPOptions) Len() int {
	n := 0
	if o.MSS != 0 {
		n += tcpOptMSSLen
	}
	if o.HasTimestamps {
		n += 2 + tcpOptTimestampsLen
	} else if o.SACKPermitted {
		n += 2 + tcpOptSACKPermittedLen
	}
	if o.HasWindowScale {
		n += 1 + tcpOptWindowScaleLen
	}
	if o.SACKCount > 0 {
		n += 2 + tcpOptSACKHeaderLen + int(o.SACKCount)*sackBlockLen
	}
	return n
}

// HeaderLen returns the length in bytes of the header that PutTCP makes of t.
func (t *TCP) HeaderLen() int { return TCPHeaderLen + t.Options.Len() }

// PutTCP writes the header t to the start of b and returns its length. The checksum
// field is zero: fill it in with FillChecksum or FillPartialChecksum.
//
// Options are laid out as Linux does: each group is padded in front by NOPs to a
// multiple of 4 bytes, but SACK-permitted takes the place of the two NOPs before
// the timestamps if there are both. Options are written as they are given, whether
// the segment has SYN or not; a WindowScale above MaxWindowScale is an error.
func PutTCP(b []byte, t *TCP) (int, error) {
	o := &t.Options
	n := t.HeaderLen()
	if o.SACKCount > maxSACKBlocks || n > TCPHeaderLen+MaxTCPOptionsLen ||
		o.HasWindowScale && o.WindowScale > MaxWindowScale {
		return 0, ErrOptions
	}
	if len(b) < n {
		return 0, ErrShortBuffer
	}
	b = b[:n]
	binary.BigEndian.PutUint16(b[0:], t.SrcPort)
	binary.BigEndian.PutUint16(b[2:], t.DstPort)
	binary.BigEndian.PutUint32(b[4:], uint32(t.Seq))
	binary.BigEndian.PutUint32(b[8:], uint32(t.Ack))
	b[12] = uint8(n / 4 << 4)
	b[13] = uint8(t.Flags)
	binary.BigEndian.PutUint16(b[14:], t.Window)
	b[16], b[17] = 0, 0
	binary.BigEndian.PutUint16(b[18:], t.Urgent)
	putTCPOptions(b[TCPHeaderLen:], o)
	return n, nil
}

// putTCPOptions writes the options to b, which has just the length that they take.
// Each group starts with a 32-bit word of NOPs, kinds and lengths.
func putTCPOptions(b []byte, o *TCPOptions) {
	if o.MSS != 0 {
		b = putOptionWord(b, tcpOptMSS, tcpOptMSSLen, uint8(o.MSS>>8), uint8(o.MSS))
	}
	if o.HasTimestamps {
		if o.SACKPermitted {
			b = putOptionWord(b, tcpOptSACKPermitted, tcpOptSACKPermittedLen, tcpOptTimestamps, tcpOptTimestampsLen)
		} else {
			b = putOptionWord(b, tcpOptNop, tcpOptNop, tcpOptTimestamps, tcpOptTimestampsLen)
		}
		binary.BigEndian.PutUint32(b[0:], o.TSVal)
		binary.BigEndian.PutUint32(b[4:], o.TSEcr)
		b = b[8:]
	} else if o.SACKPermitted {
		b = putOptionWord(b, tcpOptNop, tcpOptNop, tcpOptSACKPermitted, tcpOptSACKPermittedLen)
	}
	if o.HasWindowScale {
		b = putOptionWord(b, tcpOptNop, tcpOptWindowScale, tcpOptWindowScaleLen, o.WindowScale)
	}
	if o.SACKCount > 0 {
		b = putOptionWord(b, tcpOptNop, tcpOptNop, tcpOptSACK, tcpOptSACKHeaderLen+o.SACKCount*sackBlockLen)
		for _, block := range o.SACK[:o.SACKCount] {
			binary.BigEndian.PutUint32(b[0:], uint32(block.Start))
			binary.BigEndian.PutUint32(b[4:], uint32(block.End))
			b = b[sackBlockLen:]
		}
	}
}

// putOptionWord writes 4 bytes and returns what is left of b.
func putOptionWord(b []byte, w0, w1, w2, w3 uint8) []byte {
	b[0], b[1], b[2], b[3] = w0, w1, w2, w3
	return b[4:]
}
