package packet

import (
	"fmt"
	"time"

	"github.com/zctap/zctap/internal/wire"
)

// received is a packet of the stack's, taken apart.
type received struct {
	at      time.Duration
	raw     []byte
	ip      wire.Packet
	tcp     wire.TCP
	udp     wire.UDP
	icmp    wire.ICMP
	payload []byte
}

// dissect takes a packet apart as a receiver does: checksums have to be right.
func dissect(s *Sent) (*received, error) {
	r := &received{at: s.At, raw: s.Raw}
	if c := wire.ParseIP(s.Raw, len(s.Raw), wire.Verify, &r.ip); c != wire.OK {
		return nil, fmt.Errorf("the stack sent a packet whose IP header is wrong, %v: % x", c, s.Raw[:min(60, len(s.Raw))])
	}
	var c wire.Cause
	var off, n int
	switch r.ip.Proto {
	case wire.ProtoTCP:
		c = wire.ParseTCP(s.Raw, &r.ip, &r.tcp)
		off, n = r.tcp.PayloadOffset, r.tcp.PayloadLen
	case wire.ProtoUDP:
		c = wire.ParseUDP(s.Raw, &r.ip, &r.udp)
		off, n = r.udp.PayloadOffset, r.udp.PayloadLen
	default:
		c = wire.ParseICMP(s.Raw, &r.ip, &r.icmp)
		if c == wire.BadQuote {
			c = wire.OK // of a packet that a script has made so; quotes looks at it
		}
		off, n = r.icmp.PayloadOffset, r.icmp.PayloadLen
	}
	if c == wire.OK {
		c = r.ip.VerifyL4(s.Raw)
	}
	if c != wire.OK {
		return nil, fmt.Errorf("the stack sent a packet of protocol %d that is wrong, %v: % x", r.ip.Proto, c, s.Raw[:min(100, len(s.Raw))])
	}
	r.payload = s.Raw[off : off+n]
	return r, nil
}

// pattern is the packet as a script would expect it, with all that could be said.
func (r *received) pattern(f *flow) *Packet {
	p := &Packet{Expected: true, Win: Value{Any: true}, Len: number(int64(len(r.payload)))}
	switch {
	case r.ip.Proto == wire.ProtoTCP:
		r.segment(p, f)
	case r.ip.Proto == wire.ProtoUDP:
		p.Proto = UDP
	case r.icmp.Kind == wire.ICMPEchoRequest:
		p.Proto = Ping
	case r.icmp.Kind == wire.ICMPEchoReply:
		p.Proto = Pong
	default:
		p.Proto, p.Message = ICMP, fmt.Sprintf("type %d code %d", r.icmp.Type, r.icmp.Code)
		for name, m := range icmpMessages {
			t, c := m.type4, m.code4
			if r.ip.Version == 6 {
				t, c = m.type6, m.code6
			}
			if r.icmp.Type == t && r.icmp.Code == c {
				p.Message = name
			}
		}
		p.Len = number(int64(r.icmp.MTU))
	}
	return p
}

// segment fills in what is TCP's.
func (r *received) segment(p *Packet, f *flow) {
	h := &r.tcp
	p.Flags = h.Flags
	seq := int64(h.Seq.Sub(f.theirs))
	p.Seq, p.End = number(seq), number(seq+p.Len.Lo)
	if h.Flags.Has(wire.ACK) {
		p.Ack = number(int64(h.Ack.Sub(f.ours)))
	}
	p.Win = number(int64(h.Window))
	if h.Flags.Has(wire.URG) {
		u := number(int64(h.Urgent))
		p.Urgent = &u
	}
	o := &h.Options
	if o.MSS != 0 {
		p.Options = append(p.Options, Option{Kind: "mss", V: []Value{number(int64(o.MSS))}})
	}
	if o.SACKPermitted {
		p.Options = append(p.Options, Option{Kind: "sackOK"})
	}
	if o.HasTimestamps {
		p.Options = append(p.Options, Option{Kind: "ts", V: []Value{number(int64(o.TSVal)), number(int64(o.TSEcr))}})
	}
	if o.HasWindowScale {
		p.Options = append(p.Options, Option{Kind: "wscale", V: []Value{number(int64(o.WindowScale))}})
	}
	if o.SACKCount > 0 {
		sack := Option{Kind: "sack"}
		for _, b := range o.SACK[:o.SACKCount] {
			sack.V = append(sack.V, number(int64(b.Start.Sub(f.ours))), number(int64(b.End.Sub(f.ours))))
		}
		p.Options = append(p.Options, sack)
	}
}
