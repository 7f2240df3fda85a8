package stack

import (
	"github.com/zctap/zctap/internal/driver"
	"github.com/zctap/zctap/internal/mono"
	"github.com/zctap/zctap/internal/wire"
)

// inputFragment takes in a fragment, and the packet that it completes, as if that had
// come whole: its payload lies in the buffers of its fragments.
func (s *Stack) inputFragment(now mono.Time, f *driver.Frame) cause {
	h := &s.rx
	judge := s.stranger
	// UDP may lie behind extension headers, which each fragment names then. What else it turns out
	// to be is judged when it is whole.
	mayBeUDP := h.ip.Proto == wire.ProtoUDP || h.ip.Version == 6 && !known(h.ip.Proto)
	if mayBeUDP && (s.joined[h.ip.Dst] > 0 || s.addrs.everybody(h.ip.Dst)) {
		judge = s.toMany
	}
	if c := judge(&h.ip); c != accepted {
		return c
	}
	if h.ip.Version == 4 && !known(h.ip.Proto) {
		return unknownProtocol // each fragment says so
	}
	if h.ip.FragOffset == 0 {
		if c := s.firstFragment(f); c != accepted {
			s.fragments.Refuse(now, &h.ip)
			return c
		}
	}
	from := h.link + h.ip.L4Offset
	if !s.cut(f, from, from+h.ip.L4Len) {
		return noBuffer
	}
	w := s.fragments.Input(now, &h.ip, h.head, f.Frags)
	if w == nil {
		return accepted
	}
	n, err := wire.PutIP(h.whole[:], &wire.IPHeader{
		Src: w.Packet.Src, Dst: w.Packet.Dst, Proto: w.Packet.Proto, HopLimit: w.Packet.HopLimit,
		TrafficClass: w.Packet.TrafficClass, PayloadLen: w.Packet.L4Len,
	})
	whole := driver.Frame{Head: h.whole[:n], Frags: w.Frags, Len: n + w.Packet.L4Len}
	c := cause(wire.BadFragment) // longer than a packet can be
	if err == nil {
		if c = h.parse(&whole, s.pool, 0); c == accepted {
			c = s.input(now, &whole)
		}
	}
	if c != accepted {
		s.drops[c]++
		s.pool.PutFrags(whole.Frags)
	}
	return accepted // f's own references are accounted for
}

// firstFragment judges a packet by its first fragment, which has all of its headers, or else is for
// the Reassembler to refuse.
func (s *Stack) firstFragment(f *driver.Frame) cause {
	h := &s.rx
	proto, _, c := h.ip.UpperLayer(h.head)
	if c == wire.NeedMore {
		h.head = h.gather(f, s.pool)[h.link:]
		proto, _, c = h.ip.UpperLayer(h.head)
	}
	switch {
	case c == wire.OK && !known(proto):
		return unknownProtocol
	case c != wire.OK && c != wire.Truncated:
		return cause(c)
	}
	return accepted
}

// known reports whether the stack serves a protocol.
func known(proto uint8) bool {
	switch proto {
	case wire.ProtoTCP, wire.ProtoUDP, wire.ProtoICMP, wire.ProtoICMPv6:
		return true
	}
	return false
}

// expireFragments drops fragments whose rest did not come in time, and says so.
func (s *Stack) expireFragments(now mono.Time) {
	s.fragments.Expire(now, func(p *wire.Packet, orig []byte) {
		if !s.addrs.own(p.Dst) {
			return // nothing is said of what was sent to many (RFC 1122 section 3.2.2)
		}
		if !s.unreachables.take(now) {
			s.stats.UnreachablesSuppressed++
			return
		}
		s.tx.Error(wire.ReassemblyTimeout, p, orig)
		s.stats.Unreachables++
	})
}

// DropFragments drops the fragments whose rest has not come: nobody will wait for it
// any more.
func (s *Stack) DropFragments() { s.fragments.Close() }
