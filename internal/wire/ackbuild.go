package wire

import (
	"encoding/binary"
	"math/bits"
)

// An Ack is what an ACK says: a TCP header without options but timestamps. The ports are its ends'.
type Ack struct {
	Seq, Ack Seq
	// TSVal and TSEcr are the timestamps, if Timestamps.
	TSVal, TSEcr uint32
	Window       uint16
	Flags        Flags
	Timestamps   bool
}

// PutAck fills in a from t, and reports whether t is an ACK: if not, a stays as it is.
func (t *TCP) PutAck(a *Ack) bool {
	o := &t.Options
	if o.MSS != 0 || o.HasWindowScale || o.SACKPermitted || o.SACKCount > 0 || t.Urgent != 0 {
		return false
	}
	a.Seq, a.Ack, a.Flags, a.Window = t.Seq, t.Ack, t.Flags, t.Window
	a.Timestamps, a.TSVal, a.TSEcr = o.HasTimestamps, o.TSVal, o.TSEcr
	return true
}

// PutAck writes a packet that is a TCP segment without payload: an ACK, of which a receiver sends one for
// each burst. It goes from the ends' local one to the remote one, in a packet of that traffic class and
// hop limit. The checksum is complete, or with partial what FillPartialChecksum makes it. n is the packet's
// length and l4 where the TCP header begins in it. n is 0 if there are no such ends, or b has less than
// MaxAckLen bytes.
//
// The bytes are those that PutIP, PutTCP and FillChecksum write. It takes a fraction of their time,
// because it reads the addresses where they lie, writes whole words and sums them in registers.
func PutAck(b []byte, ends *Tuple, class, hopLimit uint8, a *Ack, partial bool) (l4, n int) {
	if len(b) < MaxAckLen {
		return 0, 0
	}
	tcpLen := TCPHeaderLen
	if a.Timestamps {
		tcpLen = ackTCPLen
	}
	s0, s1 := endWords(&ends.Local)
	d0, d1 := endWords(&ends.Remote)
	// Sums are ones' complement sums of 64 bits at a time, in network byte order. pseudo is the
	// pseudo-header's.
	var pseudo, carry uint64
	src, dst := ends.Local.Addr(), ends.Remote.Addr()
	switch {
	case src.Is4() && dst.Is4():
		l4 = IPv4HeaderLen
		h := b[:IPv4HeaderLen]
		first := 4<<60 | IPv4HeaderLen/4<<56 | uint64(class)<<48 | uint64(IPv4HeaderLen+tcpLen)<<32 | 0x4000 // no ID, DF
		hop := uint64(hopLimit)<<24 | ProtoTCP<<16
		pseudo = s1<<32 | d1&(1<<32-1)
		sum, c := bits.Add64(pseudo, first, 0)
		sum, _ = bits.Add64(sum, hop, c) // no carry: hop is small, and first not so large
		binary.BigEndian.PutUint64(h[0:], first)
		binary.BigEndian.PutUint32(h[8:], uint32(hop)|uint32(^fold(sum)))
		binary.BigEndian.PutUint64(h[12:], pseudo)
	case src.Is6() && dst.Is6() && !src.Is4In6() && !dst.Is4In6():
		l4 = IPv6HeaderLen
		h := b[:IPv6HeaderLen]
		binary.BigEndian.PutUint64(h[0:], 6<<60|uint64(class)<<52|uint64(tcpLen)<<16|ProtoTCP<<8|uint64(hopLimit))
		binary.BigEndian.PutUint64(h[8:], s0)
		binary.BigEndian.PutUint64(h[16:], s1)
		binary.BigEndian.PutUint64(h[24:], d0)
		binary.BigEndian.PutUint64(h[32:], d1)
		pseudo, carry = bits.Add64(s0, s1, 0)
		pseudo, carry = bits.Add64(pseudo, d0, carry)
		pseudo, carry = bits.Add64(pseudo, d1, carry)
	default:
		return 0, 0
	}
	pseudo, carry = bits.Add64(pseudo, uint64(tcpLen+ProtoTCP), carry)
	pseudo += carry // can't overflow, the last term was small
	h := b[l4:][:ackTCPLen]
	ports := uint64(ends.Local.Port())<<48 | uint64(ends.Remote.Port())<<32 | uint64(a.Seq)
	ack := uint64(a.Ack)<<32 | uint64(tcpLen/4)<<28 | uint64(a.Flags)<<16 | uint64(a.Window)
	binary.BigEndian.PutUint64(h[0:], ports)
	binary.BigEndian.PutUint64(h[8:], ack)
	sum, carry := bits.Add64(pseudo, ports, 0)
	sum, carry = bits.Add64(sum, ack, carry)
	if a.Timestamps {
		const kinds = tcpOptNop<<24 | tcpOptNop<<16 | tcpOptTimestamps<<8 | tcpOptTimestampsLen
		times := uint64(a.TSVal)<<32 | uint64(a.TSEcr)
		binary.BigEndian.PutUint32(h[20:], kinds)
		binary.BigEndian.PutUint64(h[24:], times)
		sum, carry = bits.Add64(sum, times, carry)
		sum, carry = bits.Add64(sum, kinds, carry)
	}
	sum, carry = bits.Add64(sum, 0, carry)
	check := ^fold(sum + carry)
	if partial {
		check = fold(pseudo)
	}
	binary.BigEndian.PutUint32(h[16:], uint32(check)<<16) // no urgent pointer
	return l4, l4 + tcpLen
}

const (
	// ackTCPLen is the length of a TCP header with timestamps.
	ackTCPLen = TCPHeaderLen + 2 + tcpOptTimestampsLen
	// MaxAckLen is the length of the longest packet that PutAck writes.
	MaxAckLen = IPv6HeaderLen + ackTCPLen
)

// fold is the ones' complement sum of the 16-bit words of s. To add both halves of a word, turned and
// not, leaves their sum in the upper half, the carry of the lower one's being the end-around carry.
func fold(s uint64) uint16 {
	s += bits.RotateLeft64(s, 32)
	w := uint32(s >> 32)
	w += bits.RotateLeft32(w, 16)
	return uint16(w >> 16)
}
