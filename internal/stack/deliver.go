package stack

import (
	"github.com/zctap/zctap/internal/driver"
	"github.com/zctap/zctap/internal/mono"
	"github.com/zctap/zctap/internal/wire"
)

// Deliver takes in the frames of one Poll, and takes over the references of
// their frags. What comes of it is sent and shown by the next Flush.
func (s *Stack) Deliver(now mono.Time, b *driver.Batch) {
	s.tx.SetNow(now)
	s.stats.Frames += uint64(len(b.Frames))
	frames, merged := b.Frames, s.stats.Merged
	if s.frags = nil; len(b.Frags) == len(frames) {
		s.frags = b.Frags
	}
	if s.order.sort(s, frames, s.frags) {
		frames, s.frags = s.order.frames[:len(frames)], s.order.frags[:len(s.frags)]
	}
	if len(frames) > 1 && s.conns.n >= lookFlows {
		s.ahead.begin(s, frames)
	}
	for s.rest = frames; len(s.rest) > 0; {
		s.at = len(frames) - len(s.rest)
		f := &s.rest[0]
		s.rest = s.rest[1:] // merge may take more
		if c := s.deliver(now, f); c != accepted {
			s.drops[c]++
			s.pool.PutFrags(f.Frags)
		}
	}
	s.rest, s.frags = nil, nil
	s.ahead.done()
	s.order.merged(int(s.stats.Merged-merged), len(frames))
}

// deliver takes in one frame. Unless it returns accepted the references that
// f.Frags then has are the caller's to drop.
func (s *Stack) deliver(now mono.Time, f *driver.Frame) cause {
	h := &s.rx
	switch c := h.parse(f, s.pool, s.caps.LinkHeader); c {
	case accepted:
		return s.input(now, f)
	case fragment:
		return s.inputFragment(now, f)
	default:
		return c
	}
}

// input takes in f, whose headers are in s.rx; see deliver.
func (s *Stack) input(now mono.Time, f *driver.Frame) cause {
	switch s.rx.ip.Proto {
	case wire.ProtoTCP:
		return s.inputTCP(now, f)
	case wire.ProtoUDP:
		return s.inputUDP(now, f)
	default: // nothing else gets through parse
		return s.inputICMP(now, f)
	}
}

// stranger judges a packet that belongs to no flow with a peer: whether it may be
// answered, or make a flow.
func (s *Stack) stranger(p *wire.Packet) cause {
	switch {
	case !s.addrs.own(p.Dst):
		return notOurs
	case s.addrs.martian(p.Src):
		return martian
	}
	return accepted
}

// toMany judges the source of a datagram that was sent to a group or to all hosts. A
// host that has no address yet can reach all on the wire (RFC 1122 section 3.2.1.3 (a);
// DHCP).
func (s *Stack) toMany(p *wire.Packet) cause {
	if s.addrs.martian(p.Src) && (!p.Src.IsUnspecified() || p.Dst != wire.LimitedBroadcast) {
		return martian
	}
	return accepted
}
