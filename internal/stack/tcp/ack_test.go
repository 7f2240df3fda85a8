package tcp

import (
	"testing"
	"time"

	"github.com/zctap/zctap/internal/wire"
)

func TestDelayedAck(t *testing.T) {
	s := established(t, nil)
	s.expect("small data", s.inOut(1, 1, wire.ACK, stream(0, 100)))
	s.expect("before the timer", s.advance(delayedAck-1))
	s.expect("the timer", s.advance(1), seg(1, 101, wire.ACK, 0))
	s.expect("once", s.advance(time.Second))
	if s.sh.Stats.DelayedAcks != 1 {
		t.Errorf("%+v", s.sh.Stats)
	}
}

// RFC 9293 section 3.8.6.3: an ACK for at least every second full-sized segment.
func TestEverySecondSegment(t *testing.T) {
	s := established(t, nil)
	for i := range 4 {
		s.expect("odd", s.inOut(1+2920*i, 1, wire.ACK, stream(0, 1460)))
		s.expect("even", s.inOut(1461+2920*i, 1, wire.ACK, stream(0, 1460)), seg(1, 2921+2920*i, wire.ACK, 0))
	}
	s.expect("timer", s.advance(time.Second))
}

func TestOneAckABatch(t *testing.T) {
	s := established(t, nil)
	for i := range 40 {
		s.in(1+1460*i, 1, wire.ACK, stream(0, 1460))
	}
	s.expect("batch", s.flush(), seg(1, 1+40*1460, wire.ACK, 0))
}

func TestAckAtOnce(t *testing.T) {
	for _, tt := range []struct {
		name string
		play func(s *script)
		want int // ACK number
	}{
		{"PSH", func(s *script) { s.in(1, 1, wire.ACK|wire.PSH, stream(0, 10)) }, 11},
		{"FIN", func(s *script) { s.in(1, 1, wire.ACK|wire.FIN, stream(0, 10)) }, 12},
		{"in the beginning", func(s *script) { s.c.acks.start(); s.in(1, 1, wire.ACK, stream(0, 10)) }, 11},
		{"duplicate", func(s *script) { s.in(0, 1, wire.ACK, stream(0, 1)) }, 1},
		{"super-segment", func(s *script) { s.in(1, 1, wire.ACK, stream(0, 60000)) }, 60001},
		{"filled gap", func(s *script) {
			s.inOut(11, 1, wire.ACK, stream(10, 10))
			s.in(1, 1, wire.ACK, stream(0, 10))
		}, 21},
		{"partly filled gap", func(s *script) {
			s.inOut(11, 1, wire.ACK, stream(10, 10))
			s.in(1, 1, wire.ACK, stream(0, 5))
		}, 6},
		{"zero window probe", func(s *script) {
			s.c.rcv.adv = s.c.rcv.nxt
			s.sh.MaxHeld = 1
			s.pool.Charge(frags(s.t, s.pool, []byte{1}, 1)[0].Buffer(), s.c.account)
			s.in(1, 1, wire.ACK, stream(0, 1))
			s.t.Cleanup(func() { s.pool.Put(0) })
		}, 1},
	} {
		t.Run(tt.name, func(t *testing.T) {
			s := established(t, nil)
			tt.play(s)
			s.expect("ACK", s.flush(), seg(1, tt.want, wire.ACK, 0))
		})
	}
}

func TestQuickAcks(t *testing.T) {
	s := established(t, nil)
	s.c.acks.start()
	n := 0
	for i := range quickAcks + 1 {
		n += len(s.inOut(1+10*i, 1, wire.ACK, stream(0, 10)))
	}
	if n != quickAcks {
		t.Errorf("%d of %d segments were acknowledged at once, want %d", n, quickAcks+1, quickAcks)
	}
}

// The ACK goes with data if there is any.
func TestPiggyback(t *testing.T) {
	s := established(t, nil)
	s.in(1, 1, wire.ACK|wire.PSH, stream(0, 100))
	s.write(50)
	s.expect("answer", s.flush(), seg(1, 101, wire.ACK, 50))
	s.expect("no ACK of its own", s.advance(delayedAck))
	// From now on the application is taken to answer within delayedAck.
	s.inOut(101, 51, wire.ACK, nil)
	s.expect("request", s.inOut(101, 51, wire.ACK|wire.PSH, stream(0, 100)))
	s.write(50)
	s.expect("answer", s.flush(), seg(51, 201, wire.ACK, 50))
	// Until it does not.
	s.inOut(201, 101, wire.ACK, nil)
	s.expect("request", s.inOut(201, 101, wire.ACK|wire.PSH, stream(0, 100)))
	s.expect("timer", s.advance(delayedAck), seg(101, 301, wire.ACK, 0))
	s.expect("request", s.inOut(301, 101, wire.ACK|wire.PSH, stream(0, 100)), seg(101, 401, wire.ACK, 0))
}

// RFC 5681 section 4.2: each segment out of order is answered at once, also those
// of one batch, so that the peer sees the three duplicates that it waits for.
func TestDuplicateAcks(t *testing.T) {
	dup := seg(1, 1, wire.ACK, 0)
	s := established(t, nil)
	s.expect("one", s.inOut(100, 1, wire.ACK, stream(0, 10)), dup)
	s.in(110, 1, wire.ACK, stream(0, 10))
	s.in(120, 1, wire.ACK, stream(0, 10))
	s.expect("two", s.flush(), dup, dup)
	for i := range 10 {
		s.in(200+10*i, 1, wire.ACK, stream(0, 10))
	}
	s.expect("ten", s.flush(), dup, dup, dup)
	s.expect("none", s.flush())
}

// A peer that repairs a loss has a small window: it gets an ACK for each segment.
func TestQuickAcksAfterLoss(t *testing.T) {
	s := established(t, nil)
	s.inOut(11, 1, wire.ACK, stream(10, 10))
	s.inOut(1, 1, wire.ACK, stream(0, 10))
	for i := range quickAcks {
		s.expect("data", s.inOut(21+10*i, 1, wire.ACK, stream(0, 10)), seg(1, 31+10*i, wire.ACK, 0))
	}
	s.expect("later", s.inOut(21+10*quickAcks, 1, wire.ACK, stream(0, 10)))
}
