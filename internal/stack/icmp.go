package stack

import (
	"github.com/zctap/zctap/internal/driver"
	"github.com/zctap/zctap/internal/mono"
	"github.com/zctap/zctap/internal/wire"
)

// inputICMP answers an echo request. Errors that quote our own packets are
// counted and otherwise passed over: TCP finds out for itself, by its timers.
func (s *Stack) inputICMP(now mono.Time, f *driver.Frame) cause {
	h := &s.rx
	if c := s.verify(f, h); c != accepted {
		return c
	}
	if !s.addrs.own(h.ip.Dst) {
		return notOurs
	}
	if s.addrs.martian(h.ip.Src) {
		return martian
	}
	if h.icmp.Kind != wire.ICMPEchoRequest {
		return icmpIgnored
	}
	if !s.echoes.take(now) {
		s.stats.EchoesSuppressed++
	} else {
		s.tx.EchoReply(&h.ip, &h.icmp, s.bytes(f, h.link+h.icmp.PayloadOffset)...)
		s.stats.Echoes++
	}
	s.pool.PutFrags(f.Frags)
	return accepted
}
