//go:build linux

package zctap_test

import (
	"net"
	"net/netip"
	"os"
	"testing"

	"github.com/zctap/zctap"
	"github.com/zctap/zctap/internal/enginetest"
	"github.com/zctap/zctap/internal/netns"
)

// These tests run in the guest of a lab machine (lab/scenario), on a kernel that
// has all of zcrx, and as ZCTAP_LAB_NIC a NIC that has header split. In
// ZCTAP_LAB_PEER, a network namespace, is what its wire leads to.

// needGuest skips what is not for this machine.
func needGuest(t testing.TB, env ...string) (values []string) {
	for _, name := range append(env, "ZCTAP_LAB") {
		v := os.Getenv(name)
		if v == "" {
			t.Skipf("%s is not set: this test runs in a lab machine (make lab)", name)
		}
		values = append(values, v)
	}
	return values
}

// openNoDevice opens engine zcrx without a device, with the kernel's sockets on
// loopback as peer.
func openNoDevice(t testing.TB, c zctap.Config) (*zctap.Queue, enginetest.Peer) {
	c.Engine, c.ZCRX = zctap.ZCRX, &zctap.ZCRXConfig{NoDevice: true}
	q, err := zctap.Open(c)
	if err != nil {
		t.Fatal(err)
	}
	return q, enginetest.KernelPeer{Queue: loopback4, Own: loopback4}
}

// openNoDeviceRings is openNoDevice with three rings that share the queue.
func openNoDeviceRings(t testing.TB, c zctap.Config) (*zctap.Queue, enginetest.Peer) {
	c.Engine, c.ZCRX = zctap.ZCRX, &zctap.ZCRXConfig{NoDevice: true, Rings: 3}
	q, err := zctap.Open(c)
	if err != nil {
		t.Fatal(err)
	}
	return q, enginetest.KernelPeer{Queue: loopback4, Own: loopback4}
}

// openNIC opens engine zcrx on the lab's NIC, with so many rings that share the queue.
func openNIC(name string, rings int, own, peer netip.Addr, ns *netns.NS) func(t testing.TB, c zctap.Config) (*zctap.Queue, enginetest.Peer) {
	return func(t testing.TB, c zctap.Config) (*zctap.Queue, enginetest.Peer) {
		c.Engine, c.Interface, c.ZCRX = zctap.ZCRX, name, &zctap.ZCRXConfig{SteerDials: true, Rings: rings}
		q, err := zctap.Open(c)
		if err != nil {
			t.Fatal(err)
		}
		return q, enginetest.KernelPeer{Queue: own, Own: peer, In: ns.Do}
	}
}

func TestLabConformanceZCRXNoDevice(t *testing.T) {
	needGuest(t)
	enginetest.Run(t, enginetest.Setup{Open: openNoDevice, Copies: true, AnyGroup: true, Merges: true, Refusals: true})
}

func TestLabConformanceZCRXNoDeviceRings(t *testing.T) {
	needGuest(t)
	enginetest.Run(t, enginetest.Setup{Open: openNoDeviceRings, Conns: 100, Rings: 3, Copies: true, AnyGroup: true, Merges: true, Refusals: true})
}

func TestLabConformanceZCRX(t *testing.T) { conformOnNIC(t, 1, 0) }

func TestLabConformanceZCRXRings(t *testing.T) { conformOnNIC(t, 3, 100) }

func conformOnNIC(t *testing.T, rings, conns int) {
	env := needGuest(t, "ZCTAP_LAB_NIC", "ZCTAP_LAB_PEER")
	ns, err := netns.Open(env[1])
	if err != nil {
		t.Fatal(err)
	}
	defer ns.Close()
	var peer netip.Addr
	own := addrOf(t, env[0])
	if err := ns.Do(func() error { peer = addrOf(t, ""); return nil }); err != nil {
		t.Fatal(err)
	}
	enginetest.Run(t, enginetest.Setup{Open: openNIC(env[0], rings, own, peer, ns), Conns: conns, Refusals: true})
}

// addrOf is the IPv4 address of an interface; without a name of the first that
// is not the loopback.
func addrOf(t testing.TB, name string) netip.Addr {
	ifaces, err := net.Interfaces()
	if err != nil {
		t.Fatal(err)
	}
	for _, i := range ifaces {
		if name != "" && i.Name != name || i.Flags&net.FlagLoopback != 0 {
			continue
		}
		addrs, err := i.Addrs()
		if err != nil {
			t.Fatal(err)
		}
		for _, a := range addrs {
			if p, err := netip.ParsePrefix(a.String()); err == nil && p.Addr().Is4() {
				return p.Addr()
			}
		}
	}
	t.Fatalf("interface %q has no IPv4 address", name)
	return netip.Addr{}
}
