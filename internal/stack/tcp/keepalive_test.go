package tcp

import (
	"syscall"
	"testing"
	"time"

	"github.com/zctap/zctap/internal/wire"
)

func TestKeepAlive(t *testing.T) {
	s := established(t, nil)
	const idle = 30 * time.Second
	s.c.SetKeepAlive(s.now, true, idle)
	s.advance(20 * time.Second)
	s.inOut(1, 1, wire.ACK|wire.PSH, []byte("x")) // a sign of life
	s.expect("before", s.advance(idle-1))
	probe := seg(0, 2, wire.ACK, 0)
	s.expect("probe", s.advance(1), probe)
	s.expect("answer", s.inOut(2, 1, wire.ACK, nil))
	s.expect("probe after another pause", s.advance(idle), probe)
	// Now the peer is gone.
	for range keepAliveProbes - 1 {
		s.expect("probe", s.advance(idle), probe)
	}
	s.expect("the end", s.advance(idle), seg(1, 2, wire.RST|wire.ACK, 0))
	s.closed()
	if err := s.recvErr(); err != syscall.ETIMEDOUT {
		t.Error(err)
	}
}

// Who waits long before the first probe does not wait as long for each of the others: 75 s.
func TestKeepAliveInterval(t *testing.T) {
	s := established(t, nil)
	s.c.SetKeepAlive(s.now, true, 2*time.Hour)
	s.expect("before", s.advance(2*time.Hour-1))
	s.expect("probe", s.advance(1), seg(0, 1, wire.ACK, 0))
	for range 8 {
		s.expect("between", s.advance(75*time.Second-1))
		s.expect("probe", s.advance(1), seg(0, 1, wire.ACK, 0))
	}
	s.expect("the end", s.advance(75*time.Second), seg(1, 1, wire.RST|wire.ACK, 0))
	s.closed()
}

func TestKeepAliveOff(t *testing.T) {
	s := established(t, nil)
	s.expect("by default", s.advance(24*time.Hour))
	s.c.SetKeepAlive(s.now, true, 0)
	if d := s.c.Deadline(); d != s.now.Add(15*time.Second) {
		t.Errorf("due at %v", d)
	}
	s.c.SetKeepAlive(s.now, false, 0)
	s.expect("switched off", s.advance(24*time.Hour))
}

// Keep-alives that are switched on late do not count the time before.
func TestKeepAliveLate(t *testing.T) {
	s := established(t, nil)
	s.c.SetUserTimeout(time.Minute)
	s.advance(time.Hour)
	s.c.SetKeepAlive(s.now, true, 15*time.Second)
	s.advance(time.Minute - 1)
	s.state(Established)
	s.advance(1)
	s.state(Closed)
}

// While the peer's window is closed the window's probes are enough.
func TestKeepAliveWithClosedWindow(t *testing.T) {
	s := established(t, nil)
	s.wnd = 0
	s.inOut(1, 1, wire.ACK, nil)
	s.c.SetKeepAlive(s.now, true, time.Second)
	s.write(10)
	s.flush()
	for range 10 {
		for _, o := range s.advance(time.Second) {
			if len(o.payload) != 1 {
				t.Errorf("came out %+v", o)
			}
		}
		s.inOut(1, 1, wire.ACK, nil)
	}
}

// While data is under way its retransmission is the probe.
func TestKeepAliveWithData(t *testing.T) {
	s := established(t, nil)
	s.c.SetKeepAlive(s.now, true, time.Second)
	s.write(10)
	s.flush()
	for _, o := range s.advance(10 * time.Second) {
		if len(o.payload) != 10 {
			t.Errorf("came out %+v", o)
		}
	}
}
