package stack

import (
	"bytes"
	"net/netip"
	"testing"
	"time"

	"github.com/zctap/zctap/internal/driver"
	"github.com/zctap/zctap/internal/stack/tcp"
	"github.com/zctap/zctap/internal/wire"
	"github.com/zctap/zctap/test/exchanges"
)

// FuzzDeliver gives any bytes, in any layout, to a stack that has a listener, a
// socket and a connection. It must not panic, and not lose a buffer. The first
// bytes of the input say how the frame lies in memory and what the driver says of
// it; vouched frames let the fuzzer past the checksums.
func FuzzDeliver(f *testing.F) {
	us, peer := us4.Addr(), peer4
	ports := func(h wire.TCP) wire.TCP {
		h.SrcPort, h.DstPort = 999, 80
		return h
	}
	options := wire.TCPOptions{MSS: 1460, SACKPermitted: true, HasTimestamps: true, HasWindowScale: true, WindowScale: 7}
	for _, b := range [][]byte{
		nil,
		udpPacket(f, netip.AddrPortFrom(peer, 9), netip.AddrPortFrom(us, 53), pattern(1, 60)),
		udpPacket(f, netip.AddrPortFrom(peer6, 9), netip.AddrPortFrom(us6.Addr(), 53), pattern(1, 60)),
		udpPacket(f, netip.AddrPortFrom(peer, 9), netip.AddrPortFrom(us, 54), nil),
		pingPacket(f, pairs[0], pattern(1, 10)),
		pingPacket(f, pairs[1], pattern(1, 10)),
		tcpPacket(f, peer, us, ports(wire.TCP{Flags: wire.SYN, Options: options}), nil),
		tcpPacket(f, peer, us, ports(wire.TCP{Flags: wire.ACK, Seq: 1, Ack: 1}), pattern(1, 99)),
		tcpPacket(f, peer, us, ports(wire.TCP{Flags: wire.RST | wire.ACK}), nil),
		tcpPacket(f, peer, us, ports(wire.TCP{Flags: wire.FIN | wire.ACK}), pattern(1, 9)),
		portUnreachable(f, pairs[0], tcpPacket(f, us, peer, wire.TCP{SrcPort: 80, DstPort: 999, Flags: wire.SYN}, nil)),
		portUnreachable(f, pairs[1], udpPacket(f, netip.AddrPortFrom(us6.Addr(), 53), netip.AddrPortFrom(peer6, 9), nil)),
	} {
		f.Add(append([]byte{0, 255, 0}, b...))
		if len(b) > 60 {
			// The input is delivered whole, then in two halves: fragments in one.
			f.Add(append([]byte{0, 255, 1}, bytes.Join(fragmentsOf(f, b, 7, 56), nil)...))
		}
		f.Add(append([]byte{40, 7, 1}, b...))
		f.Add(append([]byte{12, 20, 3}, b...))
	}
	recordings, err := exchanges.All()
	if err != nil {
		f.Fatal(err)
	}
	for _, x := range recordings {
		for _, frame := range x.Frames {
			if p := exchanges.Packet(frame); p != nil {
				f.Add(append([]byte{0, 255, 0}, p...))
			}
			f.Add(append([]byte{54, 255, 2}, frame...)) // behind a link header, its head apart
		}
	}
	f.Fuzz(func(t *testing.T, in []byte) {
		if len(in) < 3 || len(in) > 9000 {
			return
		}
		how, b := in[:3], in[3:]
		link := 0
		if how[2]&2 != 0 {
			link = wire.EthernetHeaderLen
		}
		r := newRig(t, func(c *Config, w *driver.Caps) {
			c.Pool = newPool(t, 16) // few: a region is made for each input
			w.LinkHeader = link
			if how[2]&8 != 0 {
				c.MaxPending = -1 // SYN cookies
			}
		})
		var accepted []*tcp.Conn
		l, err := r.stack.Listen("tcp", netip.AddrPortFrom(netip.Addr{}, 80), func() bool { return false },
			func(c *tcp.Conn) { accepted = append(accepted, c) })
		if err != nil {
			t.Fatal(err)
		}
		u, err := r.stack.ListenPacket("udp", netip.AddrPortFrom(netip.Addr{}, 53), netip.AddrPort{})
		if err != nil {
			t.Fatal(err)
		}
		dialed, err := r.stack.Dial(r.now, "tcp", netip.AddrPortFrom(us4.Addr(), 80), netip.AddrPortFrom(peer4, 999))
		if err != nil {
			t.Fatal(err)
		}
		r.deliverFrame()
		// The bytes come as one frame, then cut in two, so that the second has
		// the state that the first made.
		for _, part := range [][]byte{b, b[:len(b)/2], b[len(b)/2:]} {
			fr := r.frame(part, layout{int(how[0]), []int{int(how[1]) + 1, 4096}})
			if how[2]&1 != 0 {
				fr.Checksum = driver.Vouched
			}
			if how[2]&4 != 0 {
				fr.GSOSize = 536
			}
			r.deliverFrame(fr)
			r.now = r.now.Add(100 * time.Millisecond)
			r.stack.Advance(r.now)
			r.deliverFrame()
		}
		for _, c := range append(accepted, dialed) {
			c.Abort(r.now)
			if c.Recv != nil {
				c.Recv.Close()
				c.Recv.Drain()
			}
		}
		for _, c := range r.stack.Conns() {
			c.Abort(r.now)
		}
		l.Close()
		r.closeSocket(u)
		r.deliverFrame()
		r.stack.DropFragments()
		if n := r.stack.Stats().Conns; n != 0 {
			t.Errorf("%d connections left", n)
		}
		r.wantFree()
	})
}
