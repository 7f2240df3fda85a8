//go:build linux

package xdp

import (
	"errors"
	"net"
	"net/netip"
	"strings"
	"testing"
	"time"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"

	"github.com/zctap/zctap/internal/driver"
	"github.com/zctap/zctap/internal/mono"
)

// settle lets the driver take in what has become of the interface.
func settle(t *testing.T, d *Driver, until func() bool) {
	t.Helper()
	for limit := mono.Now().Add(patience); !until(); {
		fatal(t, d.Wait(limit))
		if !mono.Now().Before(limit) {
			t.Fatalf("the driver has not noticed; %+v", d.link)
		}
	}
}

// TestNSDownUp: while the interface is down frames to send are dropped, and
// everything goes on when it is up.
func TestNSDownUp(t *testing.T) {
	w := newWorld(t, worldOptions{only4: true})
	d := w.open(w.config(256))
	w.exchange(d)
	frame := []driver.TxFrame{datagram(t, netip.AddrPortFrom(kernel4, 9), []byte("x"))}
	for range 2 {
		w.change(w.ours, ourEnd, netlink.LinkSetDown)
		// Not known yet, and then known.
		before := d.TxCounters().Down
		if n, err := d.Send(0, frame); n != 1 || err != nil {
			t.Errorf("Send to an interface that has just gone down = %d, %v", n, err)
		}
		settle(t, d, func() bool { return !d.link.up })
		if n, err := d.Send(0, frame); n != 1 || err != nil || d.TxCounters().Down != before+1 {
			t.Errorf("Send to an interface that is down = %d, %v; %+v", n, err, d.TxCounters())
		}
		limit := mono.Now().Add(5 * time.Millisecond)
		if fatal(t, d.Wait(limit)); mono.Now().Before(limit) {
			t.Error("Wait returns before its time while the interface is down")
		}
		w.change(w.ours, ourEnd, netlink.LinkSetUp)
		settle(t, d, func() bool { return d.link.up })
		fatal(t, w.kernel.WaitRunning(kernelEnd, patience))
		w.exchange(d)
	}
	eventually(t, "all buffers are back", func() bool { d.reap(); return d.tx.flying == 0 })
}

// TestNSChanges: another name, link address and MTU while running.
func TestNSChanges(t *testing.T) {
	w := newWorld(t, worldOptions{only4: true})
	d := w.open(w.config(256))
	mac := net.HardwareAddr{2, 0, 0, 9, 9, 9}
	w.change(w.ours, ourEnd, netlink.LinkSetDown)
	w.change(w.ours, ourEnd, func(l netlink.Link) error { return netlink.LinkSetHardwareAddr(l, mac) })
	w.change(w.ours, ourEnd, func(l netlink.Link) error { return netlink.LinkSetName(l, "other") })
	w.change(w.ours, "other", func(l netlink.Link) error { return netlink.LinkSetMTU(l, 9000) })
	w.change(w.ours, "other", netlink.LinkSetUp)
	w.change(w.kernel, kernelEnd, func(l netlink.Link) error { return netlink.LinkSetMTU(l, 9000) })
	settle(t, d, func() bool { return d.link.up && d.link.name == "other" && d.link.mtu == 9000 })
	if d.Name() != ourEnd || d.Caps().MTU != 1500 {
		t.Errorf("name %q and MTU %d; want those of the beginning", d.Name(), d.Caps().MTU)
	}
	copy(w.ourMAC[:], mac)
	w.neighbors(false)
	w.exchange(d)
	conn := w.dialUDP(netip.AddrPortFrom(ours4, 7))
	write(t, conn, noise(1, 8000), 1)
	receive(t, d, driver.NewBatch(8, 64), func(p *packet) bool {
		if len(p.raw) != 8028 {
			t.Errorf("a packet of %d bytes, want 8028", len(p.raw))
		}
		return true
	})
	if d.link.mac != w.ourMAC {
		t.Errorf("sends from %x, want %x", d.link.mac, w.ourMAC)
	}
}

// TestNSGone: an interface that goes away ends a Wait that has no limit, and
// everything after it, and every buffer comes back.
func TestNSGone(t *testing.T) {
	for _, tt := range []struct {
		name string
		go_  func(w *world)
	}{
		{"deleted", func(w *world) { w.change(w.ours, ourEnd, netlink.LinkDel) }},
		{"peer deleted", func(w *world) { w.change(w.kernel, kernelEnd, netlink.LinkDel) }},
		{"moved to another namespace", func(w *world) {
			home := w.handle(w.kernel)
			w.change(w.ours, ourEnd, func(l netlink.Link) error { return netlink.LinkSetNsFd(l, int(home.Fd())) })
		}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			w := newWorld(t, worldOptions{only4: true})
			d := w.open(w.config(256))
			w.exchange(d)
			done := make(chan error, 1)
			go func() {
				for {
					if err := d.Wait(0); err != nil {
						done <- err
						return
					}
				}
			}()
			for !d.waiting.Load() {
				time.Sleep(time.Microsecond)
			}
			tt.go_(w)
			select {
			case err := <-done:
				if !errors.Is(err, unix.ENODEV) || !strings.Contains(err.Error(), ourEnd) {
					t.Errorf("Wait: %v; want ENODEV", err)
				}
			case <-time.After(patience):
				t.Fatal("Wait does not return though the interface is gone")
			}
			if err := d.Poll(0, driver.NewBatch(1, 18)); !errors.Is(err, unix.ENODEV) {
				t.Errorf("Poll: %v; want ENODEV", err)
			}
			if _, err := d.Send(0, nil); !errors.Is(err, unix.ENODEV) {
				t.Errorf("Send: %v; want ENODEV", err)
			}
			fatal(t, d.Close())
		})
	}
}

// TestNSGoneWhileSending: a driver that never waits learns it, too.
func TestNSGoneWhileSending(t *testing.T) {
	w := newWorld(t, worldOptions{only4: true})
	d := w.open(w.config(256))
	w.change(w.ours, ourEnd, netlink.LinkDel)
	frame := []driver.TxFrame{datagram(t, netip.AddrPortFrom(kernel4, 9), []byte("x"))}
	if _, err := d.Send(0, frame); !errors.Is(err, unix.ENODEV) {
		t.Errorf("Send: %v; want ENODEV", err)
	}
}

// TestNSIdle: a Wait for frames that do not come is one system call.
func TestNSIdle(t *testing.T) {
	w := newWorld(t, worldOptions{only4: true})
	d := w.open(w.config(256))
	poll(t, d, driver.NewBatch(8, 64), 0)
	limit := mono.Now().Add(300 * time.Millisecond)
	waits := 0
	for ; mono.Now().Before(limit); waits++ {
		fatal(t, d.Wait(limit))
	}
	// The link may have something to tell in the beginning.
	if s := statsOf(d); waits > 3 || s.RxCalls+s.TxCalls != 0 {
		t.Errorf("%d waits in 300 ms without a frame; %+v", waits, s)
	}
}
