package wire

import (
	"encoding/binary"
	"math/bits"
)

// PutAck writes a packet that is a TCP segment without payload and without options but
// timestamps: an ACK, of which a receiver sends one for each burst. ip says all but
// PayloadLen; the checksum is complete, or with partial what FillPartialChecksum makes it. n is the
// packet's length and l4 where the TCP header begins in it. n is 0, and b may have changed,
// if it can't be written so: PutIP and PutTCP then say what is wrong, or write it.
//
// The bytes are those that PutIP, PutTCP and FillChecksum write. It takes less than half of
// their time, because it writes whole words and sums them in registers.
func PutAck(b []byte, ip *IPHeader, t *TCP, partial bool) (l4, n int) {
	o := &t.Options
	if o.MSS != 0 || o.HasWindowScale || o.SACKPermitted || o.SACKCount > 0 || len(b) < IPv6HeaderLen+ackMaxLen ||
		ip.Proto != ProtoTCP || !ip.Src.IsValid() || !ip.Dst.IsValid() || ip.Src.Is4In6() || ip.Dst.Is4In6() {
		return 0, 0
	}
	tcpLen := TCPHeaderLen
	if o.HasTimestamps {
		tcpLen = ackMaxLen
	}
	// Sums are of 32 bits at a time, in network byte order: there are few enough not to overflow.
	pseudo := uint64(tcpLen + ProtoTCP)
	s0, s1 := words(ip.Src)
	d0, d1 := words(ip.Dst)
	switch {
	case ip.Src.Is4() && ip.Dst.Is4():
		l4 = IPv4HeaderLen
		length := uint64(4<<28|IPv4HeaderLen/4<<24|uint32(ip.TrafficClass)<<16) | uint64(l4+tcpLen)
		id := uint64(ip.ID)<<16 | 0x4000 // DF
		hop := uint64(ip.HopLimit)<<24 | ProtoTCP<<16
		addrs := halves(s1<<32 | d1&(1<<32-1))
		pseudo += addrs
		binary.BigEndian.PutUint64(b[0:], length<<32|id)
		binary.BigEndian.PutUint32(b[8:], uint32(hop)|uint32(^fold(length+id+hop+addrs)))
		binary.BigEndian.PutUint32(b[12:], uint32(s1))
		binary.BigEndian.PutUint32(b[16:], uint32(d1))
	case ip.Src.Is6() && ip.Dst.Is6():
		l4 = IPv6HeaderLen
		pseudo += halves(s0) + halves(s1) + halves(d0) + halves(d1)
		binary.BigEndian.PutUint64(b[0:], 6<<60|uint64(ip.TrafficClass)<<52|uint64(tcpLen)<<16|ProtoTCP<<8|uint64(ip.HopLimit))
		binary.BigEndian.PutUint64(b[8:], s0)
		binary.BigEndian.PutUint64(b[16:], s1)
		binary.BigEndian.PutUint64(b[24:], d0)
		binary.BigEndian.PutUint64(b[32:], d1)
	default:
		return 0, 0
	}
	putAckTCP(b[l4:], t, tcpLen, pseudo, partial)
	return l4, l4 + tcpLen
}

// ackMaxLen is the length of a TCP header with timestamps.
const ackMaxLen = TCPHeaderLen + 2 + tcpOptTimestampsLen

// putAckTCP is the TCP header of PutAck, tcpLen bytes. pseudo is the pseudo-header's sum.
func putAckTCP(b []byte, t *TCP, tcpLen int, pseudo uint64, partial bool) {
	b = b[:ackMaxLen]
	ports := uint64(t.SrcPort)<<48 | uint64(t.DstPort)<<32 | uint64(t.Seq)
	ack := uint64(t.Ack)<<32 | uint64(tcpLen/4)<<28 | uint64(t.Flags)<<16 | uint64(t.Window)
	sum := halves(ports) + halves(ack) + uint64(t.Urgent)
	if t.Options.HasTimestamps {
		const kinds = tcpOptNop<<24 | tcpOptNop<<16 | tcpOptTimestamps<<8 | tcpOptTimestampsLen
		times := uint64(t.Options.TSVal)<<32 | uint64(t.Options.TSEcr)
		sum += kinds + halves(times)
		binary.BigEndian.PutUint32(b[20:], kinds)
		binary.BigEndian.PutUint64(b[24:], times)
	}
	check := fold(pseudo)
	if !partial {
		check = ^fold(pseudo + sum)
	}
	binary.BigEndian.PutUint64(b[0:], ports)
	binary.BigEndian.PutUint64(b[8:], ack)
	binary.BigEndian.PutUint32(b[16:], uint32(check)<<16|uint32(t.Urgent))
}

// halves is the sum of the two halves of w.
func halves(w uint64) uint64 { return w>>32 + w&(1<<32-1) }

// fold is the ones' complement sum of the 16-bit words of s.
func fold(s uint64) uint16 {
	w, c := bits.Add32(uint32(s>>32), uint32(s), 0)
	w, _ = bits.Add32(w, 0, c) // can't overflow: the sum was 2^33-2 at most
	w = w>>16 + w&0xffff
	return uint16(w>>16 + w)
}
