package stack

import (
	"net/netip"
	"slices"

	"github.com/zctap/zctap/internal/driver"
	"github.com/zctap/zctap/internal/mono"
	"github.com/zctap/zctap/internal/stack/tcp"
	"github.com/zctap/zctap/internal/wire"
)

// inputTCP gives a segment to its connection or listener, or refuses it.
func (s *Stack) inputTCP(now mono.Time, f *driver.Frame) cause {
	h := &s.rx
	if c := s.verify(f, h); c != accepted {
		return c
	}
	var key wire.Tuple
	h.ip.PutTuple(&key, h.tcp.SrcPort, h.tcp.DstPort)
	conn := s.ahead.conn(s, s.at, &key)
	var wait *tcp.Wait
	if conn == nil {
		wait = s.waits.table.get(&key)
	}
	if conn == nil && wait == nil {
		if c := s.stranger(&h.ip); c != accepted {
			return c
		}
	}
	from := h.link + h.tcp.PayloadOffset
	if !s.cut(f, from, from+h.tcp.PayloadLen) {
		return noBuffer
	}
	g := &s.segment // field by field: see wire.Packet.PutTuple
	g.TCP, g.Frags, g.Len, g.ECN, g.Count = &h.tcp, f.Frags, h.tcp.PayloadLen, h.ip.ECN(), 1
	if conn != nil && len(s.rest) > 0 {
		s.merge(f, conn)
	}
	switch {
	case conn != nil && conn.State() != tcp.TimeWait:
		conn.Input(now, &s.segment)
		return accepted
	case conn != nil:
		if s.listener(&key) != nil {
			wait = conn.Reopen(&s.segment)
		}
		if wait == nil {
			conn.Input(now, &s.segment)
			return accepted
		}
		s.forget(conn)
	case wait != nil:
		// Where nobody listens no SYN ends TIME-WAIT: anybody could send one.
		if !wait.Reopens(&s.segment) || s.listener(&key) == nil {
			s.inputWait(now, wait)
			return accepted
		}
		s.endWait(wait)
	}
	return s.open(now, f, &key, wait)
}

// open takes in s.segment, which belongs to no connection: a listener makes one
// of it, or it is refused. before, if not nil, was the ends' last connection.
func (s *Stack) open(now mono.Time, f *driver.Frame, key *wire.Tuple, before *tcp.Wait) cause {
	l := s.listener(key)
	flags := s.segment.TCP.Flags
	if l != nil {
		var c *tcp.Conn
		taken := false
		switch flags & (wire.SYN | wire.ACK | wire.RST) {
		case wire.SYN:
			c, taken = l.Input(now, &s.segment, *key), true
		case wire.ACK:
			c, taken = l.Complete(now, &s.segment, *key)
		}
		if c != nil {
			s.conns.put(c.Tuple(), c)
			if before != nil {
				c.Follow(before)
			}
		}
		if taken {
			return accepted
		}
	}
	if flags.Has(wire.RST) {
		return noConnection
	}
	if !s.resets.take(now) {
		s.stats.ResetsSuppressed++
		return noConnection
	}
	s.drops[noConnection]++
	s.tcp.Refuse(&s.segment, *key)
	return accepted
}

// listener is who listens where a segment with the key goes, or nil.
func (s *Stack) listener(key *wire.Tuple) *Listener {
	k := wire.Tuple{Local: key.Local, Proto: key.Proto}
	if l := s.listeners.get(&k); l != nil {
		return l
	}
	k.Local = netip.AddrPortFrom(anyAddr(key.Local.Addr().Is6()), key.Local.Port())
	return s.listeners.get(&k)
}

// anyAddr is the unspecified address of a version: in a key, all addresses.
func anyAddr(ipv6 bool) netip.Addr {
	if ipv6 {
		return netip.IPv6Unspecified()
	}
	return netip.IPv4Unspecified()
}

// flushTCP has each connection that was touched put out what it has, once. While
// the wire is full their payload waits, but what has come is shown.
func (s *Stack) flushTCP(now mono.Time) {
	n := 0
	for ; n < len(s.waiting) && !s.tx.Stalled(); n++ {
		if c := s.waiting[n]; c.Output(now) {
			s.settle(now, c)
		}
	}
	if n > 0 {
		s.waiting = slices.Delete(s.waiting, 0, n)
	}
	for c := s.tcp.NextDirty(); c != nil; c = s.tcp.NextDirty() {
		if s.tx.Stalled() {
			s.waiting = append(s.waiting, c)
			c.Publish()
			continue
		}
		if c.Output(now) {
			s.settle(now, c)
		}
	}
}

// settle makes c due at its next deadline, or forgets it if it is over.
func (s *Stack) settle(now mono.Time, c *tcp.Conn) {
	if c.Done() {
		s.forget(c)
		return
	}
	if w := c.Retire(); w != nil {
		s.retire(c, w)
		return
	}
	ack, when := c.Deadlines()
	if ack != 0 && !s.delayed.add(c, ack) && (when == 0 || ack < when) {
		when = ack // the heap looks at all of them
	}
	if when != 0 {
		// Not before the next instant: a timer whose work is left to Output must
		// not keep Advance from returning.
		s.timers.set(c, max(when, now+1))
	}
}

// forget takes c out of the stack, if it is still in it: a connection that was
// over may have left its key to another.
func (s *Stack) forget(c *tcp.Conn) {
	s.timers.remove(c)
	if s.conns.get(c.Tuple()) == c {
		s.conns.remove(c.Tuple())
	}
	if s.gone != nil {
		s.gone(c.Tag)
	}
}
