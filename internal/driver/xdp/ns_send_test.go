//go:build linux

package xdp

import (
	"bytes"
	"net"
	"net/netip"
	"testing"
	"time"

	"github.com/vishvananda/netlink"

	"github.com/zctap/zctap/internal/driver"
	"github.com/zctap/zctap/internal/mono"
	"github.com/zctap/zctap/internal/wire"
)

// datagram is one from ours to the kernel's end.
func datagram(t testing.TB, dst netip.AddrPort, payload []byte) driver.TxFrame {
	t.Helper()
	src := ours4
	if dst.Addr().Is6() {
		src = ours6
	}
	f := packetTo(t, dst.Addr(), wire.ProtoUDP, payload)
	l4 := f.CsumStart
	n := wire.UDPHeaderLen + len(payload)
	_, err := wire.PutIP(f.Head[14:], &wire.IPHeader{Src: src, Dst: dst.Addr(), Proto: wire.ProtoUDP, HopLimit: 64, PayloadLen: n})
	fatal(t, err)
	_, err = wire.PutUDP(f.Head[l4:], &wire.UDP{SrcPort: 7, DstPort: dst.Port(), PayloadLen: len(payload)})
	fatal(t, err)
	fatal(t, wire.FillPartialChecksum(f.Head[l4:], wire.ProtoUDP, wire.PseudoSum(src, dst.Addr(), wire.ProtoUDP, n)))
	return f
}

// listenUDP makes a socket of the kernel's end.
func (w *world) listenUDP(addr netip.Addr) *net.UDPConn {
	w.t.Helper()
	var c *net.UDPConn
	err := w.kernel.Do(func() (err error) {
		c, err = net.ListenUDP("udp", net.UDPAddrFromAddrPort(netip.AddrPortFrom(addr, 0)))
		return err
	})
	if err == nil {
		err = c.SetReadBuffer(4 << 20)
	}
	if err == nil {
		err = c.SetReadDeadline(time.Now().Add(patience))
	}
	if err != nil {
		w.t.Fatal(err)
	}
	w.t.Cleanup(func() { c.Close() })
	return c
}

// sendAll sends frames, waiting for room where that is needed.
func sendAll(t testing.TB, d *Driver, frames []driver.TxFrame) {
	t.Helper()
	for limit := mono.Now().Add(patience); ; {
		n, err := d.Send(0, frames)
		if err != nil {
			t.Fatal(err)
		}
		if frames = frames[n:]; len(frames) == 0 {
			return
		}
		if !mono.Now().Before(limit) {
			t.Fatalf("%d frames are not taken; %+v", len(frames), statsOf(d))
		}
		fatal(t, d.Wait(limit))
	}
}

// TestNSSend: the kernel takes what the driver sends: it verifies the checksums,
// for a frame of an AF_XDP socket says nothing of them.
func TestNSSend(t *testing.T) {
	for _, tt := range []struct {
		name   string
		mtu    int
		kernel netip.Addr
		sizes  []int
	}{
		{"IPv4", 1500, kernel4, []int{0, 1, 17, 1000, 1472}},
		{"IPv6", 1500, kernel6, []int{1, 1000, 1452}},
		{"9000", 9000, kernel4, []int{1, 4054, 4055, 8972}},
		{"9000 IPv6", 9000, kernel6, []int{1, 4034, 4035, 8952}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			w := newWorld(t, worldOptions{mtu: tt.mtu})
			d := w.open(w.config(512))
			conn := w.listenUDP(tt.kernel)
			to := conn.LocalAddr().(*net.UDPAddr).AddrPort()
			var frames []driver.TxFrame
			for i := range 40 {
				for _, size := range tt.sizes {
					frames = append(frames, datagram(t, to, noise(uint64(i), size)))
				}
			}
			// Of these the kernel gets to see neither.
			bad := datagram(t, to, []byte("wrong checksum"))
			bad.CsumStart = 0
			sendAll(t, d, []driver.TxFrame{bad, datagram(t, to, noise(1, tt.mtu))})
			sendAll(t, d, frames)
			got := make([]byte, 9000)
			for i := range frames {
				n, from, err := conn.ReadFromUDPAddrPort(got)
				if err != nil {
					t.Fatalf("datagram %d of %d: %v; %+v", i, len(frames), err, statsOf(d))
				}
				if want := noise(uint64(i/len(tt.sizes)), tt.sizes[i%len(tt.sizes)]); !bytes.Equal(got[:n], want) || from.Port() != 7 {
					t.Fatalf("datagram %d of %d bytes from %v is not the one that was sent, of %d", i, n, from, len(want))
				}
			}
			s := statsOf(d)
			if s.TxFrames != uint64(len(frames))+1 || s.TxDropped != 1 || d.TxCounters().Refused != 1 {
				t.Errorf("stats %+v", s)
			}
			if q := d.QueueStats()[0]; q.InvalidTX != 0 {
				t.Errorf("the kernel refused %d descriptors", q.InvalidTX)
			}
			eventually(t, "all buffers are back", func() bool { d.reap(); return d.tx.flying == 0 })
		})
	}
}

// TestNSSendNoCarrier: what the wire drops is counted, and the next frames go out.
func TestNSSendNoCarrier(t *testing.T) {
	w := newWorld(t, worldOptions{only4: true})
	d := w.open(w.config(512))
	conn := w.listenUDP(kernel4)
	to := conn.LocalAddr().(*net.UDPAddr).AddrPort()
	frames := []driver.TxFrame{datagram(t, to, []byte("1")), datagram(t, to, []byte("2")), datagram(t, to, []byte("3"))}
	w.change(w.kernel, kernelEnd, netlink.LinkSetDown)
	sendAll(t, d, frames)
	if c := d.TxCounters(); c.Wire != 3 || d.tx.pending {
		t.Errorf("counters %+v, pending %v; want 3 dropped by the wire", c, d.tx.pending)
	}
	w.change(w.kernel, kernelEnd, netlink.LinkSetUp)
	fatal(t, w.ours.WaitRunning(ourEnd, patience))
	w.neighbors(false)
	sendAll(t, d, frames)
	got := make([]byte, 10)
	for _, want := range []string{"1", "2", "3"} {
		if n, _, err := conn.ReadFromUDPAddrPort(got); err != nil || string(got[:n]) != want {
			t.Fatalf("received %q, %v; want %q", got[:n], err, want)
		}
	}
}
