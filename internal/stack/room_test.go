package stack

import (
	"net/netip"
	"testing"

	"github.com/zctap/zctap/internal/driver"
	"github.com/zctap/zctap/internal/wire"
)

// The first window is of buffers, times what the driver says that one takes of the
// frames to come.
func TestFirstWindowKnowsRoom(t *testing.T) {
	const mtu, room = 9000, 3840
	window := func(room int) int {
		r := newRig(t, func(c *Config, w *driver.Caps) {
			c.Pool = newPool(t, 64)
			w.MTU, w.RxRoom = mtu, room
		})
		l, err := r.stack.Listen("tcp", netip.AddrPortFrom(us4.Addr(), ourPort), func() bool { return false }, nil)
		if err != nil {
			t.Fatal(err)
		}
		defer l.Close()
		h := wire.TCP{SrcPort: peerPort, DstPort: ourPort, Seq: 1, Flags: wire.SYN, Window: 65535, Options: wire.TCPOptions{MSS: mtu - 40}}
		out := r.deliver(tcpPacket(t, peer4, us4.Addr(), h, nil), whole)
		if len(out) != 1 {
			t.Fatalf("SYN drew %d frames", len(out))
		}
		return int(parse(t, out[0]).tcp.Window)
	}
	// Payload fills buffers; or a segment takes three of them.
	filled, three := window(0), window(room)
	if want := filled / 4096 * ((mtu - 40) / 3); filled == 0 || three != want {
		t.Errorf("first window %d, without room %d; want %d", three, filled, want)
	}
}
