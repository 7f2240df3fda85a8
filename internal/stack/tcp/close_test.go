package tcp

import (
	"errors"
	"io"
	"net"
	"syscall"
	"testing"
	"time"

	"github.com/zctap/zctap/internal/wire"
)

// closed checks that the connection is over and forgets it.
func (s *script) closed() {
	s.t.Helper()
	s.state(Closed)
	if !s.c.Done() || s.c.Deadline() != 0 {
		s.t.Errorf("done %v, deadline %v", s.c.Done(), s.c.Deadline())
	}
}

// appClose is what an application's Close does.
func (s *script) appClose() []sent {
	s.c.Send.Close()
	s.c.Recv.Close()
	s.c.Close(s.now)
	return s.flush()
}

// RFC 9293 section 3.6, figure 12, side A.
func TestActiveClose(t *testing.T) {
	s := established(t, nil)
	s.c.CloseWrite(s.now)
	s.expect("FIN", s.flush(), seg(1, 1, wire.FIN|wire.ACK, 0))
	s.state(FinWait1)
	s.expect("ACK of the FIN", s.inOut(1, 2, wire.ACK, nil))
	s.state(FinWait2)
	if s.c.Deadline() != 0 {
		t.Error("a timer runs in FIN-WAIT-2 though the application still reads")
	}
	s.expect("their FIN", s.inOut(1, 2, wire.FIN|wire.ACK, nil), seg(2, 2, wire.ACK, 0))
	s.state(TimeWait)
	if err := s.recvErr(); err != io.EOF {
		t.Error(err)
	}
	s.advance(DefaultTimeWait - 1)
	s.state(TimeWait)
	s.advance(1)
	s.closed()
}

// Figure 12, side B.
func TestPassiveClose(t *testing.T) {
	s := established(t, nil)
	s.expect("their FIN", s.inOut(1, 1, wire.FIN|wire.ACK, nil), seg(1, 2, wire.ACK, 0))
	s.state(CloseWait)
	if err := s.recvErr(); err != io.EOF {
		t.Error(err)
	}
	s.write(10)
	s.expect("data in CLOSE-WAIT", s.flush(), seg(1, 2, wire.ACK, 10))
	s.c.CloseWrite(s.now)
	s.expect("our FIN", s.flush(), seg(11, 2, wire.FIN|wire.ACK, 0))
	s.state(LastAck)
	s.inOut(2, 11, wire.ACK, nil)
	s.state(LastAck)
	s.expect("ACK of the FIN", s.inOut(2, 12, wire.ACK, nil))
	s.closed()
}

// Figure 13.
func TestSimultaneousClose(t *testing.T) {
	s := established(t, nil)
	s.c.CloseWrite(s.now)
	s.flush()
	s.expect("their FIN", s.inOut(1, 1, wire.FIN|wire.ACK, nil), seg(2, 2, wire.ACK, 0))
	s.state(Closing)
	s.expect("ACK of ours", s.inOut(2, 2, wire.ACK, nil))
	s.state(TimeWait)
}

func TestFinThatAcksFin(t *testing.T) {
	s := established(t, nil)
	s.c.CloseWrite(s.now)
	s.flush()
	s.expect("FIN and ACK", s.inOut(1, 2, wire.FIN|wire.ACK, nil), seg(2, 2, wire.ACK, 0))
	s.state(TimeWait)
}

// RFC 1122 section 4.2.2.13: after a half-close data still comes in.
func TestHalfClose(t *testing.T) {
	s := established(t, nil)
	s.c.CloseWrite(s.now)
	s.flush()
	s.inOut(1, 1, wire.ACK|wire.PSH, []byte("in FIN-WAIT-1 "))
	s.inOut(15, 2, wire.ACK|wire.PSH, []byte("in FIN-WAIT-2"))
	if got := s.received(); string(got) != "in FIN-WAIT-1 in FIN-WAIT-2" {
		t.Errorf("received %q", got)
	}
	if _, err := s.c.Send.TryWrite([]byte("x")); !errors.Is(err, syscall.EPIPE) {
		t.Errorf("write after CloseWrite: %v", err)
	}
	s.state(FinWait2)
}

func TestFinWithData(t *testing.T) {
	s := established(t, nil)
	s.expect("data and FIN", s.inOut(1, 1, wire.FIN|wire.ACK, []byte("last")), seg(1, 6, wire.ACK, 0))
	if got := s.received(); string(got) != "last" {
		t.Errorf("received %q", got)
	}
	// The same again, and a part of it: the ACK was lost.
	s.expect("again", s.inOut(1, 1, wire.FIN|wire.ACK, []byte("last")), seg(1, 6, wire.ACK, 0))
	s.expect("FIN alone", s.inOut(5, 1, wire.FIN|wire.ACK, nil), seg(1, 6, wire.ACK, 0))
	s.state(CloseWait)
}

