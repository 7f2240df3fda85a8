//go:build linux

package zctap_test

import (
	"errors"
	"fmt"
	"net/netip"
	"os"
	"os/exec"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"

	"github.com/zctap/zctap"
	"github.com/zctap/zctap/internal/netns"
)

// shell runs a command, and returns what it said.
func shell(line string) (string, error) {
	out, err := exec.Command("/bin/sh", "-ec", line).CombinedOutput()
	return strings.TrimSpace(string(out)), err
}

// mustShell runs a command that has to succeed.
func mustShell(t *testing.T, line string) {
	t.Helper()
	if out, err := shell(line); err != nil {
		t.Fatalf("%s: %v: %s", line, err, out)
	}
}

func mtuOf(t *testing.T, iface string) string {
	t.Helper()
	b, err := os.ReadFile("/sys/class/net/" + iface + "/mtu")
	if err != nil {
		t.Fatal(err)
	}
	return strings.TrimSpace(string(b))
}

// TestLabChangedByOthers: in mid-stream somebody else sets the interface in other ways, for
// some of which the driver makes all its queues anew. The stream goes on without a copy; and
// what would end zero-copy receive the kernel refuses.
func TestLabChangedByOthers(t *testing.T) {
	const piece = 2 << 20
	g := newGuest(t, zctap.Config{})
	mtu := mtuOf(t, "eth0")
	steps := []struct{ name, do, undo, refused string }{
		{name: "fewer queues", do: "ethtool -L eth0 rx 1 tx 1", refused: "too low"},
		{name: "no header split", do: "ethtool -G eth0 tcp-data-split off", refused: "can't disable tcp-data-split"},
		{name: "smaller ring", do: "ethtool -G eth0 rx 512", undo: "ethtool -G eth0 rx 1024"},
		{name: "other MTU", do: "/usr/bin/ip link set eth0 mtu 1300", undo: "/usr/bin/ip link set eth0 mtu " + mtu},
		{name: "no hardware GRO", do: "ethtool -K eth0 rx-gro-hw off", undo: "ethtool -K eth0 rx-gro-hw on"},
		{name: "down", do: "/usr/bin/ip link set eth0 down", undo: "/usr/bin/ip link set eth0 up"},
		{name: "renamed", do: "/usr/bin/ip link set eth0 name other0", undo: "/usr/bin/ip link set other0 name eth0"},
	}
	size := int64(2*len(steps)+1) * piece
	f := g.flows(1, size)[0]
	f.send()
	next := int64(piece)
	goesOn := func(what string) {
		t.Helper()
		if err := f.takes(next); err != nil {
			t.Fatalf("%s: after %d bytes: %v", what, f.got, err)
		}
		next += piece
	}
	goesOn("at first")
	program, err := netns.LoadXDPPass()
	g.ok(err)
	defer syscall.Close(program)
	nic, err := netlink.LinkByName("eth0")
	g.ok(err)
	if err := netlink.LinkSetXdpFdWithFlags(nic, program, unix.XDP_FLAGS_SKB_MODE); !errors.Is(err, syscall.EBUSY) {
		t.Errorf("an XDP program: %v; want it to be refused", err)
	}
	for _, s := range steps {
		out, err := shell(s.do)
		if s.refused != "" {
			if err == nil || !strings.Contains(out, s.refused) {
				t.Errorf("%s: %v: %s; want it to be refused, %q", s.name, err, out, s.refused)
			}
			goesOn(s.name)
			goesOn(s.name)
			continue
		}
		if err != nil {
			t.Fatalf("%s: %v: %s", s.name, err, out)
		}
		if s.name != "down" {
			goesOn(s.name)
			mustShell(t, s.undo)
		} else {
			mustShell(t, s.undo)
			goesOn(s.name)
		}
		goesOn("after " + s.name)
	}
	f.receive()
	f.sent()
	// Where payload came in that waited while the queue was made anew twice nobody knows: it
	// counts as copied.
	g.wantCounted([]*flow{f}, 0)
	if s := g.q.Stats(); s.Events["kernel-copied-bytes"] != 0 || s.CopiedBytes > 2*piece {
		t.Errorf("%d bytes count as copied, events %v", s.CopiedBytes, s.Events)
	}
	g.ok(f.c.Close())
	g.free()
}

