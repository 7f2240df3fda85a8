//go:build linux

package xdp

import (
	"net"
	"net/netip"
	"os"
	"testing"
	"time"

	bpf "github.com/cilium/ebpf/link"
	"github.com/vishvananda/netlink"

	"github.com/zctap/zctap/internal/buf"
	"github.com/zctap/zctap/internal/driver"
	"github.com/zctap/zctap/internal/mono"
	"github.com/zctap/zctap/internal/netns"
	"github.com/zctap/zctap/internal/testenv"
	"github.com/zctap/zctap/internal/wire"
)

// Addresses of the kernel's end of a test's veth pair, and of ours, which is the
// driver's alone: the kernel at that end has none.
var (
	kernel4, ours4 = netip.MustParseAddr("10.9.1.1"), netip.MustParseAddr("10.9.1.2")
	kernel6, ours6 = netip.MustParseAddr("fd09:1::1"), netip.MustParseAddr("fd09:1::2")
)

const (
	ourEnd    = "zt0"
	kernelEnd = "k0"
)

// patience bounds what a test waits for.
const patience = 20 * time.Second

// A world is a veth pair between two namespaces, with a kernel at one end and a
// driver, when it is opened, at the other.
type world struct {
	t            testing.TB
	ours, kernel *netns.NS
	ourMAC       [6]byte
	kernelMAC    [6]byte
	index        int // of our end
	program      *program
}

type worldOptions struct {
	mtu    int                // 0: 1,500
	queues int                // of our end; 0: 1
	only4  bool               // no IPv6, hence no frame that the test did not cause
	attach bpf.XDPAttachFlags // 0: XDPDriverMode
}

func newWorld(t testing.TB, o worldOptions) *world {
	t.Helper()
	testenv.NeedRoot(t)
	w := &world{t: t}
	for _, ns := range []**netns.NS{&w.ours, &w.kernel} {
		n, err := netns.New()
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { n.Close() })
		*ns = n
	}
	w.addVeth(max(o.queues, 1))
	addrs := []netip.Prefix{netip.PrefixFrom(kernel4, 24), netip.PrefixFrom(kernel6, 64)}
	if o.only4 {
		addrs = addrs[:1]
		if err := w.kernel.SetSysctl("net/ipv6/conf/all/disable_ipv6", "1"); err != nil {
			t.Fatal(err)
		}
	}
	for _, e := range []struct {
		ns    *netns.NS
		name  string
		addrs []netip.Prefix
		mac   *[6]byte
	}{
		{w.ours, ourEnd, nil, &w.ourMAC},
		{w.kernel, kernelEnd, addrs, &w.kernelMAC},
	} {
		if err := e.ns.ConfigureLink(e.name, e.addrs, o.mtu); err != nil {
			t.Fatal(err)
		}
		l := w.link(e.ns, e.name)
		*e.mac = [6]byte(l.Attrs().HardwareAddr)
		if e.name == ourEnd {
			w.index = l.Attrs().Index
		}
	}
	for _, ns := range []struct {
		*netns.NS
		name string
	}{{w.ours, ourEnd}, {w.kernel, kernelEnd}} {
		if err := ns.WaitRunning(ns.name, patience); err != nil {
			t.Fatal(err)
		}
	}
	err := w.kernel.Do(func() error { return netns.WaitAddresses(addrs, patience) })
	if err != nil {
		t.Fatal(err)
	}
	w.neighbors(!o.only4)
	w.program = newProgram(t)
	if o.attach == 0 {
		o.attach = bpf.XDPDriverMode
	}
	w.program.attach(w.ours, w.index, o.attach)
	return w
}

// addVeth makes the pair. The kernel's end has as many send queues as ours has
// receive queues: a frame stays with its queue's number.
func (w *world) addVeth(queues int) {
	w.t.Helper()
	home := w.handle(w.kernel)
	err := w.ours.Do(func() error {
		attrs := netlink.NewLinkAttrs()
		attrs.Name = ourEnd
		attrs.NumRxQueues, attrs.NumTxQueues = queues, queues
		return netlink.LinkAdd(&netlink.Veth{
			LinkAttrs: attrs, PeerName: kernelEnd, PeerNamespace: netlink.NsFd(home.Fd()),
			PeerNumTxQueues: uint32(queues), PeerNumRxQueues: uint32(queues), PeerTxQLen: -1,
		})
	})
	if err != nil {
		w.t.Fatal(err)
	}
}

// handle is a namespace's file, until the test ends.
func (w *world) handle(ns *netns.NS) (f *os.File) {
	w.t.Helper()
	err := ns.Do(func() (err error) { f, err = os.Open("/proc/thread-self/ns/net"); return err })
	if err != nil {
		w.t.Fatal(err)
	}
	w.t.Cleanup(func() { f.Close() })
	return f
}

func (w *world) link(ns *netns.NS, name string) (l netlink.Link) {
	w.t.Helper()
	err := ns.Do(func() (err error) { l, err = netlink.LinkByName(name); return err })
	if err != nil {
		w.t.Fatal(err)
	}
	return l
}

// change changes the link of one end.
func (w *world) change(ns *netns.NS, name string, f func(l netlink.Link) error) {
	w.t.Helper()
	l := w.link(ns, name)
	if err := ns.Do(func() error { return f(l) }); err != nil {
		w.t.Fatal(err)
	}
}

