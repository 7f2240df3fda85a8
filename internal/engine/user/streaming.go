package user

import (
	"time"

	"github.com/zctap/zctap/internal/driver"
	"github.com/zctap/zctap/internal/mono"
	"github.com/zctap/zctap/internal/stack"
)

// An engine that keeps up with a fast stream sleeps after each few segments, and for
// each sleep there are an ACK, a wake of the application and one of its own, which
// together cost as much as the segments. While a stream is fast the engine pauses
// instead, and does not look at the wire, as a NIC that moderates its interrupts. What
// came before the pause is acknowledged by then, so that the sender goes on, as far as
// its window reaches. So it is with drivers for which frames go into posted buffers
// while we sleep; over others nothing would be won.
//
// A pause is a longer round trip to the sender. If its window is too small for that the
// stream becomes slower, and soon does not count as fast any more: so it is never slowed
// to much less than streamBytes in streamTime. Senders whose windows grow lose nothing.
const (
	// streamBytes of payload in streamTime make a stream fast.
	streamBytes = 256 << 10
	streamTime  = wakeDelay
	// streamPause is how long a pause lasts.
	streamPause = 200 * time.Microsecond

	// postedWindow is the largest receive window with such a driver, in bytes. A sender
	// on this machine that has to wait for a window sends in the system call of our ACK,
	// at our cost: this is more than its socket holds (net.ipv4.tcp_wmem, 4 MiB).
	postedWindow = 8 << 20
)

// streaming watches how fast streams come, all of the engine together. The loop's.
type streaming struct {
	wire   driver.Lingerer // nil: no pauses
	before stack.Traffic
	since  mono.Time // when bytes began to be counted; 0: they are not
	bytes  uint64
	fast   bool // so many came that the engine may pause, once
}

func (s *streaming) init(d driver.Driver) {
	if d.Caps().RxPosted > 0 {
		s.wire, _ = d.(driver.Lingerer)
	}
}

// received notes what the stack has taken in and sent by now, after a batch. Where
// anything but ACKs is sent, somebody may wait for an answer to it.
func (s *streaming) received(now mono.Time, t stack.Traffic) {
	n := t.StreamBytes - s.before.StreamBytes
	spoke := t.SentBytes != s.before.SentBytes
	s.before = t
	if spoke {
		s.since, s.bytes, s.fast = 0, 0, false
		return
	}
	if s.since == 0 || now.Sub(s.since) > streamTime {
		s.since, s.bytes, s.fast = now, 0, false
	}
	if s.bytes += n; s.bytes >= streamBytes {
		s.since, s.bytes, s.fast = now, 0, true
	}
}

// take reports whether to pause now. It takes more of the stream to do so again.
func (s *streaming) take() bool {
	fast := s.fast && s.wire != nil
	s.fast = false
	return fast
}

// rest sleeps until there is something to do or, while a stream is fast, for a moment.
func (e *Engine) rest(now mono.Time) error {
	if !e.streaming.take() || e.stack.Stalled() {
		return e.wait(now)
	}
	e.rounds.pauses++
	end := now.Add(streamPause)
	if next := e.stack.Next(); next != 0 && next.Before(end) {
		end = next
	}
	return e.streaming.wire.Linger(end)
}