// TestLabNoJournal: who can't write a journal, here for its folder may be written by anybody,
// is told; and Close leaves the interface as it was all the same, which the host looks at.
func TestLabNoJournal(t *testing.T) {
	const folder = "/run/zctap/nic"
	g := openGuest(t, zctap.Config{})
	if n := g.q.Stats().Events["no-journal"]; n != 0 {
		t.Errorf("with a journal: %d", n)
	}
	g.ok(g.q.Close())
	command("chmod 0777 "+folder, "chmod 0700 "+folder)(t)
	g = openGuest(t, zctap.Config{})
	if n := g.q.Stats().Events["no-journal"]; n != 1 {
		t.Errorf("without a journal: %d", n)
	}
	f := g.flows(1, 1<<20)[0]
	f.send()
	f.receive()
	f.sent()
	g.ok(f.c.Close())
	g.ok(g.q.Close())
	c := zctap.Config{Engine: zctap.ZCRX, Interface: "eth0", ZCRX: &zctap.ZCRXConfig{JournalDir: folder}}
	if q, err := zctap.Open(c); !errors.Is(err, syscall.EPERM) || !strings.Contains(err.Error(), folder+" must be a directory that only its owner") {
		t.Errorf("asked for by name: %v, %v", q, err)
	}
}

// TestLabSettingsLost: somebody puts the queue back into the RSS table, and that is told.
func TestLabSettingsLost(t *testing.T) {
	g := newGuest(t, zctap.Config{})
	command("ethtool -X eth0 equal 2", "ethtool -X eth0 equal 1")(t)
	for end := time.Now().Add(guestPatience); g.q.Stats().Events["settings-lost"] == 0; time.Sleep(10 * time.Millisecond) {
		if time.Now().After(end) {
			t.Fatal("it is not told")
		}
	}
}

// TestLabInterfaceGone: the NIC is moved to another network namespace, and another time taken
// out. All calls end with the reason, nothing leaks, and when it is back it can be opened
// again. It leaves the NIC as it is at boot, and runs as the last test of its machine.
func TestLabInterfaceGone(t *testing.T) {
	iface, peer := needNIC(t)
	own, mtu := addrOf(t, iface), mtuOf(t, iface)
	device, err := shell("readlink -f /sys/class/net/" + iface + "/device")
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct{ name, gone, back string }{
		// What is set there goes with it, out of our reach.
		{
			"moved", "/usr/bin/ip link set eth0 netns " + peer,
			"/usr/bin/ip -n " + peer + " link set eth0 netns 1; ethtool -K eth0 ntuple off; ethtool -G eth0 tcp-data-split off",
		},
		{"taken out", "echo 1 >" + device + "/remove", "echo 1 >/sys/bus/pci/rescan"},
	} {
		t.Run(c.name, func(t *testing.T) {
			g := openGuest(t, zctap.Config{ZCRX: &zctap.ZCRXConfig{Rings: 2}})
			g.vanishes(c.gone)
			mustShell(t, c.back)
			configure := fmt.Sprintf("/usr/bin/ip link set %s mtu %s up; /usr/bin/ip addr add %s dev %s", iface, mtu, netip.PrefixFrom(own, 24), iface)
			mustShell(t, configure)
			again := newGuest(t, zctap.Config{})
			f := again.flows(1, 4<<20)[0]
			f.send()
			f.receive()
			f.sent()
			if s := again.q.Stats(); s.CopiedBytes != 0 {
				t.Errorf("%d bytes were copied: events %v", s.CopiedBytes, s.Events)
			}
			g.ok(f.c.Close())
		})
	}
}

