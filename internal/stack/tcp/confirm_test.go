package tcp

import (
	"net/netip"
	"testing"
	"time"

	"github.com/zctap/zctap/internal/wire"
)

// RFC 4861 section 7.3.1: an ACK of something new and data that is new confirm that
// the peer hears us, once in a while; what comes again, out of order or of nothing
// does not.
func TestConfirm(t *testing.T) {
	told := 0
	s := established(t, func(s *script) {
		s.sh.Confirm = func(peer netip.Addr) {
			if peer != testTuple.Remote.Addr() {
				t.Errorf("%v is confirmed", peer)
			}
			told++
		}
	})
	const pause = 2 * time.Second // more than what lies between two
	expect := func(what string, want int, f func()) {
		t.Helper()
		s.advance(pause)
		told = 0
		f()
		s.flush()
		if told != want {
			t.Errorf("%s: confirmed %d times, want %d", what, told, want)
		}
	}
	expect("data", 1, func() { s.in(1, 1, wire.ACK, stream(0, 100)) })
	expect("the same data", 0, func() { s.in(1, 1, wire.ACK, stream(0, 100)) })
	expect("out of order", 0, func() { s.in(201, 1, wire.ACK, stream(200, 100)) })
	expect("nothing", 0, func() { s.in(101, 1, wire.ACK, nil) })
	expect("a thousand in a round", 1, func() {
		s.in(101, 1, wire.ACK, stream(100, 200))
		for i := range 1000 {
			s.in(301+i, 1, wire.ACK, stream(300+i, 1))
		}
	})
	s.write(100)
	s.flush()
	expect("an ACK of nothing new", 0, func() { s.in(1301, 1, wire.ACK, nil) })
	expect("an ACK", 1, func() { s.in(1301, 101, wire.ACK, nil) })
	expect("the same ACK", 0, func() { s.in(1301, 101, wire.ACK, nil) })
}
