package ip

import (
	"github.com/zctap/zctap/internal/driver"
	"github.com/zctap/zctap/internal/wire"
)

// EchoReply answers the echo request m, which came in p. data is the request's
// data, in any number of slices; it is copied. A request whose reply does not fit
// the wire, or that comes while too much is waiting, is not answered.
func (t *Tx) EchoReply(p *wire.Packet, m *wire.ICMP, data ...[]byte) {
	n := wire.EchoHeaderLen + m.PayloadLen
	head, msg := t.message(p, n)
	if msg == nil {
		return
	}
	k, err := wire.PutEchoReply(msg, p, m)
	if err != nil {
		t.stats.Unsendable++
		return
	}
	for _, b := range data {
		k += copy(msg[k:], b)
	}
	proto, pseudo := uint8(wire.ProtoICMP), wire.Sum{}
	if p.Version == 6 {
		proto = wire.ProtoICMPv6
		pseudo = wire.PseudoSum(p.Dst, p.Src, proto, n)
	}
	if k < n || wire.FillChecksum(msg, proto, pseudo) != nil {
		t.stats.Unsendable++
		return
	}
	t.answer(head, p, msg)
}

// Error tells the sender of the packet p, which starts with orig, what became of it.
// Nothing is sent about packets that must not draw an error (RFC 1122 section 3.2.2).
// orig is copied as far as it is quoted.
func (t *Tx) Error(e wire.ICMPError, p *wire.Packet, orig []byte) {
	head, msg := t.message(p, wire.ICMPErrorLen(orig, p))
	if msg == nil {
		return
	}
	if _, err := wire.PutICMPError(msg, e, orig, p); err != nil {
		return
	}
	t.answer(head, p, msg)
}

// message returns room for the headers and the n bytes of an ICMP message that
// answers p; msg is nil if there is none. It counts from its answer on.
func (t *Tx) message(p *wire.Packet, n int) (head *slot, msg []byte) {
	ipLen := wire.IPv4HeaderLen
	if p.Version == 6 {
		ipLen = wire.IPv6HeaderLen
	}
	// First begin, which may empty the store or put borrowed payload into it.
	if head = t.begin(0); head == nil {
		return nil, nil
	}
	end := t.stored + n
	if ipLen+n > t.caps.MTU || end > maxCopied {
		t.stats.Dropped++
		return nil, nil
	}
	return head, t.store[t.stored:end:end]
}

// answer sends an ICMP message that message made room for, from the destination
// of p to its source. Its checksum is complete: the message is rare and at hand,
// so that no driver has to know ICMP.
func (t *Tx) answer(head *slot, p *wire.Packet, msg []byte) {
	proto := uint8(wire.ProtoICMP)
	if p.Version == 6 {
		proto = wire.ProtoICMPv6
	}
	n, err := t.putIP(head, &wire.IPHeader{Src: p.Dst, Dst: p.Src, Proto: proto, HopLimit: t.hopLimit, PayloadLen: len(msg)})
	if err != nil {
		t.stats.Unsendable++
		return
	}
	t.stored += len(msg)
	t.ours[len(t.frames)] = true
	t.frames = append(t.frames, driver.TxFrame{Head: head[:n], Payload: [2][]byte{msg}, IPv6: p.Version == 6})
}
