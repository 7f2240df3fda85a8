package pcap

import (
	"encoding/binary"
	"fmt"
	"syscall"
)

// The format is draft-ietf-opsawg-pcap. Its fields have the byte order of who
// wrote the file, which the magic number shows; ours is little-endian on every
// machine.
const (
	magicNano = 0xa1b23c4d // timestamps in nanoseconds

	versionMajor, versionMinor = 2, 4

	linkTypeEthernet = 1   // LINKTYPE_ETHERNET
	linkTypeRaw      = 101 // LINKTYPE_RAW: an IPv4 or IPv6 header comes first
)

// maxSnaplen is the longest record that libpcap reads (its MAXIMUM_SNAPLEN): no
// frame is longer.
const maxSnaplen = 256 << 10

// appendFileHeader appends what a file begins with.
func appendFileHeader(b []byte, snaplen, linkType uint32) []byte {
	order := binary.LittleEndian
	b = order.AppendUint32(b, magicNano)
	b = order.AppendUint16(b, versionMajor)
	b = order.AppendUint16(b, versionMinor)
	b = order.AppendUint64(b, 0) // two reserved fields
	b = order.AppendUint32(b, snaplen)
	return order.AppendUint32(b, linkType)
}

// appendRecordHeader appends what precedes a frame of length bytes, of which
// captured follow. at is in nanoseconds since 1970.
func appendRecordHeader(b []byte, at int64, captured, length int) []byte {
	order := binary.LittleEndian
	b = order.AppendUint32(b, uint32(at/1e9))
	b = order.AppendUint32(b, uint32(at%1e9))
	b = order.AppendUint32(b, uint32(captured))
	return order.AppendUint32(b, uint32(length))
}

// linkType is how the format calls frames with a link header of n bytes.
func linkType(n int) (uint32, error) {
	switch n {
	case 0:
		return linkTypeRaw, nil
	case 14:
		return linkTypeEthernet, nil
	}
	return 0, invalid("link header of %d bytes: 0 and 14 are known", n)
}

func invalid(format string, args ...any) error {
	return fmt.Errorf("pcap: "+format+": %w", append(args, syscall.EINVAL)...)
}
