//go:build linux

package kernel

import (
	"encoding/binary"
	"errors"
	"net/netip"
	"os"
	"testing"
	"time"

	"github.com/zctap/zctap/internal/buf"
	"github.com/zctap/zctap/internal/mono"
	"github.com/zctap/zctap/internal/sockq"
)

// TestGathering: only small datagrams may gather, and only where nothing is sent.
func TestGathering(t *testing.T) {
	type rest struct {
		n, size int
		sent    uint64
		gather  bool
	}
	for name, rests := range map[string][]rest{
		"small":     {{4, 1472, 0, false}, {4, 2048, 0, true}, {8, 1, 0, true}, {1, 1, 0, false}},
		"one large": {{4, 100, 0, false}, {4, 2049, 0, false}, {4, 100, 0, false}, {4, 100, 0, true}},
		"answered":  {{8, 100, 0, false}, {8, 100, 10, false}, {8, 100, 20, false}},
		"in turn":   {{4, 100, 0, false}, {4, 100, 10, false}, {4, 100, 10, false}, {4, 100, 10, true}},
	} {
		var g gathering
		g.room.Store(212992)
		now := mono.Time(1e9)
		for i, r := range rests {
			now = now.Add(100 * time.Microsecond)
			for range r.n {
				g.took(r.size)
			}
			if got := g.rest(now, r.sent) > 0; got != r.gather {
				t.Errorf("%s: rest %d: gather %v, want %v", name, i, got, r.gather)
			}
		}
	}
}

// TestGatherTarget: what is to gather fits half of the receive buffer, whatever drivers
// receive into, also when the application has set another one.
func TestGatherTarget(t *testing.T) {
	each(t, options{}, func(w *world) {
		p := w.packet("udp", netip.AddrPortFrom(loopback4, 0), netip.AddrPort{}).(*packetConn)
		for _, set := range []int{0, 64 << 10, 32 << 10} { // which the kernel doubles
			if set > 0 {
				w.ok(p.SetReadBuffer(set))
			}
			room, err := p.sock.ReceiveBuffer()
			w.ok(err)
			if n := p.gathering.target(); n == 0 || n*datagramMemory*2 > room {
				w.Errorf("%d datagrams are to gather in %d bytes", n, room)
			}
		}
	})
}

// A stream of datagrams is let gather, and stays in order. The socket can be closed
// meanwhile.
func TestDatagramsGather(t *testing.T) {
	eachURing(t, options{}, func(w *world, _ *uringBackend) {
		u := w.packet("udp", netip.AddrPortFrom(loopback4, 0), netip.AddrPort{})
		p := w.udpPeer(loopback4)
		to, stop, stopped := u.LocalAddr(), make(chan struct{}), make(chan struct{})
		go func() {
			defer close(stopped)
			b := make([]byte, 1000)
			for seq := uint64(1); ; seq++ {
				select {
				case <-stop:
					return
				default:
				}
				binary.BigEndian.PutUint64(b, seq)
				// Nobody may be there any more.
				_, _ = p.WriteToUDPAddrPort(b, to)
			}
		}()
		defer func() { close(stop); <-stopped }()
		iovs, msgs := make([]buf.Iov, 64), make([]sockq.Message, 64)
		last := uint64(0)
		for w.stats().Events["lingers"] < 3 {
			_, k, err := u.Queue().Recv(iovs, msgs)
			if errors.Is(err, os.ErrDeadlineExceeded) {
				w.Fatalf("datagrams gathered %d times", w.stats().Events["lingers"])
			}
			w.ok(err)
			for i := range iovs[:k] {
				seq := binary.BigEndian.Uint64(iovs[i].Bytes())
				if seq <= last {
					w.Fatalf("datagram %d after %d", seq, last)
				}
				last = seq
			}
			w.giveBack(iovs[:k])
		}
		w.ok(closePacket(u))
	})
}

// Datagrams that are answered one by one do not gather.
func TestDatagramsAnswered(t *testing.T) {
	each(t, options{}, func(w *world) {
		u := w.packet("udp", netip.AddrPortFrom(loopback4, 0), netip.AddrPort{})
		p := w.udpPeer(loopback4)
		for range 2000 {
			_, err := p.WriteToUDPAddrPort([]byte("ask"), u.LocalAddr())
			w.ok(err)
			m, b := w.one(u)
			_, err = u.WriteTo(b, m.Src)
			w.ok(err)
			_, _, err = p.ReadFromUDPAddrPort(make([]byte, 10))
			w.ok(err)
		}
		if n := w.stats().Events["lingers"]; n != 0 {
			w.Errorf("datagrams gathered %d times", n)
		}
	})
}
