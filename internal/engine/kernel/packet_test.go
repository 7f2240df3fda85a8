//go:build linux

package kernel

import (
	"bytes"
	"errors"
	"net"
	"net/netip"
	"os"
	"syscall"
	"testing"
	"time"

	"github.com/zctap/zctap/internal/buf"
	"github.com/zctap/zctap/internal/engine"
	"github.com/zctap/zctap/internal/sockq"
)

func (w *world) packet(network string, local, remote netip.AddrPort) engine.PacketConn {
	w.Helper()
	u, err := w.ListenPacket(network, local, remote)
	w.ok(err)
	u.Queue().SetDeadline(deadlineNow())
	u.SetWriteDeadline(deadlineNow())
	w.Cleanup(func() { closePacket(u) })
	return u
}

func closePacket(u engine.PacketConn) error {
	u.Queue().Close()
	return u.Close()
}

// udpPeer is a UDP socket of the kernel.
func (w *world) udpPeer(addr netip.Addr) *net.UDPConn {
	w.Helper()
	p, err := net.ListenUDP("udp", net.UDPAddrFromAddrPort(netip.AddrPortFrom(addr, 0)))
	w.ok(err)
	p.SetDeadline(deadlineNow())
	w.Cleanup(func() { p.Close() })
	return p
}

func addrOf(p *net.UDPConn) netip.AddrPort { return p.LocalAddr().(*net.UDPAddr).AddrPort() }

// one takes one datagram.
func (w *world) one(u engine.PacketConn) (sockq.Message, []byte) {
	w.Helper()
	iovs, msgs := make([]buf.Iov, 32), make([]sockq.Message, 1)
	_, n, err := u.Queue().Recv(iovs, msgs)
	w.ok(err)
	var b []byte
	for i := range iovs[:n] {
		if !iovs[i].Frag().Copied() {
			w.Error("a view that does not count as copied")
		}
		b = append(b, iovs[i].Bytes()...)
	}
	w.giveBack(iovs[:n])
	return msgs[0], b
}

// Datagrams of every size keep their boundaries, and come with both addresses.
func TestDatagrams(t *testing.T) {
	for _, addr := range []netip.Addr{loopback4, loopback6} {
		t.Run(addr.String(), func(t *testing.T) {
			each(t, options{}, func(w *world) {
				u := w.packet("udp", netip.AddrPortFrom(addr, 0), netip.AddrPort{})
				p := w.udpPeer(addr)
				sizes := []int{0, 1, 100, 1472, 4095, 4096, 4097, 9000, 65507, 0, 3}
				total := 0
				for _, size := range sizes {
					_, err := p.WriteToUDPAddrPort(at(int64(size), size), u.LocalAddr())
					w.ok(err)
					total += size
				}
				for _, size := range sizes {
					m, b := w.one(u)
					if m.Src != addrOf(p) || m.Dst != u.LocalAddr() || m.Len != size || m.Truncated {
						w.Errorf("datagram of %d: %+v", size, m)
					}
					if !bytes.Equal(b, at(int64(size), size)) {
						w.Errorf("datagram of %d: %d bytes, wrong ones", size, len(b))
					}
					// And back.
					n, err := u.WriteTo(b, m.Src)
					if n != size || err != nil {
						w.Errorf("answer of %d: %d, %v", size, n, err)
					}
					back := make([]byte, 1<<16)
					n, from, err := p.ReadFromUDPAddrPort(back)
					if n != size || from != u.LocalAddr() || err != nil || !bytes.Equal(back[:n], b) {
						w.Errorf("answer of %d: %d bytes from %v, %v", size, n, from, err)
					}
				}
				s := w.stats()
				if s.CopiedBytes != uint64(total) || s.SentBytes != uint64(total) || s.ZeroCopyBytes != 0 {
					w.Errorf("stats of %d bytes: %+v", total, s)
				}
			})
		})
	}
}

// A socket on all addresses takes both families, and says which address of ours
// each datagram was sent to.
func TestDatagramsDualStack(t *testing.T) {
	each(t, options{}, func(w *world) {
		u := w.packet("udp", netip.AddrPort{}, netip.AddrPort{})
		for _, dst := range []netip.Addr{loopback4, netip.MustParseAddr("127.0.0.9"), loopback6} {
			own := loopback4
			if dst.Is6() {
				own = loopback6
			}
			p := w.udpPeer(own)
			to := netip.AddrPortFrom(dst, u.LocalAddr().Port())
			_, err := p.WriteToUDPAddrPort([]byte("hello"), to)
			w.ok(err)
			m, b := w.one(u)
			if m.Src != addrOf(p) || m.Dst != to || string(b) != "hello" {
				w.Errorf("to %v: %+v, %q", to, m, b)
			}
			_, err = u.WriteTo([]byte("hi"), m.Src)
			w.ok(err)
			if n, _, err := p.ReadFromUDPAddrPort(make([]byte, 10)); n != 2 || err != nil {
				w.Errorf("answer to %v: %d, %v", m.Src, n, err)
			}
		}
	})
}

