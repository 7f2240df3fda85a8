//go:build linux

package tun

import (
	"net"
	"net/netip"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/zctap/zctap/internal/driver"
	"github.com/zctap/zctap/internal/mono"
	"github.com/zctap/zctap/internal/netns"
	"github.com/zctap/zctap/internal/testenv"
	"github.com/zctap/zctap/internal/wire"
)

// Addresses of the two ends of a test's TUN interface.
var (
	kernel4, ours4 = netip.MustParseAddr("10.9.0.1"), netip.MustParseAddr("10.9.0.2")
	kernel6, ours6 = netip.MustParseAddr("fd09::1"), netip.MustParseAddr("fd09::2")
)

// patience bounds what a test waits for.
const patience = 20 * time.Second

// newNS makes a namespace that lasts as long as the test.
func newNS(t *testing.T) *netns.NS {
	t.Helper()
	testenv.NeedRoot(t)
	testenv.NeedTUN(t)
	ns, err := netns.New()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { ns.Close() })
	return ns
}

// open opens c's interface in ns for as long as the test lasts.
func open(t *testing.T, ns *netns.NS, c Config) *Driver {
	t.Helper()
	var d *Driver
	err := ns.Do(func() (err error) { d, err = Open(c); return err })
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := d.Close(); err != nil {
			t.Errorf("Close: %v", err)
		}
	})
	return d
}

// connect brings the interface up, with the kernel's addresses.
func connect(t *testing.T, ns *netns.NS, d *Driver) {
	t.Helper()
	err := ns.ConfigureLink(d.Name(), []netip.Prefix{netip.PrefixFrom(kernel4, 24), netip.PrefixFrom(kernel6, 64)}, 0)
	if err == nil {
		err = ns.WaitRunning(d.Name(), patience)
	}
	if err == nil {
		err = ns.Do(func() error { return netns.WaitAddresses([]netip.Prefix{netip.PrefixFrom(kernel6, 64)}, patience) })
	}
	if err != nil {
		t.Fatal(err)
	}
}

// newWorld makes a namespace with a TUN interface and its driver.
func newWorld(t *testing.T, buffers int) (*netns.NS, *Driver) {
	t.Helper()
	ns := newNS(t)
	d := open(t, ns, Config{Pool: newPool(t, buffers, true)})
	connect(t, ns, d)
	return ns, d
}

// A packet is a frame that was received, taken apart.
type packet struct {
	frame *driver.Frame
	raw   []byte // copied together
	ip    wire.Packet
	tcp   wire.TCP // of TCP
	udp   wire.UDP // of UDP
}

// dissect takes f apart.
func dissect(t *testing.T, d *Driver, f *driver.Frame) *packet {
	t.Helper()
	p := &packet{frame: f, raw: contents(d.rx.pool, f)}
	c := wire.ParseIP(p.raw, f.Len, wire.Verify, &p.ip)
	switch {
	case c != wire.OK:
	case p.ip.Proto == wire.ProtoTCP:
		c = wire.ParseTCP(p.raw, &p.ip, &p.tcp)
	case p.ip.Proto == wire.ProtoUDP:
		c = wire.ParseUDP(p.raw, &p.ip, &p.udp)
	}
	if c != wire.OK {
		t.Fatalf("the kernel sent a packet with %v: %x", c, p.raw[:min(80, len(p.raw))])
	}
	if f.Checksum == driver.Unverified && p.ip.VerifyL4(p.raw) != wire.OK {
		t.Fatalf("a packet of protocol %d has a wrong checksum", p.ip.Proto)
	}
	return p
}

// receive polls, and waits, until handle says that it has seen enough. Packets
// between other addresses than the test's are not shown: the kernel's own
// router solicitations and multicast reports.
func receive(t *testing.T, d *Driver, b *driver.Batch, handle func(p *packet) bool) {
	t.Helper()
	limit := mono.Now().Add(patience)
	for done := false; !done; {
		if err := d.Poll(mono.Now(), b); err != nil {
			t.Fatal(err)
		}
		for i := range b.Frames {
			p := dissect(t, d, &b.Frames[i])
			if p.ip.Dst == ours4 || p.ip.Dst == ours6 {
				done = handle(p) || done
			}
		}
		put(d, b)
		if done || len(b.Frames) > 0 {
			continue
		}
		if !mono.Now().Before(limit) {
			t.Fatalf("nothing more came in %v; stats %+v", patience, statsOf(d))
		}
		if err := d.Wait(limit); err != nil {
			t.Fatal(err)
		}
	}
}

// transmit sends one frame.
func transmit(t *testing.T, d *Driver, f driver.TxFrame) {
	t.Helper()
	before := statsOf(d).TxDropped
	if n, err := d.Send(mono.Now(), []driver.TxFrame{f}); n != 1 || err != nil {
		t.Fatalf("Send = %d, %v", n, err)
	}
	if statsOf(d).TxDropped != before {
		t.Fatal("the kernel refused the frame")
	}
}

