package tcp

import (
	"errors"
	"syscall"
	"testing"
	"time"

	"github.com/zctap/zctap/internal/wire"
)

// TestUserTimeout: data that is not acknowledged ends the connection after so long, on
// time, though the retransmission timer is backed off beyond it.
func TestUserTimeout(t *testing.T) {
	for _, timeout := range []time.Duration{50 * time.Millisecond, time.Second, 10 * time.Second, 10 * time.Minute} {
		s := established(t, nil)
		s.c.SetUserTimeout(timeout)
		s.write(100)
		start := s.now
		s.flush()
		for s.c.state == Established && s.c.Deadline() != 0 {
			s.advance(s.c.Deadline().Sub(s.now))
		}
		if got := s.now.Sub(start); got != timeout {
			t.Errorf("ended after %v, want %v", got, timeout)
		}
		if err := s.recvErr(); !errors.Is(err, syscall.ETIMEDOUT) || s.sh.Stats.TimedOut != 1 {
			t.Errorf("%v, %d counted", err, s.sh.Stats.TimedOut)
		}
	}
}

// TestUserTimeoutStartsOver with each acknowledgment, and is the stack's again after 0.
func TestUserTimeoutStartsOver(t *testing.T) {
	s := established(t, nil)
	s.c.SetUserTimeout(time.Second)
	for i := range 5 {
		s.write(100)
		s.flush()
		s.advance(900 * time.Millisecond)
		s.inOut(1, 1+100*(i+1), wire.ACK, nil)
		s.advance(900 * time.Millisecond)
	}
	s.state(Established)
	s.write(100)
	s.flush()
	s.advance(500 * time.Millisecond)
	s.c.SetUserTimeout(0)
	s.flush()
	s.advance(time.Minute)
	s.state(Established)
	s.advance(DefaultUserTimeout)
	s.state(Closed)
}

// TestUserTimeoutAfterProgress: it counts from the last progress, however much was under way before that,
// whether the timer had expired or not, and whether all was acknowledged or a part.
func TestUserTimeoutAfterProgress(t *testing.T) {
	const timeout = 20 * testRTT
	for _, sack := range []bool{false, true} {
		for _, wait := range []int{1, 10, 19} { // round trips
			s := established(t, func(s *script) {
				if sack {
					withSACK(s)
				}
			})
			s.c.rtt.sample(testRTT)
			s.c.SetUserTimeout(timeout)
			s.write(3 * testMSS)
			s.flush()
			for i := range 2 {
				for range wait {
					s.advance(testRTT)
				}
				s.inOut(1, 1+(i+1)*testMSS, wire.ACK, nil)
				s.state(Established)
			}
			s.advance(timeout - 1)
			s.state(Established)
			s.advance(1)
			s.state(Closed)
		}
	}
}

// TestUserTimeoutSetLate: it counts for what waits already, whose timer is backed off beyond it.
func TestUserTimeoutSetLate(t *testing.T) {
	s := established(t, nil)
	s.write(100)
	s.flush()
	s.advance(10 * time.Second)
	if left := s.c.Deadline().Sub(s.now); left < 2*time.Second {
		t.Fatalf("the timer is due in %v", left)
	}
	s.c.SetUserTimeout(11 * time.Second)
	s.flush()
	s.advance(1500 * time.Millisecond)
	s.state(Closed)
}

// TestUserTimeoutOfZeroWindow: a peer that answers probes and never opens its window
// keeps the connection, unless the application has set a user timeout; then the peer,
// which is alive, is told by a reset.
func TestUserTimeoutOfZeroWindow(t *testing.T) {
	for _, timeout := range []time.Duration{0, 30 * time.Second} {
		s := established(t, nil)
		s.c.SetUserTimeout(timeout)
		s.wnd = 0
		s.inOut(1, 1, wire.ACK, nil)
		s.write(100)
		start := s.now
		s.flush()
		var out []sent
		for s.c.state == Established && s.now.Sub(start) < time.Hour {
			out = s.advance(s.c.Deadline().Sub(s.now))
			if len(out) > 0 && s.c.state == Established {
				s.inOut(1, 1, wire.ACK, nil)
			}
		}
		if timeout == 0 {
			s.state(Established)
			continue
		}
		s.expect("reset", out, seg(1, 1, wire.RST|wire.ACK, 0))
		if got := s.now.Sub(start); got != timeout {
			t.Errorf("ended after %v, want %v", got, timeout)
		}
		if err := s.recvErr(); !errors.Is(err, syscall.ETIMEDOUT) {
			t.Error(err)
		}
	}
}

// TestUserTimeoutAfterWindow: waiting for a window counts as one wait, and ends with it.
func TestUserTimeoutAfterWindow(t *testing.T) {
	s := established(t, nil)
	s.c.SetUserTimeout(time.Second)
	for i := range 3 {
		s.wnd = 0
		s.inOut(1, 1+100*i, wire.ACK, nil)
		s.write(100)
		s.flush()
		s.advance(900 * time.Millisecond)
		s.wnd = 60000
		s.inOut(1, 1+100*i, wire.ACK, nil)
		s.advance(900 * time.Millisecond)
		s.inOut(1, 1+100*(i+1), wire.ACK, nil)
	}
	s.state(Established)
}

// TestUserTimeoutOfKeepAlive: it overrides the number of probes.
func TestUserTimeoutOfKeepAlive(t *testing.T) {
	for _, tt := range []struct{ timeout, want time.Duration }{
		{0, 10 * time.Second * (1 + keepAliveProbes)},
		{35 * time.Second, 35 * time.Second},
		{5 * time.Second, 20 * time.Second}, // not before a probe was sent and not answered
		{300 * time.Second, 300 * time.Second},
	} {
		s := established(t, nil)
		s.c.SetUserTimeout(tt.timeout)
		start := s.now
		s.c.SetKeepAlive(s.now, true, 10*time.Second)
		for s.c.state == Established && s.c.Deadline() != 0 {
			s.advance(s.c.Deadline().Sub(s.now))
		}
		if got := s.now.Sub(start); got != tt.want {
			t.Errorf("user timeout %v: ended after %v, want %v", tt.timeout, got, tt.want)
		}
	}
}