func TestDatagramErrors(t *testing.T) {
	each(t, options{}, func(w *world) {
		u := w.packet("udp4", netip.AddrPortFrom(loopback4, 0), netip.AddrPort{})
		p := w.udpPeer(loopback4)
		for _, tc := range []struct {
			name string
			to   netip.AddrPort
			size int
			want error
		}{
			{"no destination", netip.AddrPort{}, 1, syscall.EDESTADDRREQ},
			{"too long", addrOf(p), 65508, syscall.EMSGSIZE},
			{"other family", netip.AddrPortFrom(loopback6, 1), 1, syscall.EAFNOSUPPORT},
		} {
			if n, err := u.WriteTo(make([]byte, tc.size), tc.to); n != 0 || !errors.Is(err, tc.want) {
				w.Errorf("%s: %d, %v, want %v", tc.name, n, err, tc.want)
			}
		}
		u.SetWriteDeadline(time.Unix(1, 0))
		if _, err := u.WriteTo([]byte("x"), addrOf(p)); !errors.Is(err, os.ErrDeadlineExceeded) {
			w.Errorf("past deadline: %v", err)
		}
		w.ok(closePacket(u))
		w.ok(closePacket(u))
		if _, err := u.WriteTo([]byte("x"), addrOf(p)); !errors.Is(err, net.ErrClosed) {
			w.Errorf("closed: %v", err)
		}
	})
}

// A connected socket receives from its peer alone, and sends without an address.
// What an ICMP message says is told once, by a receive or a send, and stops nothing.
func TestDatagramsConnected(t *testing.T) {
	each(t, options{}, func(w *world) {
		p, stranger := w.udpPeer(loopback4), w.udpPeer(loopback4)
		u := w.packet("udp", netip.AddrPort{}, addrOf(p))
		if u.RemoteAddr() != addrOf(p) || u.LocalAddr().Addr() != loopback4 {
			w.Errorf("connected from %v to %v", u.LocalAddr(), u.RemoteAddr())
		}
		_, err := u.WriteTo([]byte("ping"), netip.AddrPort{})
		w.ok(err)
		_, from, err := p.ReadFromUDPAddrPort(make([]byte, 10))
		w.ok(err)
		if from != u.LocalAddr() {
			w.Errorf("sent from %v, want %v", from, u.LocalAddr())
		}
		_, err = stranger.WriteToUDPAddrPort([]byte("strange"), u.LocalAddr())
		w.ok(err)
		_, err = p.WriteToUDPAddrPort([]byte("pong"), u.LocalAddr())
		w.ok(err)
		if m, b := w.one(u); string(b) != "pong" || m.Src != addrOf(p) {
			w.Errorf("received %q, %+v", b, m)
		}

		addr := addrOf(p)
		w.ok(p.Close())
		// Told by a receive: one that waits.
		_, err = u.WriteTo([]byte("x"), netip.AddrPort{})
		w.ok(err)
		if _, _, err := u.Queue().Recv(make([]buf.Iov, 1), make([]sockq.Message, 1)); !errors.Is(err, syscall.ECONNREFUSED) {
			w.Errorf("Recv: %v", err)
		}
		// By a send: the kernel has it ready for whoever comes first, the loop or us.
		w.eventually("the port is known to be unreachable", func() bool {
			_, err := u.WriteTo([]byte("x"), netip.AddrPort{})
			return errors.Is(err, syscall.ECONNREFUSED)
		})
		again, err := net.ListenUDP("udp", net.UDPAddrFromAddrPort(addr))
		w.ok(err)
		defer again.Close()
		_, err = again.WriteToUDPAddrPort([]byte("back"), u.LocalAddr())
		w.ok(err)
		for errors.Is(err, syscall.ECONNREFUSED) || err == nil {
			// What was sent in vain may be told of still.
			iovs := make([]buf.Iov, 1)
			var n int
			if _, n, err = u.Queue().Recv(iovs, make([]sockq.Message, 1)); n > 0 {
				if string(iovs[0].Bytes()) != "back" {
					w.Errorf("received %q", iovs[0].Bytes())
				}
				w.giveBack(iovs[:n])
				break
			}
		}
		w.ok(err)
	})
}

