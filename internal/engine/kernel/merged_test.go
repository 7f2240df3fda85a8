//go:build linux

package kernel

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"net"
	"net/netip"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/zctap/zctap/internal/engine"
)

// sendSegments sends b by p, in one piece that the kernel takes for datagrams of
// size bytes (UDP_SEGMENT).
func (w *world) sendSegments(p *net.UDPConn, b []byte, size int, to netip.AddrPort) {
	w.Helper()
	oob := make([]byte, unix.CmsgSpace(2))
	h := unix.Cmsghdr{Level: unix.IPPROTO_UDP, Type: unix.UDP_SEGMENT}
	h.SetLen(unix.CmsgLen(2))
	_, err := binary.Encode(oob, binary.NativeEndian, h)
	w.ok(err)
	binary.NativeEndian.PutUint16(oob[unix.CmsgLen(0):], uint16(size))
	n, _, err := p.WriteMsgUDPAddrPort(b, oob, to)
	w.ok(err)
	if n != len(b) {
		w.Fatalf("sent %d of %d bytes", n, len(b))
	}
}

// Datagrams that the kernel has put together come apart, wherever in the buffers
// their boundaries lie; what is merged costs one message of the call.
func TestDatagramsMerged(t *testing.T) {
	each(t, options{}, func(w *world) {
		for _, addr := range []netip.Addr{loopback4, loopback6} {
			u := w.packet("udp", netip.AddrPortFrom(addr, 0), netip.AddrPort{})
			p := w.udpPeer(addr)
			before := w.stats()
			count := 0
			for _, tc := range []struct{ n, size int }{{10, 3}, {4000, 1000}, {4001, 1000}, {20000, 1448}, {64000, 1400}, {60000, 8000}, {50, 1}} {
				b := at(0, tc.n)
				w.sendSegments(p, b, tc.size, u.LocalAddr())
				for off := 0; off < tc.n; off += tc.size {
					want := b[off:min(off+tc.size, tc.n)]
					m, got := w.one(u)
					if m.Len != len(want) || m.Truncated || m.Src != addrOf(p) || m.Dst != u.LocalAddr() || m.UnixNano == 0 || !bytes.Equal(got, want) {
						w.Fatalf("%d by %d at %d: %+v", tc.n, tc.size, off, m)
					}
					count++
				}
			}
			s := w.stats()
			if n := s.Events["datagrams-merged"] - before.Events["datagrams-merged"]; n != 7 {
				w.Errorf("%d of 7 were merged", n)
			}
			if n := s.Events["datagrams-received"] - before.Events["datagrams-received"]; int(n) != count {
				w.Errorf("%d datagrams counted, %d sent", n, count)
			}
			if held := u.(*packetConn).account.Held(); held > 1 {
				w.Errorf("%d buffers held when all is released; want only the open one", held)
			}
		}
	})
}

// Without room for the largest message nothing is merged: what is cut would be
// whole datagrams.
func TestDatagramsNotMerged(t *testing.T) {
	for _, o := range []options{{tune: func(t *tuning) { t.perMsg = 8 }}, {maxHeld: 30}} {
		t.Run(fmt.Sprint("maxHeld ", o.maxHeld), func(t *testing.T) {
			each(t, o, func(w *world) {
				u := w.packet("udp", netip.AddrPortFrom(loopback4, 0), netip.AddrPort{})
				p := w.udpPeer(loopback4)
				w.sendSegments(p, at(0, 40000), 1000, u.LocalAddr())
				for i := range 40 {
					if m, got := w.one(u); m.Len != 1000 || !bytes.Equal(got, at(int64(i)*1000, 1000)) {
						w.Fatalf("datagram %d: %+v", i, m)
					}
				}
				if n := w.stats().Events["datagrams-merged"]; n != 0 {
					w.Errorf("%d were merged", n)
				}
			})
		})
	}
}

// Nearly without buffers what is merged waits in the kernel, rather than be cut.
func TestDatagramsMergedWait(t *testing.T) {
	each(t, options{buffers: 128}, func(w *world) {
		if !w.loop.merges() {
			return // the reserve for UDP is too small here for anything to be merged
		}
		p := w.udpPeer(loopback4)
		const per = 60
		message := at(0, per*1000)
		// Sockets that nobody reads take what there is, each half of the rest.
		var hogs []engine.PacketConn
		for w.loop.pool.Free() >= 16 && len(hogs) < 12 {
			u := w.packet("udp", netip.AddrPortFrom(loopback4, 0), netip.AddrPort{})
			paused := w.stats().Events["paused"]
			for range 3 {
				w.sendSegments(p, message, 1000, u.LocalAddr())
			}
			w.eventually("a socket that nobody reads is paused, or has all", func() bool {
				return w.stats().Events["paused"] > paused || u.Queue().Len() == 3*per
			})
			hogs = append(hogs, u)
		}
		u := w.packet("udp", netip.AddrPortFrom(loopback4, 0), netip.AddrPort{})
		paused := w.stats().Events["paused"]
		w.sendSegments(p, message, 1000, u.LocalAddr())
		w.eventually("it waits", func() bool { return w.stats().Events["paused"] > paused || u.Queue().Len() > 0 })
		for _, h := range hogs {
			w.ok(closePacket(h))
		}
		for i := range per {
			if m, b := w.one(u); m.Truncated || !bytes.Equal(b, at(int64(i)*1000, 1000)) {
				w.Fatalf("datagram %d: %+v", i, m)
			}
		}
		if s := w.stats(); s.Drops["datagram-behind-truncated"] != 0 || s.Events["datagram-truncated"] != 0 {
			w.Errorf("%d datagrams were cut, %d lost behind them", s.Events["datagram-truncated"], s.Drops["datagram-behind-truncated"])
		}
	})
}
