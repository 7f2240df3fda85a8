//go:build linux

package xdp

import (
	"errors"
	"fmt"
	"net/netip"
	"os"
	"strings"
	"testing"
	"time"

	bpf "github.com/cilium/ebpf/link"
	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"

	"github.com/zctap/zctap/internal/buf"
	"github.com/zctap/zctap/internal/buf/buftest"
	"github.com/zctap/zctap/internal/driver"
	"github.com/zctap/zctap/internal/wire"
)

// fails opens c at our end, and wants an error that says all of that.
func (w *world) fails(name string, c Config, want unix.Errno, says ...string) {
	w.t.Helper()
	err := w.ours.Do(func() error {
		d, err := Open(c)
		if err == nil {
			d.Close()
		}
		return err
	})
	if !errors.Is(err, want) {
		w.t.Errorf("%s: %v; want %v", name, err, want)
		return
	}
	for _, s := range says {
		if !strings.Contains(err.Error(), s) {
			w.t.Errorf("%s: %v; want it to say %q", name, err, s)
		}
	}
	if strings.Contains(err.Error(), "still bound") {
		w.t.Errorf("%s: %v; waits for what it has not bound", name, err)
	}
	if c.Pool == nil {
		return
	}
	if census, err := c.Pool.Census(); err != nil || census.Out() != 0 {
		w.t.Errorf("%s: a failed Open left %+v, %v", name, census, err)
	}
}

func TestNSOpenErrors(t *testing.T) {
	w := newWorld(t, worldOptions{mtu: 9000, only4: true})
	err := w.ours.Do(func() error {
		attrs := netlink.NewLinkAttrs()
		attrs.Name = "tun0"
		return netlink.LinkAdd(&netlink.Tuntap{LinkAttrs: attrs, Mode: netlink.TUNTAP_MODE_TUN})
	})
	if err != nil {
		t.Fatal(err)
	}
	good := w.config(256)
	with := func(f func(c *Config)) Config { c := good; f(&c); return c }
	refused := errors.New("no")
	for _, tt := range []struct {
		name string
		c    Config
		want unix.Errno
		says []string
	}{
		{"no such interface", with(func(c *Config) { c.Interface = "eth9" }), unix.ENODEV, []string{"eth9", "ip link"}},
		{"no such index", with(func(c *Config) { c.Interface, c.Index = "", 999 }), unix.ENODEV, []string{"999"}},
		{"no interface", with(func(c *Config) { c.Interface = "" }), unix.EINVAL, []string{"neither the name nor the index"}},
		{"long name", with(func(c *Config) { c.Interface = "sixteen-letters!" }), unix.EINVAL, []string{"longer than 15"}},
		{"TUN", with(func(c *Config) { c.Interface = "tun0" }), unix.EOPNOTSUPP, []string{"not an Ethernet"}},
		{"loopback", with(func(c *Config) { c.Interface = "lo" }), unix.EOPNOTSUPP, []string{"not an Ethernet"}},
		{"queue", with(func(c *Config) { c.Queues = []int{1} }), unix.EINVAL, []string{ourEnd, "queue 1", "1 receive queues", "ethtool -l"}},
		{"no pool", with(func(c *Config) { c.Pool = nil }), unix.EINVAL, []string{"no pool"}},
		{"zero-copy, long frames", with(func(c *Config) { c.Mode = ZeroCopy }), unix.EOPNOTSUPP,
			[]string{"queue 0", "does not do zero-copy", "mode copy"}}, // whatever the MTU is
	} {
		w.fails(tt.name, tt.c, tt.want, tt.says...)
	}
	w.change(w.ours, ourEnd, func(l netlink.Link) error { return netlink.LinkSetMTU(l, 1500) })
	w.fails("zero-copy", with(func(c *Config) { c.Mode = ZeroCopy }), unix.EOPNOTSUPP, "does not do zero-copy", "mode copy")

	// A program that does not take the socket.
	c := with(func(c *Config) {
		c.Register = func(int, int) error { return refused }
		c.Unregister = func(q int) { t.Errorf("queue %d is unregistered, and was not registered", q) }
	})
	err = w.ours.Do(func() error { _, err := Open(c); return err })
	if !errors.Is(err, refused) || !strings.Contains(err.Error(), "XDP program") {
		t.Errorf("Register fails: %v", err)
	}

	// Buffers that others have.
	held := make([]uint16, 150)
	good.Pool.Alloc(held)
	for what, f := range map[string]func(c *Config){
		"to send from":           func(c *Config) { c.TxBuffers, c.Rings.Fill = 120, 32 },
		"free for its fill ring": func(c *Config) { c.TxBuffers, c.Rings.Fill = 90, 64 },
	} {
		err := w.ours.Do(func() error { _, err := Open(with(f)); return err })
		if !errors.Is(err, unix.ENOBUFS) || !strings.Contains(err.Error(), what) {
			t.Errorf("pool in use: %v; want ENOBUFS that says %q", err, what)
		}
	}
	for _, id := range held {
		good.Pool.Put(id)
	}
	// After all that the queue is free.
	w.open(good)
}