// neighbors tells the kernel our link address: nobody answers for it here.
func (w *world) neighbors(six bool) {
	w.t.Helper()
	w.change(w.kernel, kernelEnd, func(l netlink.Link) error {
		for _, ip := range []netip.Addr{ours4, ours6} {
			if ip.Is6() && !six {
				continue
			}
			err := netlink.NeighSet(&netlink.Neigh{
				LinkIndex: l.Attrs().Index, State: netlink.NUD_PERMANENT,
				IP: ip.AsSlice(), HardwareAddr: net.HardwareAddr(w.ourMAC[:]),
			})
			if err != nil {
				return err
			}
		}
		return nil
	})
}

// config is a Config for our end, with a pool of so many buffers.
func (w *world) config(buffers int) Config {
	return Config{
		Interface: ourEnd, Pool: newPool(w.t, buffers, true),
		Resolver: static{kernel4: w.kernelMAC, kernel6: w.kernelMAC},
		Register: w.program.register, Unregister: w.program.unregister,
	}
}

// open opens the driver for as long as the test lasts.
func (w *world) open(c Config) *Driver {
	w.t.Helper()
	var d *Driver
	err := w.ours.Do(func() (err error) { d, err = Open(c); return err })
	if err != nil {
		w.t.Fatal(err)
	}
	w.t.Cleanup(func() {
		if err := d.Close(); err != nil {
			w.t.Errorf("Close: %v", err)
		}
	})
	return d
}

// static is a Resolver.
type static map[netip.Addr][6]byte

func (s static) MAC(dst netip.Addr) (mac [6]byte, ok bool) { mac, ok = s[dst]; return mac, ok }

// A packet is a frame that was received, taken apart.
type packet struct {
	frame *driver.Frame
	raw   []byte // copied together, from the IP header on
	ip    wire.Packet
	tcp   wire.TCP // of TCP
	udp   wire.UDP // of UDP
}

// dissect takes f apart; ok is false if it is not to one of our addresses.
func dissect(t testing.TB, p *buf.Pool, f *driver.Frame) (k *packet, ok bool) {
	t.Helper()
	raw := contents(p, f)
	if len(raw) != f.Len {
		t.Fatalf("a frame of %d bytes says that it has %d", len(raw), f.Len)
	}
	var e wire.Ethernet
	if c := wire.ParseEthernet(raw, len(raw), &e); c != wire.OK {
		t.Fatalf("frame %x: %v", raw, c)
	}
	k = &packet{frame: f, raw: raw[e.HeaderLen:]}
	c := wire.ParseIP(k.raw, len(k.raw), wire.Verify, &k.ip)
	if c != wire.OK || k.ip.Dst != ours4 && k.ip.Dst != ours6 {
		return nil, false
	}
	switch k.ip.Proto {
	case wire.ProtoTCP:
		c = wire.ParseTCP(k.raw, &k.ip, &k.tcp)
	case wire.ProtoUDP:
		c = wire.ParseUDP(k.raw, &k.ip, &k.udp)
	}
	if c != wire.OK {
		t.Fatalf("the kernel sent a packet with %v: %x", c, k.raw[:min(80, len(k.raw))])
	}
	if f.Checksum == driver.Unverified && k.ip.VerifyL4(k.raw) != wire.OK {
		t.Fatalf("a packet of protocol %d has a wrong checksum", k.ip.Proto)
	}
	return k, true
}

// receive polls, and waits, until handle says that it has seen enough. Frames to
// other addresses than ours, such as the kernel's multicast reports, are not
// shown, but counted.
func receive(t testing.TB, d *Driver, b *driver.Batch, handle func(p *packet) bool) (others uint64) {
	t.Helper()
	limit := mono.Now().Add(patience)
	for done := false; !done; {
		if err := d.Poll(mono.Now(), b); err != nil {
			t.Fatal(err)
		}
		for i := range b.Frames {
			if p, ok := dissect(t, d.pool, &b.Frames[i]); ok {
				done = handle(p) || done
			} else {
				others++
			}
		}
		put(d, b)
		if done || len(b.Frames) > 0 {
			continue
		}
		if !mono.Now().Before(limit) {
			t.Fatalf("nothing more came in %v; stats %+v, %+v", patience, statsOf(d), d.QueueStats())
		}
		if err := d.Wait(limit); err != nil {
			t.Fatal(err)
		}
	}
	return others
}

// dialUDP makes a socket of the kernel's end, connected to a port of ours.
func (w *world) dialUDP(to netip.AddrPort) *net.UDPConn {
	w.t.Helper()
	var c *net.UDPConn
	err := w.kernel.Do(func() (err error) {
		c, err = net.DialUDP("udp", nil, net.UDPAddrFromAddrPort(to))
		return err
	})
	if err != nil {
		w.t.Fatal(err)
	}
	w.t.Cleanup(func() { c.Close() })
	return c
}

// write writes a datagram n times.
func write(t testing.TB, c *net.UDPConn, payload []byte, n int) {
	t.Helper()
	for range n {
		if _, err := c.Write(payload); err != nil {
			t.Fatal(err)
		}
	}
}

// eventually waits until f holds.
func eventually(t testing.TB, what string, f func() bool) {
	t.Helper()
	for end := time.Now().Add(patience); !f(); time.Sleep(100 * time.Microsecond) {
		if time.Now().After(end) {
			t.Fatalf("never: %s", what)
		}
	}
}