// A datagram that is larger than the buffers there are for it is cut, says so,
// and harms no other.
func TestDatagramTruncated(t *testing.T) {
	each(t, options{tune: func(t *tuning) { t.perMsg = 2 }}, func(w *world) {
		u := w.packet("udp", netip.AddrPortFrom(loopback4, 0), netip.AddrPort{})
		p := w.udpPeer(loopback4)
		for _, size := range []int{8192, 8193, 20_000, 10} {
			_, err := p.WriteToUDPAddrPort(at(0, size), u.LocalAddr())
			w.ok(err)
			m, b := w.one(u)
			if m.Len != size || m.Truncated != (size > 8192) || !bytes.Equal(b, at(0, min(size, 8192))) {
				w.Errorf("datagram of %d: %+v, %d bytes", size, m, len(b))
			}
		}
		if n := w.stats().Events["datagram-truncated"]; n != 2 {
			w.Errorf("%d cut datagrams counted", n)
		}
	})
}

// A socket that nobody reads holds no more than its share; what follows is
// dropped by the kernel, and counted. When it is read again, it goes on.
func TestDatagramBacklog(t *testing.T) {
	const size = 4096
	each(t, options{buffers: 64, maxHeld: 16}, func(w *world) {
		u := w.packet("udp", netip.AddrPortFrom(loopback4, 0), netip.AddrPort{})
		p := w.udpPeer(loopback4)
		sent := 0
		for ; w.stats().Drops["datagram-no-room-in-kernel"] == 0; sent++ {
			_, err := p.WriteToUDPAddrPort(at(int64(sent), size), u.LocalAddr())
			w.ok(err)
			if sent > 1<<20 {
				w.Fatal("nothing was dropped")
			}
		}
		if n := u.(*packetConn).account.Held(); n > 16 {
			w.Errorf("the socket holds %d buffers, want at most 16", n)
		}
		dropped := int(w.stats().Drops["datagram-no-room-in-kernel"])
		for i := range sent - dropped {
			if _, b := w.one(u); !bytes.Equal(b, at(int64(i), size)) {
				w.Fatalf("datagram %d of %d: wrong bytes", i, sent-dropped)
			}
		}
		_, err := p.WriteToUDPAddrPort([]byte("next"), u.LocalAddr())
		w.ok(err)
		if _, b := w.one(u); string(b) != "next" {
			w.Errorf("received %q", b)
		}
		w.ok(closePacket(u))
		if n := w.stats().Drops["datagram-no-room-in-kernel"]; int(n) != dropped {
			w.Errorf("%d drops counted after Close, %d before", n, dropped)
		}
	})
}

// Small datagrams share buffers; empty ones hold none and are bounded all the
// same.
func TestDatagramsSmall(t *testing.T) {
	reserve := func(o *Options) { o.ZCRX.Reserve = 128 } // not less than what 1,000 need
	each(t, options{buffers: 256, options: reserve}, func(w *world) {
		u := w.packet("udp", netip.AddrPortFrom(loopback4, 0), netip.AddrPort{})
		p := w.udpPeer(loopback4)
		const n = 1000
		for i := range n {
			_, err := p.WriteToUDPAddrPort(at(int64(i), 10), u.LocalAddr())
			w.ok(err)
			w.eventually("it is there", func() bool { return u.Queue().Len() == i+1 })
		}
		if held := u.(*packetConn).account.Held(); held > n/maxShares+2 {
			w.Errorf("%d datagrams of 10 bytes hold %d buffers", n, held)
		}
		for i := range n {
			if _, b := w.one(u); !bytes.Equal(b, at(int64(i), 10)) {
				w.Fatalf("datagram %d: wrong bytes", i)
			}
		}
		for i := range maxEmpty + 100 {
			_, err := p.WriteToUDPAddrPort(nil, u.LocalAddr())
			w.ok(err)
			w.eventually("it was received", func() bool {
				return u.Queue().Len()+int(w.stats().Drops["socket-full"]) == i+1
			})
		}
		if got := u.Queue().Len(); got != maxEmpty {
			w.Errorf("%d empty datagrams wait, want %d", got, maxEmpty)
		}
	})
}

// A writer that waits for space in the send buffer goes on when there is some.
func TestDatagramWriteWaits(t *testing.T) {
	each(t, options{}, func(w *world) {
		p := w.udpPeer(loopback4)
		u := w.packet("udp", netip.AddrPortFrom(loopback4, 0), addrOf(p))
		// Loopback frees the space within the call that takes it, so that a
		// send finds none only if it is told so.
		u.(*packetConn).writable.Store(false)
		w.loop.post(command{op: opArmWrite, s: &u.(*packetConn).socket})
		_, err := u.WriteTo([]byte("x"), netip.AddrPort{})
		w.ok(err)
		if n, _, err := p.ReadFromUDPAddrPort(make([]byte, 10)); n != 1 || err != nil {
			w.Errorf("received %d, %v", n, err)
		}
	})
}