func TestOurFinGoesWithData(t *testing.T) {
	s := established(t, nil)
	s.write(100)
	s.c.CloseWrite(s.now)
	s.expect("data and FIN", s.flush(), seg(1, 1, wire.FIN|wire.ACK, 100))
	s.expect("both again", s.advance(steadyRTO), seg(1, 1, wire.FIN|wire.ACK, 100))
	s.inOut(1, 101, wire.ACK, nil)
	s.state(FinWait1)
	s.inOut(1, 102, wire.ACK, nil)
	s.state(FinWait2)
}

func TestDataBeyondFin(t *testing.T) {
	for _, tt := range []struct {
		name string
		play func(s *script)
		got  string
		st   State
	}{
		{"after it", func(s *script) {
			s.inOut(1, 1, wire.FIN|wire.ACK, []byte("abc"))
			s.inOut(5, 1, wire.ACK, []byte("def"))
		}, "abc", CloseWait},
		{"overlapping it", func(s *script) {
			s.inOut(1, 1, wire.FIN|wire.ACK, []byte("abc"))
			s.inOut(2, 1, wire.ACK, []byte("bcdef"))
		}, "abc", CloseWait},
		{"a FIN out of order bounds it", func(s *script) {
			s.inOut(4, 1, wire.FIN|wire.ACK, nil)
			s.inOut(1, 1, wire.ACK, []byte("abcdef"))
		}, "abc", CloseWait},
		{"held data contradicts the FIN", func(s *script) {
			s.inOut(4, 1, wire.ACK, []byte("def"))
			s.inOut(1, 1, wire.FIN|wire.ACK, []byte("abc"))
		}, "abcdef", Established},
		{"FIN out of order with data", func(s *script) {
			s.inOut(4, 1, wire.FIN|wire.ACK, []byte("def"))
			s.inOut(1, 1, wire.ACK, []byte("abc"))
		}, "abcdef", CloseWait},
	} {
		t.Run(tt.name, func(t *testing.T) {
			s := established(t, nil)
			tt.play(s)
			if got := s.received(); string(got) != tt.got {
				t.Errorf("received %q, want %q", got, tt.got)
			}
			s.state(tt.st)
		})
	}
}

// RFC 2525 section 2.17, RFC 1122 section 4.2.2.13.
func TestClose(t *testing.T) {
	for _, tt := range []struct {
		name string
		play func(s *script)
		out  []want
		st   State
	}{
		{"nothing unread", func(*script) {}, []want{{1, 1, wire.FIN | wire.ACK, 0}}, FinWait1},
		{"unread data", func(s *script) { s.inOut(1, 1, wire.ACK, []byte("abc")) },
			[]want{{1, 4, wire.RST | wire.ACK, 0}}, Closed},
		{"data out of order", func(s *script) { s.inOut(3, 1, wire.ACK, []byte("abc")) },
			[]want{{1, 1, wire.RST | wire.ACK, 0}}, Closed},
		{"data that was read", func(s *script) { s.inOut(1, 1, wire.ACK|wire.PSH, []byte("abc")); s.received() },
			[]want{{1, 4, wire.FIN | wire.ACK, 0}}, FinWait1},
		{"written data is sent", func(s *script) { s.write(20) }, []want{{1, 1, wire.FIN | wire.ACK, 20}}, FinWait1},
		{"in CLOSE-WAIT", func(s *script) { s.inOut(1, 1, wire.FIN|wire.ACK, nil) },
			[]want{{1, 2, wire.FIN | wire.ACK, 0}}, LastAck},
		{"in TIME-WAIT", func(s *script) {
			s.c.CloseWrite(s.now)
			s.flush()
			s.inOut(1, 2, wire.FIN|wire.ACK, nil)
		}, nil, TimeWait},
	} {
		t.Run(tt.name, func(t *testing.T) {
			s := established(t, nil)
			tt.play(s)
			s.expect("Close", s.appClose(), tt.out...)
			s.state(tt.st)
			if s.c.Held() != 0 {
				t.Errorf("%d buffers held", s.c.Held())
			}
			if _, err := s.c.Send.TryWrite([]byte("x")); !errors.Is(err, net.ErrClosed) {
				t.Errorf("write: %v", err)
			}
			s.c.Close(s.now) // again: nothing
			s.expect("second Close", s.flush())
		})
	}
}

