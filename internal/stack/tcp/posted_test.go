package tcp

import (
	"testing"

	"github.com/zctap/zctap/internal/wire"
)

// A driver whose frames begin in buffers of their own, headers included, has fewer
// bytes of a long segment in a buffer than its size.
func TestStartEstimate(t *testing.T) {
	const bufferSize = 4096
	for _, tt := range []struct{ mss, room, want int }{
		{1460, 0, 1460},
		{60000, 0, bufferSize}, // super-segments fill buffers
		{1460, 3826, 1460},
		{3726, 3826, 3726}, // with all headers it just fits
		{3727, 3826, 1863}, // two buffers
		{8948, 3826, 2982}, // MTU 9000: three
	} {
		s := newScript(t, 1024, func(c *Config) { c.FrameRoom = tt.room })
		c := newConn(s.sh, s.now, testTuple, tt.mss)
		if got := c.bytesPerBuffer(); got != tt.want {
			t.Errorf("segments of %d, %d bytes in a buffer: estimate of %d, want %d", tt.mss, tt.room, got, tt.want)
		}
	}
}

// What lies ready to receive into makes up for half of the reserve: a peer whose
// segments took a few buffers more than the average is not refused.
func TestPostedIsReserve(t *testing.T) {
	for _, tt := range []struct {
		posted, free int
		taken        bool
	}{
		{0, 8, true}, {0, 7, false}, // an eighth of 64
		{2, 6, true}, {2, 5, false},
		{100, 4, true}, {100, 3, false},
	} {
		s := scaled(t, 64, func(c *Config) { c.Posted = tt.posted })
		for i := range 10 {
			s.inOut(1+1460*i, 1, wire.ACK, stream(1460*i, 1460))
		}
		b := s.take(64 - 10 - 1 - tt.free) // one is for the segment
		s.inOut(14601, 1, wire.ACK|wire.PSH, stream(14600, 1460))
		if refused := s.sh.Stats.Drops.OverShare == 1; refused == tt.taken {
			t.Errorf("%d posted, %d free: refused is %v", tt.posted, tt.free, refused)
		}
		s.giveBack(b)
	}
}
