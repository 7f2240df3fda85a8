//go:build linux

package xdp

import (
	"net"
	"net/netip"
	"testing"

	"github.com/zctap/zctap/internal/buf"
	"github.com/zctap/zctap/internal/driver"
)

// TestNSNoAllocation: Poll, Send and Wait allocate nothing.
func TestNSNoAllocation(t *testing.T) {
	if buf.Invariants {
		t.Skip("-tags invariants allocates to remember who had which buffer")
	}
	w := newWorld(t, worldOptions{only4: true, mtu: 9000})
	d := w.open(w.config(512))
	conn := w.dialUDP(netip.AddrPortFrom(ours4, 7))
	in := w.listenUDP(kernel4)
	to := in.LocalAddr().(*net.UDPAddr).AddrPort()
	frames := []driver.TxFrame{datagram(t, to, noise(1, 100)), datagram(t, to, noise(1, 8000))}
	b := driver.NewBatch(32, 64)
	payload := noise(2, 5000)
	got := make([]byte, 9000)
	round := func() {
		write(t, conn, payload, 4)
		for n := 0; n < 4; n += len(b.Frames) {
			fatal(t, d.Wait(0))
			fatal(t, d.Poll(0, b))
			put(d, b)
		}
		if n, err := d.Send(0, frames); n != 2 || err != nil {
			t.Fatal(n, err)
		}
		for range frames {
			if _, _, err := in.ReadFromUDPAddrPort(got); err != nil {
				t.Fatal(err)
			}
		}
	}
	if n := testing.AllocsPerRun(100, round); n != 0 {
		t.Errorf("%v allocations a round", n)
	}
}