// What a connection that was reset had received can be read, until the application
// closes.
func TestCloseAfterReset(t *testing.T) {
	s := established(t, nil)
	s.in(1, 1, wire.ACK, []byte("unread"))
	s.inOut(7, 1, wire.RST, nil)
	s.closed()
	if s.c.Held() != 1 {
		t.Errorf("%d buffers held before Close", s.c.Held())
	}
	s.expect("Close", s.appClose())
	if s.c.Held() != 0 {
		t.Errorf("%d buffers held after Close", s.c.Held())
	}
}

func TestDataAfterClose(t *testing.T) {
	s := established(t, nil)
	s.expect("Close", s.appClose(), seg(1, 1, wire.FIN|wire.ACK, 0))
	s.expect("data that nobody reads", s.inOut(1, 2, wire.ACK, []byte("abc")), seg(2, 1, wire.RST|wire.ACK, 0))
	s.closed()
	s.expect("and more", s.inOut(4, 2, wire.ACK, []byte("abc")))
}

func TestCloseInSynReceived(t *testing.T) {
	s := pending(t)
	s.c.Close(s.now)
	s.expect("Close", s.flush())
	s.expect("the handshake's ACK", s.inOut(1, 1, wire.ACK, nil), seg(1, 1, wire.FIN|wire.ACK, 0))
	s.state(FinWait1)
}

func TestAbort(t *testing.T) {
	s := established(t, nil)
	s.write(100)
	s.flush()
	s.in(1, 1, wire.ACK, []byte("abc"))
	s.c.Abort(s.now)
	s.expect("RST", s.flush(), seg(101, 4, wire.RST|wire.ACK, 0))
	s.closed()
	if got := s.received(); string(got) != "abc" {
		t.Errorf("received %q before the end", got)
	}
	if err := s.recvErr(); err != net.ErrClosed {
		t.Error(err)
	}
	if _, err := s.c.Send.TryWrite([]byte("x")); err != net.ErrClosed {
		t.Errorf("write: %v", err)
	}
	s.c.Abort(s.now)
	s.expect("second Abort", s.flush())
}

func TestFailIsSilent(t *testing.T) {
	s := established(t, nil)
	s.c.Fail(s.now, syscall.ENETDOWN)
	s.expect("Fail", s.flush())
	s.closed()
	if err := s.recvErr(); err != syscall.ENETDOWN {
		t.Error(err)
	}
}

// A connection that we have closed and the peer has not must end.
func TestFinWait2Timeout(t *testing.T) {
	for _, late := range []bool{false, true} {
		s := established(t, nil)
		if late {
			s.c.CloseWrite(s.now)
			s.flush()
			s.inOut(1, 2, wire.ACK, nil)
			s.appClose()
		} else {
			s.appClose()
			s.inOut(1, 2, wire.ACK, nil)
		}
		s.state(FinWait2)
		s.advance(finWait2Timeout - 1)
		s.state(FinWait2)
		s.expect("at the end", s.advance(1))
		s.closed()
	}
}

// A peer that acknowledges but never opens its window holds a closed connection
// for UserTimeout, not for ever; one that is still in use it holds.
func TestClosedConnectionWithClosedWindow(t *testing.T) {
	for _, orphan := range []bool{false, true} {
		s := established(t, nil)
		s.wnd = 0
		s.inOut(1, 1, wire.ACK, nil)
		s.write(100)
		s.flush()
		if orphan {
			s.appClose()
		}
		end := s.now.Add(2 * DefaultUserTimeout)
		for s.now < end && s.c.state != Closed {
			if len(s.advance(time.Second)) > 0 && s.c.state != Closed {
				s.expect("answer to a probe", s.inOut(1, 1, wire.ACK, nil))
			}
		}
		if got := s.c.state == Closed; got != orphan {
			t.Errorf("orphan %v: %v after %v", orphan, s.c.state, 2*DefaultUserTimeout)
		}
	}
}

func TestWriterOutlastsCloseWrite(t *testing.T) {
	s := established(t, nil)
	s.c.Send.mu.Lock() // a writer is at it
	s.c.CloseWrite(s.now)
	s.expect("while it writes", s.flush())
	s.state(Established)
	s.c.Send.fill([]byte("end"))
	s.c.Send.mu.Unlock()
	told := 0
	s.c.Send.Notify = func() { told++ }
	s.c.Send.look()
	s.c.Send.left()
	if told != 1 {
		t.Errorf("notified %d times", told)
	}
	s.c.Kick()
	s.expect("when it has left", s.flush(), seg(1, 1, wire.FIN|wire.ACK, 3))
}