// TestNSUDP: a datagram of the kernel's arrives with its payload split off
// exactly, and one of ours, whose checksum the kernel completes, reaches it.
func TestNSUDP(t *testing.T) {
	for _, tt := range []struct {
		name         string
		kernel, ours netip.Addr
		headers      int
	}{{"IPv4", kernel4, ours4, 28}, {"IPv6", kernel6, ours6, 48}} {
		t.Run(tt.name, func(t *testing.T) {
			ns, d := newWorld(t, 64)
			d.rx.predict.length = tt.headers
			var conn *net.UDPConn
			err := ns.Do(func() (err error) {
				conn, err = net.DialUDP("udp", net.UDPAddrFromAddrPort(netip.AddrPortFrom(tt.kernel, 0)),
					net.UDPAddrFromAddrPort(netip.AddrPortFrom(tt.ours, 7)))
				return err
			})
			if err != nil {
				t.Fatal(err)
			}
			defer conn.Close()
			message := noise(1, 1400)
			if _, err := conn.Write(message); err != nil {
				t.Fatal(err)
			}
			b := driver.NewBatch(8, 64)
			var back flow
			receive(t, d, b, func(p *packet) bool {
				if p.ip.Proto != wire.ProtoUDP {
					return false
				}
				f := p.frame
				if len(f.Head) != tt.headers || len(f.Frags) != 1 || f.Frags[0].Offset() != 0 {
					t.Errorf("head of %d bytes, %d frags; want %d, and the payload in one buffer", len(f.Head), len(f.Frags), tt.headers)
				}
				if got := d.rx.pool.Region().View(f.Frags[0]); string(got) != string(message) {
					t.Error("the payload is not what was sent")
				}
				if f.Checksum != driver.Vouched {
					t.Error("the checksum is not vouched for: CSUM offload is off")
				}
				back = flow{netip.AddrPortFrom(p.ip.Dst, p.udp.DstPort), netip.AddrPortFrom(p.ip.Src, p.udp.SrcPort)}
				return true
			})
			answer := noise(2, 1001)
			transmit(t, d, back.udp(t, answer))
			if err := conn.SetReadDeadline(time.Now().Add(patience)); err != nil {
				t.Fatal(err)
			}
			got := make([]byte, 2000)
			n, err := conn.Read(got)
			if err != nil || string(got[:n]) != string(answer) {
				t.Errorf("the kernel received %d bytes, %v; want the %d sent", n, err, len(answer))
			}
		})
	}
}

// TestNSPing: the kernel's echo request arrives, and it accepts the answer.
func TestNSPing(t *testing.T) {
	ns, d := newWorld(t, 64)
	var conn net.Conn
	err := ns.Do(func() (err error) { conn, err = net.Dial("ip4:icmp", ours4.String()); return err })
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	request := []byte{8, 0, 0, 0, 0, 1, 0, 2, 'h', 'e', 'l', 'l', 'o', '!'}
	var sum wire.Sum
	sum.Add(request)
	request[2], request[3] = byte(sum.Checksum()>>8), byte(sum.Checksum())
	if _, err := conn.Write(request); err != nil {
		t.Fatal(err)
	}
	b := driver.NewBatch(8, 64)
	receive(t, d, b, func(p *packet) bool {
		got := p.raw[p.ip.L4Offset:]
		if p.ip.Proto != wire.ProtoICMP || string(got) != string(request) {
			t.Fatalf("got protocol %d, %x; want the request", p.ip.Proto, got)
		}
		reply := flow{netip.AddrPortFrom(ours4, 0), netip.AddrPortFrom(kernel4, 0)}
		f := reply.frame(t, wire.ProtoICMP, len(got), 2, nil, func(b []byte) (int, error) {
			b[0] = 0 // echo reply
			return copy(b[4:], got[4:]), nil
		})
		f.Head[f.CsumStart+2], f.Head[f.CsumStart+3] = 0, 0 // ICMP has no pseudo-header
		transmit(t, d, f)
		return true
	})
	if err := conn.SetReadDeadline(time.Now().Add(patience)); err != nil {
		t.Fatal(err)
	}
	got := make([]byte, 100)
	n, err := conn.Read(got) // with the IP header
	if message := got[min(n, 20):n]; err != nil || len(message) != len(request) || message[0] != 0 || string(message[4:]) != string(request[4:]) {
		t.Errorf("the kernel received %x, %v", got[:n], err)
	}
}

// TestNSDown: what is sent while the interface is down is dropped and counted.
func TestNSDown(t *testing.T) {
	ns := newNS(t)
	d := open(t, ns, Config{Pool: newPool(t, 17, true)})
	n, err := d.Send(0, []driver.TxFrame{flow4.udp(t, nil), flow4.udp(t, nil)})
	if s := statsOf(d); n != 2 || err != nil || s.TxDropped != 2 || s.TxFrames != 0 {
		t.Errorf("Send = %d, %v; stats %+v", n, err, s)
	}
	b := driver.NewBatch(1, 17)
	poll(t, d, b, 0)
	connect(t, ns, d)
	transmit(t, d, flow4.udp(t, nil))
}

// TestNSDelete: the interface is deleted under the driver, while it waits.
func TestNSDelete(t *testing.T) {
	ns, d := newWorld(t, 64)
	b := driver.NewBatch(8, 64)
	waited := make(chan error)
	go func() {
		for {
			if err := d.Wait(0); err != nil {
				waited <- err
				return
			}
			if err := d.Poll(0, b); err != nil {
				waited <- err
				return
			}
			put(d, b)
		}
	}()
	if err := ns.DeleteLink(d.Name()); err != nil {
		t.Fatal(err)
	}
	select {
	case err := <-waited:
		if !unixIs(err, unix.EBADFD) {
			t.Errorf("Wait: %v, want EBADFD", err)
		}
	case <-time.After(patience):
		t.Fatal("Wait does not return")
	}
	if err := d.Poll(0, b); !unixIs(err, unix.EBADFD) {
		t.Errorf("Poll: %v, want EBADFD", err)
	}
	if err := d.Wait(0); !unixIs(err, unix.EBADFD) {
		t.Errorf("Wait: %v, want EBADFD", err)
	}
	if n, err := d.Send(0, []driver.TxFrame{flow4.udp(t, nil)}); n != 0 || !unixIs(err, unix.EBADFD) {
		t.Errorf("Send = %d, %v; want EBADFD", n, err)
	}
}
