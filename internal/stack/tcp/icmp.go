package tcp

import (
	"syscall"

	"github.com/zctap/zctap/internal/mono"
	"github.com/zctap/zctap/internal/stack/ip"
	"github.com/zctap/zctap/internal/wire"
)

// InputICMP takes in an ICMP error that quotes a segment of ours, and reports
// whether it was believed. Anyone can send one, so that the quoted sequence number
// has to be under way (RFC 5927 section 4.1), and a connection that is established
// is not ended by any: there the retransmission timer judges, and the error is what
// the application is told if that gives up (section 5; RFC 1122 section 4.2.3.9 and
// RFC 5461 for the soft ones). The connection becomes dirty.
func (c *Conn) InputICMP(now mono.Time, m *wire.ICMP) bool {
	if seq := m.Quote.Seq; c.state == Closed || c.state == TimeWait || seq.LessThan(c.snd.una) || c.snd.max.LessEq(seq) {
		return false
	}
	if m.Kind == wire.ICMPPacketTooBig {
		return c.tooBig(now, m.MTU)
	}
	c.touch()
	errno, hard := ip.Errno(m, c.tuple.Local.Addr().Is6())
	switch {
	case c.state.synchronized():
		c.path.soft = uint16(errno)
	case c.listener == nil:
		// As Linux does: the caller of Dial knows what to try next, and whoever
		// forges this had to guess the initial sequence number.
		c.kill(errno)
	case !hard:
		// There is no way to whoever sent the SYN. Nobody was told of the
		// connection yet.
		c.kill(errno)
	}
	return true
}

// timeoutError is why a connection is given up whose peer does not answer: what
// routers have said of it, or else ETIMEDOUT.
func (c *Conn) timeoutError() error {
	if c.path.soft != 0 {
		return syscall.Errno(c.path.soft)
	}
	return syscall.ETIMEDOUT
}
