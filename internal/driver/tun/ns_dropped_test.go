//go:build linux

package tun

import (
	"net"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/zctap/zctap/internal/driver"
	"github.com/zctap/zctap/internal/mono"
	"github.com/zctap/zctap/internal/netns"
	"github.com/zctap/zctap/internal/wire"
)

// TestNSDropped: what comes while nobody receives is received later, or counted as dropped.
func TestNSDropped(t *testing.T) {
	ns, d := newWorld(t, 64)
	c := udpPeer(t, ns)
	const n = 2000
	for range n {
		if _, err := c.Write([]byte("datagram")); err != nil {
			t.Fatal(err)
		}
	}
	// The kernel may send a few packets of IPv6's own besides, before or meanwhile; none is
	// dropped once there is room again.
	received := datagrams(t, d)
	dropped := d.Dropped()
	if least := uint64(n - received); received == 0 || received == n || dropped < least || dropped > least+20 {
		t.Errorf("%d datagrams of %d received, %d packets dropped", received, n, dropped)
	}
	if again := d.Dropped(); again != dropped {
		t.Errorf("%d packets dropped, and %d when nothing more came", dropped, again)
	}
	if err := d.Close(); err != nil {
		t.Fatal(err)
	}
	if after := d.Dropped(); after != dropped {
		t.Errorf("%d packets dropped, %d after Close", dropped, after)
	}
}

// TestNSDroppedBefore: what an interface has dropped before it was attached to does not count.
func TestNSDroppedBefore(t *testing.T) {
	ns := newNS(t)
	first := open(t, ns, Config{Pool: newPool(t, 64, true)})
	connect(t, ns, first)
	if err := unix.IoctlSetInt(first.fd, unix.TUNSETPERSIST, 1); err != nil {
		t.Fatal(err)
	}
	c := udpPeer(t, ns)
	for range 2000 {
		if _, err := c.Write([]byte("datagram")); err != nil {
			t.Fatal(err)
		}
	}
	if first.Dropped() == 0 {
		t.Error("nothing was dropped")
	}
	name := first.Name()
	if err := first.Close(); err != nil {
		t.Fatal(err)
	}
	second := open(t, ns, Config{Name: name, Pool: newPool(t, 64, true)})
	if n := second.Dropped(); n > 20 {
		t.Errorf("%d packets dropped at once", n)
	}
}

// udpPeer is a socket of the kernel's that is connected to us.
func udpPeer(t *testing.T, ns *netns.NS) (c net.Conn) {
	t.Helper()
	err := ns.Do(func() (err error) {
		c, err = net.Dial("udp", net.JoinHostPort(ours4.String(), "9"))
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { c.Close() })
	return c
}

// datagrams receives all that waits, and returns how many datagrams for us were among it.
func datagrams(t *testing.T, d *Driver) (n int) {
	t.Helper()
	b := driver.NewBatch(64, 64*len(d.rx.bufs))
	for {
		if err := d.Poll(mono.Now(), b); err != nil {
			t.Fatal(err)
		}
		if len(b.Frames) == 0 {
			return n
		}
		for i := range b.Frames {
			if p := dissect(t, d, &b.Frames[i]); p.ip.Dst == ours4 && p.ip.Proto == wire.ProtoUDP {
				n++
			}
		}
		put(d, b)
	}
}