// TestNSBusy: a queue that has a socket is refused, and who has one is named.
func TestNSBusy(t *testing.T) {
	w := newWorld(t, worldOptions{only4: true, queues: 2})
	first := w.config(256)
	first.Queues, first.Rings.Fill = []int{1}, 32
	w.open(first)
	c := w.config(256)
	c.Rings.Fill = 32
	c.Register, c.Unregister = nil, nil
	// Queue 0 is free, and bound to before it fails.
	w.fails("in use by us", c, unix.EBUSY, "queue 1", "held by this process")
	c.Queues = []int{0}
	w.open(c)
}

// TestNSReopen: when Close returns the queue and the buffers are free.
func TestNSReopen(t *testing.T) {
	w := newWorld(t, worldOptions{only4: true, queues: 2})
	c := w.config(256)
	c.Rings.Fill = 64
	began := time.Now()
	for range 20 {
		d := w.open(c)
		if err := d.Close(); err != nil {
			t.Fatal(err)
		}
		if census, err := c.Pool.Census(); err != nil || census.Out() != 0 {
			t.Fatalf("after Close: %+v, %v", census, err)
		}
		if d.release.bound(w.index, 0) {
			t.Fatal("the queue is still bound after Close")
		}
	}
	// Each of the binds that had to be tried again would take 5 ms at least.
	t.Logf("20 times in %v", time.Since(began))
}

// TestNSMemory: memory of the caller's own, and huge pages, as the UMEM.
func TestNSMemory(t *testing.T) {
	private, err := unix.Mmap(-1, 0, 2<<20, unix.PROT_READ|unix.PROT_WRITE, unix.MAP_PRIVATE|unix.MAP_ANONYMOUS)
	if err != nil {
		t.Fatal(err)
	}
	defer unix.Munmap(private)
	fd, err := unix.MemfdCreate("region", unix.MFD_CLOEXEC)
	if err != nil {
		t.Fatal(err)
	}
	defer unix.Close(fd)
	if err := unix.Ftruncate(fd, 4<<20); err != nil {
		t.Fatal(err)
	}
	shared, err := unix.Mmap(fd, 0, 4<<20, unix.PROT_READ|unix.PROT_WRITE, unix.MAP_SHARED)
	if err != nil {
		t.Fatal(err)
	}
	defer unix.Munmap(shared)
	for _, tt := range []struct {
		name string
		c    buf.RegionConfig
	}{
		{"supplied", buf.RegionConfig{Memory: private}},
		{"part of a shared mapping", buf.RegionConfig{Memory: shared[4096 : 4096+2<<20]}},
		{"huge pages if there are some", buf.RegionConfig{Buffers: 1024}},
		{"no huge pages", buf.RegionConfig{Buffers: 1024, NoHugePages: true}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			w := newWorld(t, worldOptions{only4: true})
			c := w.config(32)
			c.Pool = buftest.Pool(t, tt.c)
			w.exchange(w.open(c))
		})
	}
}

// TestNSGeneric: the driver works with a program in the kernel's generic
// hook, too.
func TestNSGeneric(t *testing.T) {
	w := newWorld(t, worldOptions{only4: true, attach: bpf.XDPGenericMode})
	w.exchange(w.open(w.config(256)))
}

// TestNSHeadroom: frames begin behind the headroom that was asked for.
func TestNSHeadroom(t *testing.T) {
	w := newWorld(t, worldOptions{only4: true, mtu: 9000})
	c := w.config(256)
	c.Headroom = 1000
	d := w.open(c)
	conn := w.dialUDP(netip.AddrPortFrom(ours4, 7))
	write(t, conn, noise(1, 8000), 1)
	receive(t, d, driver.NewBatch(8, 64), func(p *packet) bool {
		if n := len(p.frame.Frags); n != 3 || p.frame.Frags[0].Offset() != kernelHeadroom+1000 || p.frame.Frags[0].Len() != 4096-1256 {
			t.Errorf("%d frags, the first with %d bytes from %d on", n, p.frame.Frags[0].Len(), p.frame.Frags[0].Offset())
		}
		return true
	})
}

