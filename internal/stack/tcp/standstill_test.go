package tcp

import (
	"fmt"
	"testing"
	"time"

	"github.com/zctap/zctap/internal/wire"
)

// flush lets an end send, and returns what the wire has of it, which goes nowhere.
func (e *end) flush() (out []packet) {
	e.sh.WindowCheck()
	for c := e.sh.NextDirty(); c != nil; c = e.sh.NextDirty() {
		c.Output(e.sim.now)
	}
	if err := checkConn(e.c); err != nil {
		e.sim.t.Fatal(err)
	}
	out, e.sim.queue = e.sim.queue, nil
	return out
}

// write is flush of n more bytes of the end's stream.
func (e *end) write(n int) []packet {
	k, err := e.c.Send.TryWrite(stream(e.sent, n))
	if k != n || err != nil {
		e.sim.t.Fatal(k, err)
	}
	e.sent, e.toSend = e.sent+n, e.toSend+n
	e.c.Kick()
	return e.flush()
}

// take is flush of what is to be said about packets.
func (e *end) take(packets ...[]packet) []packet {
	for _, l := range packets {
		for _, p := range l {
			e.deliver(p)
		}
	}
	return e.flush()
}

// TestBothBelieveOldWindows: at both ends the window that was told last is an old, small one,
// which the update that followed it has overtaken; and both have received all that
// the other had sent meanwhile, beyond that window. Their ACKs, with the last number in
// the window, are too old for each other.
//
// It takes two gaps that were to be filled yet when the old windows came: a segment beyond a gap
// is acceptable, and counts (RFC 9293 section 3.10.7.4), while what fills the gap is too old to
// tell the window. Without gaps it cannot be: all that an end has sent when it
// tells the old window was sent before the update, so before the other sent beyond it, and that
// would have to be true of both.
func TestBothBelieveOldWindows(t *testing.T) {
	for _, noSACK := range []bool{false, true} {
		t.Run(fmt.Sprintf("noSACK %v", noSACK), func(t *testing.T) {
			s := newSim(t, 1, wireConfig{delay: time.Millisecond, coalesce: 1, noSACK: noSACK}, 64, func(_ int, c *Config) { c.MaxRecvWindow = 8000 })
			a, b := s.ends[0], s.ends[1]
			a.shut, b.shut = true, true // they write by hand, and do not close
			a.take(b.take(a.take(b.take(a.flush()))))
			if a.c.state != Established || b.c.state != Established || a.c.opt.sack == noSACK {
				t.Fatal(a.c.state, b.c.state, a.c.opt)
			}
			read := func(e *end) []packet { e.read(); return e.flush() }

			b.take(a.take(b.write(6000))) // A does not read it yet
			gapOfB := b.write(1000)
			oldOfB := b.take(a.write(6000))
			beyondOfA := a.take(read(b)) // for the update
			if n := a.c.snd.nxt.Sub(a.c.snd.una); n != 0 || len(beyondOfA) != 0 {
				t.Fatalf("%d bytes under way", n)
			}
			beyondOfA = a.write(6000)
			a.c.acks.now = true
			a.c.touch()
			oldOfA := a.flush()
			b.take(read(a))
			beyondOfB := b.write(testMSS)
			a.take(beyondOfB)
			b.take(oldOfA)
			a.take(oldOfB)
			for _, e := range s.ends {
				if edge := e.c.snd.una.Add(e.c.snd.wnd); e.c.snd.max.LessEq(edge) || e.c.rcv.nxt == s.ends[1-e.i].c.snd.max {
					t.Fatalf("end %d has sent up to %d, %d is the window's edge", e.i, e.c.snd.max-e.c.snd.iss, edge-e.c.snd.iss)
				}
			}
			ackOfB, ackOfA := b.take(beyondOfA), a.take(gapOfB)
			for _, e := range s.ends {
				if e.c.rcv.nxt != s.ends[1-e.i].c.snd.max || e.c.bareSeq() == e.c.snd.max {
					t.Fatalf("end %d has not received all, or sends ACKs that are new enough", e.i)
				}
			}
			s.queue = append(a.take(ackOfB), b.take(ackOfA)...)
			for end := s.now.Add(time.Minute); s.now < end && s.step(); {
				if a.c.snd.una == a.c.snd.max && b.c.snd.una == b.c.snd.max {
					break
				}
			}
			for _, e := range s.ends {
				if e.c.snd.una != e.c.snd.max || e.c.state != Established {
					t.Errorf("end %d, %v: after %v %d bytes are not acknowledged; %+v", e.i, e.c.state, s.now, e.c.snd.max.Sub(e.c.snd.una), e.sh.Stats)
				}
			}
		})
	}
}

// An ACK that is too old is not taken where the peer has no reason to send such ones, nor where
// it tells nothing new, or is more than a window old.
func TestOldAckNotTaken(t *testing.T) {
	for _, tt := range []struct {
		name     string
		wnd      uint16 // that is believed
		seq, ack int
		taken    bool
	}{
		{"the window is open", 60000, 1, 1 + testMSS, false},
		{"it is believed to be smaller than what was sent", 100, 1, 1 + testMSS, true},
		{"of nothing new", 100, 1, 1, false},
		{"of what was never sent", 100, 1, 2 + 2*testMSS, false},
		{"more than a window old", 100, 1 - 1<<30, 1 + testMSS, false},
	} {
		t.Run(tt.name, func(t *testing.T) {
			s := established(t, withSACK)
			s.write(2 * testMSS)
			s.flush()
			s.wnd = tt.wnd
			s.inOut(1, 1, wire.ACK, stream(0, 10))
			una := s.c.snd.una
			s.inOut(tt.seq, tt.ack, wire.ACK, nil)
			if got := s.c.snd.una != una; got != tt.taken {
				t.Errorf("taken: %v", got)
			}
			if wnd := s.c.snd.wnd; wnd != uint32(tt.wnd) {
				t.Errorf("the window is %d", wnd)
			}
		})
	}
}
