package user

import (
	"net/netip"
	"testing"
	"time"

	"github.com/zctap/zctap/internal/buf"
	"github.com/zctap/zctap/internal/driver"
	"github.com/zctap/zctap/internal/mono"
	"github.com/zctap/zctap/internal/sockq"
)

// A hesitant is a wire that takes its time for the first frames that it brings, as a thread does that
// has to wait for a processor.
type hesitant struct {
	driver.Driver
	long time.Duration
}

func (h *hesitant) Poll(now mono.Time, b *driver.Batch) error {
	err := h.Driver.Poll(now, b)
	if len(b.Frames) > 0 {
		time.Sleep(h.long)
		h.long = 0
	}
	return err
}

// TestArrivalIsPast: no datagram arrives later than it is received, also when the engine did not run between
// its look at the clock and the one at the wall's.
func TestArrivalIsPast(t *testing.T) {
	a, b := newHosts(t, options{wrap: func(d driver.Driver, _ *buf.Pool) driver.Driver {
		return &hesitant{Driver: d, long: epochAge / 2}
	}})
	in := b.listenPacket(t, "udp4", netip.AddrPort{}, netip.AddrPort{})
	out := a.listenPacket(t, "udp4", netip.AddrPort{}, netip.AddrPortFrom(b.addr, in.LocalAddr().Port()))
	for i := range 20 {
		if _, err := out.WriteTo([]byte("x"), netip.AddrPort{}); err != nil {
			t.Fatal(err)
		}
		var iovs [1]buf.Iov
		var msgs [1]sockq.Message
		in.Queue().SetDeadline(time.Now().Add(deadline))
		if _, _, err := in.Queue().Recv(iovs[:], msgs[:]); err != nil {
			t.Fatal(err)
		}
		// The clocks are read one after the other, and may be slewed.
		const apart = time.Millisecond
		if late := time.Until(time.Unix(0, msgs[0].UnixNano)); late > apart {
			t.Errorf("datagram %d arrives in %v", i, late)
		}
		if _, err := b.pool.Return(iovs[:]); err != nil {
			t.Fatal(err)
		}
	}
}
