package packet

import (
	"encoding/binary"
	"fmt"
	"net/netip"

	"github.com/zctap/zctap/internal/pattern"
	"github.com/zctap/zctap/internal/wire"
)

// The streams of the two sides: what stands at each position of what the peer
// sends, and of what the stack's application does.
var (
	peerStream  = pattern.New(1)
	stackStream = pattern.New(2)
)

// fillStream writes n bytes of a stream from off on; before its beginning there are
// zeros.
func fillStream(s *pattern.Pattern, off int64, n int) []byte {
	b := make([]byte, n)
	if skip := min(max(-off, 0), int64(n)); skip < int64(n) {
		s.Fill(b[skip:], off+skip)
	}
	return b
}

// matches reports whether b is what the stream has at off.
func matches(s *pattern.Pattern, b []byte, off int64) bool {
	skip := min(max(-off, 0), int64(len(b)))
	return s.Mismatches(b[skip:], off+skip) == 0
}

// An icmpMessage is the types and codes of an error in the two versions of ICMP.
type icmpMessage struct{ type4, code4, type6, code6 uint8 }

var icmpMessages = map[string]icmpMessage{
	"port-unreachable": {3, 3, 1, 4},
	"host-unreachable": {3, 1, 1, 3},
	"prohibited":       {3, 13, 1, 1},
	"too-big":          {3, 4, 2, 0},
	"time-exceeded":    {11, 0, 3, 0},
	"bad-header":       {12, 0, 4, 0},
	"unknown-protocol": {3, 2, 4, 1},
	"unknown-option":   {12, 1, 4, 2},
}

// envelope puts an IP header in front of a transport header and payload whose
// checksum it fills in.
func envelope(src, dst netip.Addr, proto uint8, trafficClass uint8, l4 []byte) ([]byte, error) {
	var pseudo wire.Sum
	if proto != wire.ProtoICMP {
		pseudo = wire.PseudoSum(src, dst, proto, len(l4))
	}
	if err := wire.FillChecksum(l4, proto, pseudo); err != nil {
		return nil, err
	}
	h := wire.IPHeader{Src: src, Dst: dst, Proto: proto, HopLimit: 64, TrafficClass: trafficClass, PayloadLen: len(l4)}
	b := make([]byte, h.Len(), h.Len()+len(l4))
	if _, err := wire.PutIP(b, &h); err != nil {
		return nil, err
	}
	return append(b, l4...), nil
}

// buildTCP makes a segment of h, with raw behind its options, and payload.
func buildTCP(w world, h *wire.TCP, raw []byte, ecn uint8, payload []byte) ([]byte, error) {
	l4 := make([]byte, h.HeaderLen(), h.HeaderLen()+len(payload))
	if _, err := wire.PutTCP(l4, h); err != nil {
		return nil, err
	}
	if raw != nil {
		var err error
		if l4, err = rawOptions(l4, raw); err != nil {
			return nil, err
		}
	}
	return envelope(w.peer, w.stack, wire.ProtoTCP, ecn, append(l4, payload...))
}

// buildUDP makes a datagram.
func buildUDP(w world, from, to uint16, ecn uint8, payload []byte) ([]byte, error) {
	l4 := make([]byte, wire.UDPHeaderLen, wire.UDPHeaderLen+len(payload))
	if _, err := wire.PutUDP(l4, &wire.UDP{SrcPort: from, DstPort: to, PayloadLen: len(payload)}); err != nil {
		return nil, err
	}
	return envelope(w.peer, w.stack, wire.ProtoUDP, ecn, append(l4, payload...))
}

// The identifier and number of the echo requests that scripts send.
const echoID, echoSeq = 7, 9

// buildPing makes an echo request.
func buildPing(w world, payload []byte) ([]byte, error) {
	l4 := append([]byte{8, 0, 0, 0, 0, echoID, 0, echoSeq}, payload...)
	if w.peer.Is6() {
		l4[0] = 128
		return envelope(w.peer, w.stack, wire.ProtoICMPv6, 0, l4)
	}
	return envelope(w.peer, w.stack, wire.ProtoICMP, 0, l4)
}

// buildICMP makes an error about a packet that the stack sent.
func buildICMP(w world, name string, mtu uint32, about []byte) ([]byte, error) {
	if about == nil {
		return nil, fmt.Errorf("icmp %s: the stack has sent nothing yet that it could be about", name)
	}
	m := icmpMessages[name]
	quote := about[:min(len(about), 520)] // RFC 1812 section 4.3.2.3 has 576 in all
	l4 := append(make([]byte, 8), quote...)
	l4[0], l4[1] = m.type4, m.code4
	if w.peer.Is6() {
		l4[0], l4[1] = m.type6, m.code6
		binary.BigEndian.PutUint32(l4[4:], mtu)
		return envelope(w.peer, w.stack, wire.ProtoICMPv6, 0, l4)
	}
	binary.BigEndian.PutUint16(l4[6:], uint16(mtu))
	return envelope(w.peer, w.stack, wire.ProtoICMP, 0, l4)
}

// spoil makes the transport checksum of a packet wrong: by the bytes that it is of.
func spoil(b []byte) { b[len(b)-1] ^= 0x55 }
