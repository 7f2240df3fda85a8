package zctap_test

import (
	"net/netip"
	"testing"

	"github.com/zctap/zctap"
	"github.com/zctap/zctap/internal/enginetest"
	"github.com/zctap/zctap/internal/netns"
	"github.com/zctap/zctap/internal/testenv"
)

var (
	loopback4 = netip.MustParseAddr("127.0.0.1")
	pairA4    = netip.MustParseAddr("192.0.2.1")
	pairB4    = netip.MustParseAddr("192.0.2.2")
	pairA6    = netip.MustParseAddr("2001:db8::1")
	pairB6    = netip.MustParseAddr("2001:db8::2")
	tunOurs4  = netip.MustParsePrefix("10.88.0.2/24")
	tunHost4  = netip.MustParsePrefix("10.88.0.1/24")
	tunOurs6  = netip.MustParsePrefix("fd88::2/64")
	tunHost6  = netip.MustParsePrefix("fd88::1/64")
)

// openCopy opens engine copy beside the kernel's sockets on loopback.
func openCopy(t testing.TB, c zctap.Config) (*zctap.Queue, enginetest.Peer) {
	c.Engine = zctap.Copy
	q, err := zctap.Open(c)
	if err != nil {
		t.Fatal(err)
	}
	return q, enginetest.KernelPeer{Queue: loopback4, Own: loopback4}
}

// openMem opens engine user on a wire in memory, with a second queue as peer.
func openMem(own, peer netip.Addr) func(t testing.TB, c zctap.Config) (*zctap.Queue, enginetest.Peer) {
	return func(t testing.TB, c zctap.Config) (*zctap.Queue, enginetest.Peer) {
		q, p, err := zctap.OpenPair(c, zctap.Config{})
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() {
			if err := p.Close(); err != nil {
				t.Errorf("close of the peer: %v", err)
			}
			if n := p.Leaked(); n != 0 {
				t.Errorf("%d buffers of the peer leaked", n)
			}
		})
		return q, enginetest.QueuePeer{Q: p, Queue: own, Own: peer}
	}
}

// openTUN opens engine user on a TUN device in ns, with ns's kernel as peer.
func openTUN(ns *netns.NS, own, host netip.Addr) func(t testing.TB, c zctap.Config) (*zctap.Queue, enginetest.Peer) {
	return func(t testing.TB, c zctap.Config) (q *zctap.Queue, _ enginetest.Peer) {
		c.Engine, c.Interface = zctap.User, "zctap0"
		c.TUN = &zctap.TUN{
			Name: "zctap0", Addresses: []netip.Prefix{tunOurs4, tunOurs6}, Host: []netip.Prefix{tunHost4, tunHost6},
		}
		err := ns.Do(func() (err error) {
			q, err = zctap.Open(c)
			return err
		})
		if err != nil {
			t.Fatal(err)
		}
		return q, enginetest.KernelPeer{Queue: own, Own: host, In: ns.Do}
	}
}

// openXDP opens engine user by AF_XDP on one end of a veth pair, with the kernel
// at the other end as peer.
func openXDP(ours, theirs *netns.NS, own, peer netip.Prefix, x zctap.XDPConfig) func(t testing.TB, c zctap.Config) (*zctap.Queue, enginetest.Peer) {
	return func(t testing.TB, c zctap.Config) (q *zctap.Queue, _ enginetest.Peer) {
		c.Engine, c.Interface, c.XDP = zctap.User, "veth0", &x
		err := ours.Do(func() (err error) {
			q, err = zctap.Open(c)
			return err
		})
		if err != nil {
			t.Fatal(err)
		}
		return q, enginetest.KernelPeer{Queue: own.Addr(), Own: peer.Addr(), In: theirs.Do}
	}
}

var (
	vethOurs4 = netip.MustParsePrefix("10.89.0.2/24")
	vethPeer4 = netip.MustParsePrefix("10.89.0.1/24")
	vethOurs6 = netip.MustParsePrefix("fd89::2/64")
	vethPeer6 = netip.MustParsePrefix("fd89::1/64")
)

// closeWhole closes a queue of which all buffers have to be back.
func closeWhole(t testing.TB, q *zctap.Queue) {
	t.Helper()
	if err := q.Close(); err != nil {
		t.Errorf("close: %v", err)
	}
	if n := q.Leaked(); n != 0 {
		t.Errorf("%d buffers leaked", n)
	}
}

// newVeth makes two namespaces joined by veth.
func newVeth(t testing.TB, mtu int) (ours, theirs *netns.NS) {
	return newVethOf(t, netns.VethOptions{MTU: mtu})
}

// newVethOf is newVeth with other options than names and addresses.
func newVethOf(t testing.TB, o netns.VethOptions) (ours, theirs *netns.NS) {
	ours, theirs = newNS(t), newNS(t)
	o.NameA, o.AddrA = "veth0", []netip.Prefix{vethOurs4, vethOurs6}
	o.NameB, o.AddrB = "veth1", []netip.Prefix{vethPeer4, vethPeer6}
	err := netns.Veth(ours, theirs, o)
	if err != nil {
		t.Fatal(err)
	}
	return ours, theirs
}

// newNS makes a namespace for a test, or ends it where that can't be.
func newNS(t testing.TB) *netns.NS {
	testenv.NeedRoot(t)
	testenv.NeedTUN(t)
	ns, err := netns.New()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { ns.Close() })
	return ns
}

// deletesLink deletes a link of ns when it is called.
func deletesLink(ns *netns.NS, name string) func(testing.TB) {
	return func(t testing.TB) {
		if err := ns.DeleteLink(name); err != nil {
			t.Fatal(err)
		}
	}
}
