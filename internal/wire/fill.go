package wire

import "encoding/binary"

// FillChecksum writes the checksum into a header that has been built. l4 starts with
// the header of the protocol and may go on with payload; payload is what follows,
// in any number of slices, and only read. pseudo is PseudoSum of the packet, whose
// length must be that of l4 and payload together, or the zero Sum for ICMPv4.
func FillChecksum(l4 []byte, proto uint8, pseudo Sum, payload ...[]byte) error {
	field, err := checksumBytes(l4, proto)
	if err != nil {
		return err
	}
	field[0], field[1] = 0, 0
	s := pseudo
	s.Add(l4)
	for _, b := range payload {
		s.Add(b)
	}
	sum := s.Checksum()
	if sum == 0 && proto == ProtoUDP {
		sum = 0xffff // the same in ones' complement; zero means none (RFC 768)
	}
	binary.BigEndian.PutUint16(field, sum)
	return nil
}

// FillPartialChecksum writes the sum of the pseudo-header alone, not complemented,
// into the checksum field of a header that has been built: what a device that
// finishes checksums expects to find there (virtio 1.2 section 5.1.6.2). For a
// device that also segments, the length in pseudo is that of the whole.
func FillPartialChecksum(l4 []byte, proto uint8, pseudo Sum) error {
	field, err := checksumBytes(l4, proto)
	if err != nil {
		return err
	}
	binary.BigEndian.PutUint16(field, pseudo.Fold())
	return nil
}

// checksumBytes returns the checksum field of a protocol's header.
func checksumBytes(l4 []byte, proto uint8) ([]byte, error) {
	off, ok := checksumOffset(proto)
	if !ok {
		return nil, ErrProtocol
	}
	if len(l4) < off+2 {
		return nil, ErrShortBuffer
	}
	return l4[off : off+2], nil
}
