package ip

import (
	"net/netip"

	"github.com/zctap/zctap/internal/wire"
)

// notOnEach are the flags that only one of the segments cut from a large one
// carries: the last has FIN and PSH, the first CWR (RFC 3168 section 6.1.2).
const (
	lastOnly  = wire.FIN | wire.PSH
	firstOnly = wire.CWR
)

// TCP sends h with payload, which is up to two pieces since a send buffer is
// made of blocks. More than mss bytes go out as a super-segment that the driver
// cuts, as far as its MaxGSO allows, or else as segments of mss bytes each. mss
// is in bytes of payload, options not included.
//
// h is only read. The payload must stay as it is until Flush returns. What
// cannot be sent is counted, not reported: to TCP it is a lost segment.
func (t *Tx) TCP(src, dst netip.Addr, h *wire.TCP, payload [2][]byte, mss int) {
	t.tcp(src, dst, h, payload, mss, uint8(wire.NotECT))
}

// TCPECT is TCP with packets that routers may mark instead of dropping them: they
// carry ECT(0) (RFC 3168 section 5).
func (t *Tx) TCPECT(src, dst netip.Addr, h *wire.TCP, payload [2][]byte, mss int) {
	t.tcp(src, dst, h, payload, mss, uint8(wire.ECT0))
}

// TCPClass is TCP with packets of a traffic class: DSCP (RFC 2474) in its upper six bits,
// ECN in the others.
func (t *Tx) TCPClass(class uint8, src, dst netip.Addr, h *wire.TCP, payload [2][]byte, mss int) {
	t.tcp(src, dst, h, payload, mss, class)
}

func (t *Tx) tcp(src, dst netip.Addr, h *wire.TCP, payload [2][]byte, mss int, class uint8) {
	left := len(payload[0]) + len(payload[1])
	if left <= mss {
		t.segment(src, dst, h, payload, 0, class)
		return
	}
	s := *h
	most := t.most(src, h, mss)
	for left > 0 {
		n := min(left, most)
		s.Flags = h.Flags
		if left > n {
			s.Flags &^= lastOnly
		}
		if s.Seq != h.Seq {
			s.Flags &^= firstOnly
		}
		var piece [2][]byte
		piece, payload = split(payload, n)
		gso := 0
		if n > mss {
			gso = mss
		}
		t.segment(src, dst, &s, piece, gso, class)
		s.Seq = s.Seq.Add(uint32(n))
		left -= n
	}
}

// most is the payload that one frame may carry: as many segments of mss bytes as
// the driver takes at once, at least one.
func (t *Tx) most(src netip.Addr, h *wire.TCP, mss int) int {
	headers := wire.IPv4HeaderLen + h.HeaderLen()
	if src.Is6() {
		headers = wire.IPv6HeaderLen + h.HeaderLen()
	}
	return max((t.caps.MaxGSO-headers)/mss, 1) * mss
}

// Ack sends a, which has no payload, in a packet of a traffic class from the ends' local one to the
// remote one. It is read only.
func (t *Tx) Ack(class uint8, ends *wire.Tuple, a *wire.Ack) {
	b := t.begin(0)
	if b == nil {
		return
	}
	ipv6 := ends.Local.Addr().Is6()
	link := t.putLink(b, ipv6)
	l4, n := wire.PutAck(b[link:], ends, class, t.hopLimit, a, t.caps.TxChecksum)
	if n == 0 {
		t.stats.Unsendable++
		return
	}
	start, offset := 0, 0
	if t.caps.TxChecksum {
		start, offset = link+l4, checksumOffset(wire.ProtoTCP)
	}
	t.add(b[:link+n], start, offset, ipv6)
}

// segment sends one frame.
func (t *Tx) segment(src, dst netip.Addr, h *wire.TCP, payload [2][]byte, gso int, class uint8) {
	n := len(payload[0]) + len(payload[1])
	b := t.begin(n)
	if b == nil {
		return
	}
	l4, err := t.putIP(b, &wire.IPHeader{
		Src: src, Dst: dst, Proto: wire.ProtoTCP, HopLimit: t.hopLimit, TrafficClass: class, PayloadLen: h.HeaderLen() + n,
	})
	if err != nil {
		t.stats.Unsendable++
		return
	}
	k, err := wire.PutTCP(b[l4:], h)
	if err != nil {
		t.stats.Unsendable++
		return
	}
	t.commit(b[:l4+k], l4, src, dst, wire.ProtoTCP, payload, gso)
}

// split cuts the first n bytes off p.
func split(p [2][]byte, n int) (head, tail [2][]byte) {
	if k := len(p[0]); n < k {
		return [2][]byte{p[0][:n]}, [2][]byte{p[0][n:], p[1]}
	}
	n -= len(p[0])
	return [2][]byte{p[0], p[1][:n]}, [2][]byte{p[1][n:]}
}
