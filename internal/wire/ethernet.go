package wire

import "encoding/binary"

// EtherType values (IEEE 802.3 clause 3.2.6).
const (
	EtherTypeIPv4 = 0x0800
	EtherTypeARP  = 0x0806
	EtherTypeIPv6 = 0x86dd

	tpidCustomer = 0x8100 // C-tag, IEEE 802.1Q
	tpidService  = 0x88a8 // S-tag, IEEE 802.1ad
)

// EthernetHeaderLen is the length in bytes of an Ethernet header without VLAN
// tags; each tag adds VLANTagLen. A frame has at most MaxVLANTags.
const (
	EthernetHeaderLen = 14
	VLANTagLen        = 4
	MaxVLANTags       = 2
)

// Ethernet is what the header of an Ethernet frame means.
type Ethernet struct {
	Dst, Src [6]byte
	// EtherType is the type of the payload, behind all tags. A value below 0x600 is
	// the length of an IEEE 802.3 LLC frame, which carries no IP.
	EtherType uint16
	// Tags is the number of VLAN tags, and TCI their contents, outermost first:
	// priority (3 bits), drop eligible (1 bit), VLAN id (12 bits).
	Tags int
	TCI  [MaxVLANTags]uint16
	// HeaderLen is where the payload starts, in bytes. PutEthernet ignores it.
	HeaderLen int
}

// ParseEthernet parses the header of a frame of totalLen bytes that starts with
// head, and fills in e. Frames of every EtherType are OK; the caller picks. The
// frame check sequence is not part of the frame here.
func ParseEthernet(head []byte, totalLen int, e *Ethernet) Cause {
	if c := have(head, totalLen, EthernetHeaderLen); c != OK {
		return c
	}
	e.Dst = [6]byte(head[0:6])
	e.Src = [6]byte(head[6:12])
	e.Tags = 0
	e.TCI = [MaxVLANTags]uint16{}
	off := EthernetHeaderLen
	t := be16(head[12:])
	for t == tpidCustomer || t == tpidService {
		if e.Tags == MaxVLANTags {
			return TooManyTags
		}
		if c := have(head, totalLen, off+VLANTagLen); c != OK {
			return c
		}
		e.TCI[e.Tags] = be16(head[off:])
		e.Tags++
		t = be16(head[off+2:])
		off += VLANTagLen
	}
	e.EtherType = t
	e.HeaderLen = off
	return OK
}

// PutEthernet writes e to the start of b and returns the length of the header. Of
// two tags the outer one is an S-tag; the last one is always a C-tag.
func PutEthernet(b []byte, e *Ethernet) (int, error) {
	if e.Tags < 0 || e.Tags > MaxVLANTags {
		return 0, ErrTags
	}
	n := EthernetHeaderLen + e.Tags*VLANTagLen
	if len(b) < n {
		return 0, ErrShortBuffer
	}
	copy(b[0:], e.Dst[:])
	copy(b[6:], e.Src[:])
	for i, tci := range e.TCI[:e.Tags] {
		tpid := uint16(tpidCustomer)
		if i < e.Tags-1 {
			tpid = tpidService
		}
		binary.BigEndian.PutUint16(b[12+i*VLANTagLen:], tpid)
		binary.BigEndian.PutUint16(b[14+i*VLANTagLen:], tci)
	}
	binary.BigEndian.PutUint16(b[n-2:], e.EtherType)
	return n, nil
}
