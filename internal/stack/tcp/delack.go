package tcp

import (
	"time"

	"github.com/zctap/zctap/internal/mono"
	"github.com/zctap/zctap/internal/wire"
)

const (
	// delayedAck is how long an ACK may wait for data or more data to go with:
	// RFC 1122 section 4.2.3.2 has at most 500 ms, Linux at least 40.
	delayedAck = 40 * time.Millisecond
	// quickAcks is the segments acknowledged at once in the beginning and
	// after a loss, while the peer's congestion window is small and waits for
	// ACKs.
	quickAcks = 16
	// maxDuplicates is the duplicate ACKs of one batch: what a peer needs to
	// detect a loss (RFC 5681 section 3.2). More tell it nothing new.
	maxDuplicates = dupThresh
)

// ackPolicy decides when to acknowledge.
type ackPolicy struct {
	now         bool      // an ACK is due with the next output
	interactive bool      // the application answers what it gets: data will carry ACKs
	quick       uint8     // segments left to be acknowledged at once
	dups        uint8     // duplicate ACKs due
	unacked     uint32    // bytes received since the last ACK
	received    mono.Time // when data last came in order
	challenged  mono.Time // when the last challenge ACK was sent
}

func (a *ackPolicy) start() { a.quick = quickAcks }

// duplicate notes a segment out of order: one ACK each, at once (RFC 5681 section
// 4.2), also if the segments came in one batch, up to maxDuplicates.
func (a *ackPolicy) duplicate() {
	a.dups = min(a.dups+1, maxDuplicates)
	a.recovering()
}

// recovering notes that the peer repairs a loss, or may believe that there was
// one: its window is small now, and every ACK counts.
func (a *ackPolicy) recovering() {
	a.now = true
	a.quick = quickAcks
}

// sent notes that an ACK, alone or with data, has gone out.
func (a *ackPolicy) sent() {
	a.now = false
	a.unacked = 0
}

// inOrder notes n bytes, in segments of each, that continued the stream.
func (c *Conn) inOrder(now mono.Time, n, each uint32, flags wire.Flags) {
	a := &c.acks
	a.received = now
	a.unacked += n
	c.rcv.full = max(c.rcv.full, min(each, c.rcv.mss))
	switch {
	case a.now:
	case a.quick > 0:
		a.quick--
		a.now = true
	case a.unacked >= 2*c.rcv.full:
		a.now = true // RFC 9293 section 3.8.6.3: every second full segment
	case flags.Has(wire.PSH) && !a.interactive:
		a.now = true // the peer has no more for now
	case !c.timers.armed(timerDelayedAck):
		c.delayAck(now)
	}
}

// delayedAckDue runs when no data went out for an ACK to go with.
func (c *Conn) delayedAckDue() {
	c.sh.Stats.DelayedAcks++
	c.acks.now = true
	c.acks.interactive = false
}
