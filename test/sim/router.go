package sim

import (
	"encoding/binary"
	"net/netip"
	"slices"
	"time"

	"github.com/zctap/zctap/internal/driver"
	"github.com/zctap/zctap/internal/driver/mem"
	"github.com/zctap/zctap/internal/mono"
	"github.com/zctap/zctap/internal/wire"
)

// A Narrowing is a change of what a direction of the path carries.
type Narrowing struct {
	At  time.Duration // since the run began
	MTU int           // of the narrowest link, bytes of an IP packet; 0: whatever the hosts send
	// Silent: nothing is said of what is dropped (RFC 2923 section 2.1). Otherwise a
	// router sends an ICMP error for each packet.
	Silent bool
}

// quoted is how much of a packet a router quotes, bytes: all headers (RFC 792 asks for
// the IP header and 8 bytes more).
const quoted = 128

// router is what drops packets that the next link of a way does not carry.
type router struct {
	narrow  []Narrowing // in the order of their times
	link    int         // length of the link header, bytes
	back    *mem.End    // to who sent the packets
	dropped uint64
}

func newRouter(narrow []Narrowing, link int, back *mem.End) router {
	return router{narrow: narrow, link: link, back: back}
}

// now is what holds at a time, nil for nothing.
func (r *router) now(at mono.Time) *Narrowing {
	var n *Narrowing
	for i := range r.narrow {
		if !at.Before(start.Add(r.narrow[i].At)) {
			n = &r.narrow[i]
		}
	}
	if n == nil || n.MTU == 0 {
		return nil
	}
	return n
}

// carries reports whether f goes on. If not the sender may be told.
func (r *router) carries(now mono.Time, f *driver.TxFrame) bool {
	n := r.now(now)
	if n == nil {
		return true
	}
	head := slices.Concat(f.Head, f.Payload[0][:min(len(f.Payload[0]), r.link+quoted)])[r.link:]
	total := len(f.Head) + len(f.Payload[0]) - r.link
	var p wire.Packet
	if wire.ParseIP(head, total, wire.Verify, &p) != wire.OK {
		return total <= n.MTU // corrupted on the way here
	}
	longest := p.Len()
	var h wire.TCP
	if f.GSOSize > 0 && wire.ParseTCP(head, &p, &h) == wire.OK {
		longest = h.PayloadOffset + min(h.PayloadLen, f.GSOSize)
	}
	if longest <= n.MTU {
		return true
	}
	r.dropped++
	if !n.Silent {
		r.tell(now, head[:min(len(head), quoted)], &p, n.MTU)
	}
	return false
}

// tell sends an ICMP error about the packet p that begins with head. If there is no
// room for it, it is lost.
func (r *router) tell(now mono.Time, head []byte, p *wire.Packet, mtu int) {
	ip := wire.IPHeader{Src: netip.AddrFrom4([4]byte{192, 0, 2, 254}), Dst: p.Src, Proto: wire.ProtoICMP, HopLimit: 64}
	typ, code := byte(3), byte(4) // RFC 1191 section 4
	var pseudo wire.Sum
	message := make([]byte, 8, 8+quoted)
	message = append(message, head...)
	if p.Version == 6 {
		ip.Src, ip.Proto = netip.AddrFrom16([16]byte{0x20, 0x01, 0x0d, 0xb8, 15: 254}), wire.ProtoICMPv6
		typ, code = 2, 0 // RFC 4443 section 3.2
		pseudo = wire.PseudoSum(ip.Src, ip.Dst, ip.Proto, len(message))
	}
	message[0], message[1] = typ, code
	binary.BigEndian.PutUint32(message[4:], uint32(mtu))
	ip.PayloadLen = len(message)
	b := make([]byte, r.link+ip.Len(), r.link+ip.Len()+len(message))
	if r.link > 0 {
		e := wire.Ethernet{EtherType: wire.EtherTypeIPv4}
		if p.Version == 6 {
			e.EtherType = wire.EtherTypeIPv6
		}
		if _, err := wire.PutEthernet(b, &e); err != nil {
			return
		}
	}
	if _, err := wire.PutIP(b[r.link:], &ip); err != nil {
		return
	}
	if err := wire.FillChecksum(message, ip.Proto, pseudo); err != nil {
		return
	}
	// Lost where there is no room for it, or nobody, as in any network.
	_, _ = r.back.Send(now, []driver.TxFrame{{Head: append(b, message...), IPv6: p.Version == 6}})
}
