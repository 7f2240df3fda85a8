package stack

import (
	"syscall"

	"github.com/zctap/zctap/internal/driver"
	"github.com/zctap/zctap/internal/mono"
	"github.com/zctap/zctap/internal/stack/ip"
	"github.com/zctap/zctap/internal/wire"
)

// inputICMP answers an echo request, and tells errors to the flow that they quote.
// Nothing is ever sent about an error (RFC 1122 section 3.2.2).
func (s *Stack) inputICMP(now mono.Time, f *driver.Frame) cause {
	h := &s.rx
	if c := s.verify(f, h); c != accepted {
		return c
	}
	if c := s.stranger(&h.ip); c != accepted {
		return c
	}
	switch {
	case h.icmp.Kind == wire.ICMPEchoRequest:
		s.echo(now, f)
	case h.icmp.Kind.IsError():
		if c := s.inputICMPError(now); c != accepted {
			return c
		}
		s.stats.ICMPErrors++
	default:
		return icmpIgnored
	}
	s.pool.PutFrags(f.Frags)
	return accepted
}

func (s *Stack) echo(now mono.Time, f *driver.Frame) {
	h := &s.rx
	if !s.echoes.take(now) {
		s.stats.EchoesSuppressed++
		return
	}
	s.tx.EchoReply(&h.ip, &h.icmp, s.bytes(f, h.link+h.icmp.PayloadOffset)...)
	s.stats.Echoes++
}

// inputICMPError tells an ICMP error to the flow whose packet it quotes. Anyone can
// send one, from any address, since routers do; so what it quotes has to be a flow of
// ours, and for TCP something under way (RFC 5927 section 4). It can end a connection
// that is being opened, and make packets shorter, and nothing else.
func (s *Stack) inputICMPError(now mono.Time) cause {
	m := &s.rx.icmp
	flow := &m.Quote.Flow
	if flow.Local.Addr() != s.rx.ip.Dst {
		return cause(wire.BadQuote) // errors go to who sent the packet
	}
	switch flow.Proto {
	case wire.ProtoTCP:
		c := s.conns.get(flow)
		if c == nil {
			return icmpNoFlow
		}
		if !c.InputICMP(now, m) {
			return icmpStale
		}
		return accepted
	case wire.ProtoUDP:
		// Only a connected socket can tell whom it is about (RFC 1122 section
		// 4.1.3.3; ip(7)).
		u := s.sockets.get(flow)
		if u == nil {
			return icmpNoFlow
		}
		errno, hard := ip.Errno(m, s.rx.ip.Version == 6)
		if !hard && errno != syscall.EMSGSIZE {
			return icmpIgnored // it may work next time
		}
		if m.Kind == wire.ICMPPacketTooBig && !s.tcp.LearnPath(now, flow.Remote.Addr(), m.MTU, uint32(s.tx.MTU())) {
			return icmpIgnored
		}
		u.Queue.Fail(errno)
		return accepted
	}
	return icmpNoFlow
}
