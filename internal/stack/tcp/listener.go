package tcp

import (
	"github.com/zctap/zctap/internal/mono"
	"github.com/zctap/zctap/internal/wire"
)

// DefaultMaxPending bounds a listener's connections in SYN-RECEIVED if MaxPending
// is zero.
const DefaultMaxPending = 1024

// A Listener makes connections from SYNs. Its fields are set before its first
// Input. Engine goroutine only.
type Listener struct {
	// Shared is the stack's.
	Shared *Shared
	// MSS is the largest payload of a segment that we take, in bytes: what the
	// MTU leaves without IP and TCP header. It must suit the tuple's family:
	// called once a SYN.
	MSS func(t *wire.Tuple) int
	// MaxPending bounds the connections in SYN-RECEIVED; 0: DefaultMaxPending. SYNs
	// beyond it are answered with cookies (cookies.go): all of them if it is negative.
	MaxPending int
	// Full tells that the backlog has no room for another complete connection.
	// SYNs are dropped then, and so are final ACKs: the peer repeats either.
	Full func() bool
	// OnAccept takes a connection whose handshake is complete.
	OnAccept func(c *Conn)

	pending  int // connections in SYN-RECEIVED
	closed   bool
	cookieAt mono.Time // when a cookie was sent last; 0: never
}

// Pending is the number of connections in SYN-RECEIVED.
func (l *Listener) Pending() int { return l.pending }

// Close makes the listener refuse: connections that are not complete are reset
// when their peer shows up again, or time out. What OnAccept got is not touched.
func (l *Listener) Close() { l.closed = true }

// Input takes a segment for which there is no connection (RFC 9293 section
// 3.10.7.2) and takes over its frags. A SYN makes a connection, dirty, in
// SYN-RECEIVED, which the caller puts into its table; anything else, or a SYN
// that there is no room for, yields nil. An ACK goes to Complete first.
func (l *Listener) Input(now mono.Time, s *Segment, t wire.Tuple) *Conn {
	sh := l.Shared
	h := s.TCP
	switch {
	case h.Flags.Has(wire.RST):
		sh.Stats.Drops.NotForListener++
		sh.Pool.PutFrags(s.Frags)
		return nil
	case h.Flags.Has(wire.ACK):
		sh.Stats.Drops.NotForListener++
		sh.Refuse(s, t)
		return nil
	case h.Flags&(wire.SYN|wire.FIN) != wire.SYN:
		// SYN with FIN is no TCP's, but a scanner's.
		sh.Stats.Drops.NotForListener++
		sh.Pool.PutFrags(s.Frags)
		return nil
	}
	// Payload of a SYN may be queued until the handshake is complete; it is not
	// acknowledged instead, and comes again (section 3.10.7.2, "third").
	sh.Pool.PutFrags(s.Frags)
	if l.closed || l.Full() {
		sh.Stats.Drops.ListenerFull++
		return nil
	}
	if l.pending >= l.maxPending() {
		l.sendCookie(now, h, &t)
		return nil
	}
	l.pending++
	return passiveOpen(l, now, h, t)
}

func (l *Listener) maxPending() int {
	if l.MaxPending == 0 {
		return DefaultMaxPending
	}
	return l.MaxPending
}
