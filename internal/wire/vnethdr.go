package wire

import "encoding/binary"

// Lengths in bytes of struct virtio_net_hdr_v1 without and with num_buffers
// (include/uapi/linux/virtio_net.h; virtio 1.2 section 5.1.6).
const (
	VnetHdrLen          = 10
	VnetHdrMergeableLen = 12
)

// Bits of the flags field.
const (
	vnetNeedsCsum = 1
	vnetDataValid = 2
)

// GSOType says how a packet that is longer than the MTU is to be cut up, or from
// what a device has put it together.
type GSOType uint8

// Types of segmentation.
const (
	GSONone  GSOType = 0
	GSOTCPv4 GSOType = 1
	GSOTCPv6 GSOType = 4
	GSOUDPL4 GSOType = 5 // a UDP datagram for each GSOSize bytes of payload

	gsoECN = 0x80 // a bit beside the type: the first segment only carries CWR
)

// VnetHdr is what a virtio_net_hdr means: the header that precedes each packet of a
// TUN or TAP device opened with IFF_VNET_HDR. All lengths and offsets are in bytes.
//
// Its fields have the byte order of the host, which is that of a legacy virtio
// device, and what TUN uses unless TUNSETVNETLE or TUNSETVNETBE asks for another.
type VnetHdr struct {
	// NeedsCsum tells that the checksum field at CsumStart+CsumOffset, counted from
	// the start of the packet, holds the sum of the pseudo-header only: the sum over
	// all bytes from CsumStart on has yet to be put there. In a received packet it
	// means that its data has not been on a wire, and is as its sender wrote it.
	NeedsCsum bool
	// DataValid tells that the checksum has been verified.
	DataValid             bool
	CsumStart, CsumOffset uint16
	// GSO is GSONone for a packet that is as it is; of others, each segment has
	// GSOSize bytes of payload, the last one perhaps less.
	GSO     GSOType
	GSOSize uint16
	// ECN: the packet is TCP with CWR in its first segment only.
	ECN bool
	// HdrLen is a hint of how much of the packet is headers. The kernel may give
	// all of the packet as such: parse the headers to know.
	HdrLen uint16
	// NumBuffers is only in the longer form of the header.
	NumBuffers uint16
}

// ChecksumVouched reports whether the checksum of a received packet's payload need
// not be verified.
func (v *VnetHdr) ChecksumVouched() bool { return v.NeedsCsum || v.DataValid }

// ParseVnetHdr parses the header b, which is VnetHdrLen or VnetHdrMergeableLen long,
// of a packet of packetLen bytes (link header included, the virtio_net_hdr itself
// not), and fills in v. Flags without a meaning here are ignored, as the kernel does.
//
// It returns BadOffload for an unknown type of segmentation, a segment size of zero,
// ECN without TCP, and for lengths and offsets that reach beyond the packet; and
// Truncated for another length of b.
func ParseVnetHdr(b []byte, packetLen int, v *VnetHdr) Cause {
	if len(b) != VnetHdrLen && len(b) != VnetHdrMergeableLen {
		return Truncated
	}
	order := binary.NativeEndian
	flags, gso := b[0], b[1]
	*v = VnetHdr{
		NeedsCsum:  flags&vnetNeedsCsum != 0,
		DataValid:  flags&vnetDataValid != 0,
		GSO:        GSOType(gso &^ gsoECN),
		ECN:        gso&gsoECN != 0,
		HdrLen:     order.Uint16(b[2:]),
		GSOSize:    order.Uint16(b[4:]),
		CsumStart:  order.Uint16(b[6:]),
		CsumOffset: order.Uint16(b[8:]),
	}
	if len(b) == VnetHdrMergeableLen {
		v.NumBuffers = order.Uint16(b[10:])
	}
	if !v.fits(packetLen) {
		return BadOffload
	}
	return OK
}

// PutVnetHdr writes v to b, whose length says which form of the header it takes:
// VnetHdrLen or VnetHdrMergeableLen. packetLen is the length of the packet that
// follows, link header included. It returns the length of the header, or
// ErrShortBuffer for another length of b, and ErrOffload if v does not fit the
// packet, which ParseVnetHdr would refuse and the kernel, too.
func PutVnetHdr(b []byte, packetLen int, v *VnetHdr) (int, error) {
	if len(b) != VnetHdrLen && len(b) != VnetHdrMergeableLen {
		return 0, ErrShortBuffer
	}
	if !v.fits(packetLen) {
		return 0, ErrOffload
	}
	var flags uint8
	if v.NeedsCsum {
		flags |= vnetNeedsCsum
	}
	if v.DataValid {
		flags |= vnetDataValid
	}
	gso := uint8(v.GSO)
	if v.ECN {
		gso |= gsoECN
	}
	order := binary.NativeEndian
	b[0], b[1] = flags, gso
	order.PutUint16(b[2:], v.HdrLen)
	order.PutUint16(b[4:], v.GSOSize)
	order.PutUint16(b[6:], v.CsumStart)
	order.PutUint16(b[8:], v.CsumOffset)
	if len(b) == VnetHdrMergeableLen {
		order.PutUint16(b[10:], v.NumBuffers)
	}
	return len(b), nil
}

// fits reports whether the header makes sense for a packet of packetLen bytes.
func (v *VnetHdr) fits(packetLen int) bool {
	switch v.GSO {
	case GSONone:
		if v.ECN {
			return false
		}
	case GSOTCPv4, GSOTCPv6:
		if v.GSOSize == 0 {
			return false
		}
	case GSOUDPL4:
		if v.GSOSize == 0 || v.ECN {
			return false
		}
	default:
		return false
	}
	if v.NeedsCsum && int(v.CsumStart)+int(v.CsumOffset)+2 > packetLen {
		return false
	}
	return int(v.HdrLen) <= packetLen
}
