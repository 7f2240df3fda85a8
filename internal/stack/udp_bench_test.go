package stack

import (
	"fmt"
	"net/netip"
	"testing"

	"github.com/zctap/zctap/internal/buf"
	"github.com/zctap/zctap/internal/driver"
	"github.com/zctap/zctap/internal/sockq"
	"github.com/zctap/zctap/internal/stack/udp"
	"github.com/zctap/zctap/internal/wire"
)

// A datagrams is frames of one sender, for one socket of a rig, and who receives
// them.
type datagrams struct {
	r      *rig
	socket *udp.Socket
	packet []byte // a frame's bytes
	head   int    // of these, the headers
	gso    int
	check  driver.Checksum
	frames []driver.Frame
	frags  []buf.Frag
	iovs   []buf.Iov
	msgs   []sockq.Message
}

// newDatagrams makes frames of n bytes of payload each, a datagram or, with gso,
// several of gso bytes. The socket is connected or, with others, one of many.
func newDatagrams(t testing.TB, n, gso int, check driver.Checksum, connected bool) *datagrams {
	k := &datagrams{r: newRig(t, func(c *Config, _ *driver.Caps) { c.Pool = newPool(t, 4096) }), gso: gso, check: check}
	us, peer := netip.AddrPortFrom(us4.Addr(), 53), netip.AddrPortFrom(peer4, 999)
	var remote netip.AddrPort
	if connected {
		remote = peer
	}
	var err error
	if k.socket, err = k.r.stack.ListenPacket("udp4", us, remote); err != nil {
		t.Fatal(err)
	}
	k.packet = udpPacket(t, peer, us, pattern(1, n))
	k.head = wire.IPv4HeaderLen + wire.UDPHeaderLen
	k.iovs, k.msgs = make([]buf.Iov, 1024), make([]sockq.Message, 1024)
	return k
}

// round delivers n frames in a batch, and takes and returns what they had.
func (k *datagrams) round(t testing.TB, n int) (received int) {
	p := k.r.pool
	p.Reclaim()
	k.frames, k.frags = k.frames[:0], k.frags[:0]
	for range n {
		first := len(k.frags)
		for at := k.head; at < len(k.packet); at += 4096 {
			var id [1]uint16
			if p.Alloc(id[:]) != 1 {
				t.Fatal("out of buffers")
			}
			take := min(len(k.packet)-at, 4096)
			if k.check != driver.Vouched {
				copy(p.Region().Buffer(id[0]), k.packet[at:at+take])
			}
			k.frags = append(k.frags, p.Frag(id[0], 0, take))
		}
		k.frames = append(k.frames, driver.Frame{
			Head: k.packet[:k.head], Frags: k.frags[first:len(k.frags):len(k.frags)], Len: len(k.packet),
			Checksum: k.check, GSOSize: int32(k.gso),
		})
	}
	k.r.stack.Deliver(k.r.now, &driver.Batch{Frames: k.frames})
	if err := k.r.stack.Flush(k.r.now); err != nil {
		t.Fatal(err)
	}
	for {
		got, iovs, more, err := k.socket.Queue.Poll(k.iovs, k.msgs)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := p.Return(k.iovs[:iovs]); err != nil {
			t.Fatal(err)
		}
		if received += got; !more {
			return received
		}
	}
}

// BenchmarkUDP is the whole way of a datagram through us, from the driver's frame to
// the application and its buffer back: one op is one datagram.
func BenchmarkUDP(b *testing.B) {
	for _, bb := range []struct {
		name      string
		n, gso    int
		check     driver.Checksum
		connected bool
	}{
		{"64 bytes", 64, 0, driver.Vouched, false},
		{"1448 bytes", 1448, 0, driver.Vouched, false},
		{"1448 bytes, connected", 1448, 0, driver.Vouched, true},
		{"1448 bytes, checksum verified", 1448, 0, driver.Unverified, false},
		{"1448 bytes, 44 merged", 44 * 1448, 1448, driver.Vouched, false},
	} {
		b.Run(bb.name, func(b *testing.B) {
			k := newDatagrams(b, bb.n, bb.gso, bb.check, bb.connected)
			b.ReportAllocs()
			b.ResetTimer()
			for n := 0; n < b.N; {
				n += k.round(b, 32)
			}
			b.StopTimer()
			k.r.closeSocket(k.socket)
		})
	}
}

// A datagram allocates nothing on its way.
func TestUDPDoesNotAllocate(t *testing.T) {
	if buf.Invariants {
		t.Skip("this build allocates to check itself")
	}
	for _, gso := range []int{0, 100} {
		t.Run(fmt.Sprint("gso ", gso), func(t *testing.T) {
			k := newDatagrams(t, 1000, gso, driver.Unverified, false)
			want := 32
			if gso > 0 {
				want *= 1000 / gso
			}
			k.round(t, 32) // takes the chunks and arrays that the rest uses
			if n := testing.AllocsPerRun(100, func() {
				if got := k.round(t, 32); got != want {
					t.Fatalf("%d datagrams, want %d", got, want)
				}
			}); n > 1 { // a chunk that a collection took
				t.Errorf("%.1f allocations for %d datagrams", n, want)
			}
			k.r.closeSocket(k.socket)
		})
	}
}