// TestNSBusyPoll: the options are set, and frames still come.
func TestNSBusyPoll(t *testing.T) {
	w := newWorld(t, worldOptions{only4: true})
	c := w.config(256)
	c.BusyPoll = 20 * time.Microsecond
	d := w.open(c)
	if us, err := unix.GetsockoptInt(d.queues[0].fd, unix.SOL_SOCKET, unix.SO_BUSY_POLL); us != 20 || err != nil {
		t.Errorf("SO_BUSY_POLL is %d, %v; want 20", us, err)
	}
	if on, err := unix.GetsockoptInt(d.queues[0].fd, unix.SOL_SOCKET, unix.SO_PREFER_BUSY_POLL); on != 1 || err != nil {
		t.Errorf("SO_PREFER_BUSY_POLL is %d, %v; want 1", on, err)
	}
	poll(t, d, driver.NewBatch(1, 18), 0)
	if statsOf(d).RxCalls != 1 {
		t.Errorf("%d system calls in a Poll that found nothing; want 1", statsOf(d).RxCalls)
	}
	w.exchange(d)
}

// exchange receives a datagram of the kernel's and sends it one.
func (w *world) exchange(d *Driver) {
	w.t.Helper()
	conn := w.dialUDP(netip.AddrPortFrom(ours4, 7))
	in := w.listenUDP(kernel4)
	b := driver.NewBatch(8, 64)
	for i := range 100 {
		want := fmt.Sprintf("hello %d", i)
		write(w.t, conn, []byte(want), 1)
		receive(w.t, d, b, func(p *packet) bool {
			if p.ip.Proto != wire.ProtoUDP {
				return false // what the kernel has to say about frames before
			}
			if got := string(p.raw[p.udp.PayloadOffset:p.ip.Len()]); got != want {
				w.t.Fatalf("received %q, want %q", got, want)
			}
			return true
		})
		to := netip.MustParseAddrPort(in.LocalAddr().String())
		sendAll(w.t, d, []driver.TxFrame{datagram(w.t, to, []byte(want))})
		got := make([]byte, 100)
		if n, _, err := in.ReadFromUDPAddrPort(got); err != nil || string(got[:n]) != want {
			w.t.Fatalf("the kernel received %q, %v; want %q; %+v", got[:n], err, want, statsOf(d))
		}
	}
}

// TestNSQueues: two queues on one region, each with flows of its own.
func TestNSQueues(t *testing.T) {
	w := newWorld(t, worldOptions{only4: true, queues: 2})
	c := w.config(512)
	d := w.open(c)
	if len(d.Queues()) != 2 {
		t.Fatalf("queues %v, want both", d.Queues())
	}
	b := driver.NewBatch(64, 64)
	const flows, each = 16, 50
	got := map[uint16]uint64{}
	for f := range flows {
		conn := w.dialUDP(netip.AddrPortFrom(ours4, uint16(1000+f)))
		for i := range uint64(each) {
			write(t, conn, noise(i, 800), 1)
		}
		n := 0
		receive(t, d, b, func(p *packet) bool {
			port := p.udp.DstPort
			if string(p.raw[p.udp.PayloadOffset:]) != string(noise(got[port], 800)) {
				t.Fatalf("flow %d: datagram %d is not as it was sent", port, got[port])
			}
			got[port]++
			n++
			return n == each
		})
	}
	stats := d.QueueStats()
	if stats[0].Frames == 0 || stats[1].Frames == 0 || stats[0].Frames+stats[1].Frames != flows*each {
		t.Errorf("%+v; want %d frames, by both queues", stats, flows*each)
	}
	if s := statsOf(d); s.RxFrames != flows*each || s.RxNoBuffer != 0 {
		t.Errorf("stats %+v", s)
	}
	fatal(t, d.Close())
	if after := d.QueueStats(); after[0].Frames != stats[0].Frames || statsOf(d).RxFrames != flows*each {
		t.Errorf("after Close the counters are %+v", after)
	}
	if os.Getenv("ZCTAP_CI") == "" {
		t.Logf("%+v", stats)
	}
}