// vanishes checks what becomes of a queue whose interface goes away, and closes it.
func (g *guest) vanishes(gone string) {
	g.Helper()
	const says = "the interface was deleted, or moved to another network namespace"
	want := func(what string, err error) {
		g.Helper()
		if !errors.Is(err, syscall.ENODEV) || !strings.Contains(err.Error(), says) {
			g.Errorf("%s: %v", what, err)
		}
	}
	ln, err := g.q.Listen("tcp", ":0")
	g.ok(err)
	flows := g.flowsTo(ln, 4, 1<<30)
	for _, f := range flows[1:] { // the first one's peer is silent
		f.send()
		g.ok(f.takes(1 << 20))
	}
	ended := make(chan error, 2)
	g.ok(ln.SetDeadline(time.Time{}))
	g.ok(flows[0].c.SetReadDeadline(time.Time{}))
	go func() { _, err := ln.AcceptZC(); ended <- err }()
	go func() { _, err := flows[0].c.RecvZC(make([]zctap.Iov, 1)); ended <- err }()
	mustShell(g.T, gone)
	for range cap(ended) {
		select {
		case err := <-ended:
			want("a call that was blocked", err)
		case <-time.After(guestPatience):
			g.Fatal("a call goes on though the interface is gone")
		}
	}
	for _, f := range flows[1:] {
		want("RecvZC", f.takes(f.size))
	}
	_, err = g.q.Listen("tcp", ":0")
	want("Listen", err)
	g.ok(g.q.Close()) // the failure was told
	if n := g.q.Leaked(); n != 0 {
		g.Errorf("%d buffers leaked", n)
	}
	for _, f := range flows {
		f.p.Close()
		f.wg.Wait()
	}
}

// TestLabFailedOpen: an Open that fails after the NIC was prepared leaves nothing bound and
// nothing changed, and no journal; and what stood in its way apart, the next one works.
func TestLabFailedOpen(t *testing.T) {
	iface, _ := needNIC(t)
	state := func() string {
		out, err := shell("for f in -l -g -x -n -k; do ethtool $f " + iface + "; done; cat /run/zctap/nic/*.journal 2>/dev/null || :")
		if err != nil {
			t.Fatalf("%v: %s", err, out)
		}
		return out
	}
	null, err := os.Open("/dev/null")
	if err != nil {
		t.Fatal(err)
	}
	defer null.Close()
	memory, err := syscall.Mmap(-1, 0, 1<<20, syscall.PROT_READ|syscall.PROT_WRITE, syscall.MAP_SHARED|syscall.MAP_ANON)
	if err != nil {
		t.Fatal(err)
	}
	defer syscall.Munmap(memory)
	before := state()
	for name, c := range map[string]zctap.Config{
		"larger buffers than the driver's": {BufferSize: 8192, ZCRX: &zctap.ZCRXConfig{DeviceBufferSize: 8192}},
		"no DMA buffer":                    {Memory: memory, ZCRX: &zctap.ZCRXConfig{DMABuf: int(null.Fd())}},
		"memory that can't be written":     {Memory: readOnly(t), ZCRX: &zctap.ZCRXConfig{}},
		"areas larger than the region":     {Buffers: 64, ZCRX: &zctap.ZCRXConfig{Areas: 100}},
	} {
		c.Engine, c.Interface = zctap.ZCRX, iface
		q, err := zctap.Open(c)
		if err == nil {
			q.Close()
			t.Errorf("%s: it was opened", name)
			continue
		}
		t.Logf("%s: %v", name, err)
		if after := state(); after != before {
			t.Errorf("%s: the interface was\n%s\nand is\n%s", name, before, after)
		}
	}
	newGuest(t, zctap.Config{RxQueue: 1})
}

// readOnly is memory that the NIC may not write to.
func readOnly(t *testing.T) []byte {
	t.Helper()
	b, err := syscall.Mmap(-1, 0, 1<<20, syscall.PROT_READ, syscall.MAP_SHARED|syscall.MAP_ANON)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { syscall.Munmap(b) })
	return b
}
