package wire

import "encoding/binary"

// PutUDP writes the header u to the start of b and returns its length, UDPHeaderLen.
// The checksum field is zero, which IPv4 takes for none: fill it in with
// FillChecksum or FillPartialChecksum.
func PutUDP(b []byte, u *UDP) (int, error) {
	if u.PayloadLen < 0 || u.PayloadLen > maxPacketLen-UDPHeaderLen {
		return 0, ErrLength
	}
	if len(b) < UDPHeaderLen {
		return 0, ErrShortBuffer
	}
	binary.BigEndian.PutUint16(b[0:], u.SrcPort)
	binary.BigEndian.PutUint16(b[2:], u.DstPort)
	binary.BigEndian.PutUint16(b[4:], uint16(UDPHeaderLen+u.PayloadLen))
	b[6], b[7] = 0, 0
	return UDPHeaderLen, nil
}
