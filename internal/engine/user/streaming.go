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
// A pause is a longer round trip to the sender: who has too small a window, or socket
// buffer, for that becomes slower. So the engine tries: it pauses as long as that takes
// no more than a quarter of the throughput.
const (
	// streamBytes of payload in streamTime make a stream fast.
	streamBytes = 256 << 10
	streamTime  = wakeDelay
	// streamPause is how long a pause lasts.
	streamPause = 200 * time.Microsecond

	// What comes without pauses and what comes with them is measured for tryTime each,
	// and the outcome holds for holdTime. Nothing for idleTime begins all anew.
	tryTime  = 2 * time.Millisecond
	holdTime = 50 * time.Millisecond
	idleTime = 2 * time.Millisecond

	// postedWindow is the largest receive window with such a driver, in bytes. A sender
	// on this machine that has to wait for a window sends in the system call of our ACK,
	// at our cost: this is more than its socket holds (net.ipv4.tcp_wmem, 4 MiB).
	postedWindow = 8 << 20
)

// streaming watches how fast streams come, all of the engine together. The loop's.
type streaming struct {
	wire   driver.Lingerer // nil: no pauses
	before stack.Traffic

	since mono.Time // when bytes began to be counted; 0: they are not
	bytes uint64
	fast  bool // so many came that the engine may pause, once

	phase   phase
	began   mono.Time // the phase
	last    mono.Time // when something came
	taken   uint64    // bytes in this phase
	without float64   // bytes a nanosecond that came without pauses
}

// A phase of finding out whether to pause.
type phase uint8

const (
	comparing  phase = iota // without pauses
	trying                  // with pauses
	pausing                 // with, and it does no harm
	abstaining              // without, for it would
)

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
		s.enter(comparing, now)
		return
	}
	if s.since == 0 || now.Sub(s.since) > streamTime {
		s.since, s.bytes, s.fast = now, 0, false
	}
	if s.bytes += n; s.bytes >= streamBytes {
		s.since, s.bytes, s.fast = now, 0, true
	}
	s.judge(now, n)
}

// judge counts n bytes, and goes to the next phase when it is time.
func (s *streaming) judge(now mono.Time, n uint64) {
	if now.Sub(s.last) > idleTime {
		s.enter(comparing, now)
		return // n bytes came in a time that is not known
	}
	s.last = now
	s.taken += n
	lasted := now.Sub(s.began)
	if lasted < tryTime || s.phase >= pausing && lasted < holdTime {
		return
	}
	rate := float64(s.taken) / float64(lasted)
	switch {
	case s.phase == comparing:
		s.without = rate
		s.enter(trying, now)
	case s.phase != trying:
		s.enter(comparing, now)
	case rate >= s.without*3/4:
		s.enter(pausing, now)
	default:
		s.enter(abstaining, now)
	}
}

func (s *streaming) enter(p phase, now mono.Time) {
	s.phase, s.began, s.last, s.taken = p, now, now, 0
}

// take reports whether to pause now. It takes more of the stream to do so again.
func (s *streaming) take() bool {
	pause := s.fast && s.wire != nil && (s.phase == trying || s.phase == pausing)
	s.fast = false
	return pause
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
