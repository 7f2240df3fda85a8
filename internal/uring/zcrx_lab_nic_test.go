//go:build linux

package uring

import (
	"errors"
	"fmt"
	"net"
	"net/netip"
	"os"
	"os/exec"
	"runtime"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/zctap/zctap/internal/netns"
)

// These tests are about a NIC's receive queue: queue 1 of the interface that
// ZCTAP_LAB_NIC names, whose wire leads to the network namespace ZCTAP_LAB_PEER.

const (
	nicQueue = 1
	nicPort  = 7777 // what the NIC puts into the queue
)

// A nic is an interface that is prepared for zero-copy receive.
type nic struct {
	*testing.T
	name  string
	index int
	addr  netip.AddrPort
	peer  *netns.NS
}

// commands runs a shell command, and another one at the test's end, until it succeeds: the kernel refuses to change what a
// queue needs, and takes a while to free one.
func commands(t *testing.T, do, undo string) {
	t.Helper()
	shell := func(line string) {
		t.Helper()
		if out, err := exec.Command("/bin/sh", "-ec", line).CombinedOutput(); err != nil {
			t.Fatalf("%s: %v: %s", line, err, out)
		}
	}
	shell(do)
	t.Cleanup(func() {
		t.Helper()
		shell("for i in $(seq 300); do if " + undo + "; then exit; fi; sleep 0.1; done; exit 1")
	})
}

func newNIC(t *testing.T) *nic {
	t.Helper()
	name, peer := os.Getenv("ZCTAP_LAB_NIC"), os.Getenv("ZCTAP_LAB_PEER")
	if name == "" || peer == "" {
		t.Skip("runs in the lab, on a NIC")
	}
	runtime.LockOSThread()
	t.Cleanup(runtime.UnlockOSThread)
	n := &nic{T: t, name: name}
	iface, err := net.InterfaceByName(name)
	must(t, err)
	n.index = iface.Index
	addrs, err := iface.Addrs()
	must(t, err)
	prefix, err := netip.ParsePrefix(addrs[0].String())
	must(t, err)
	n.addr = netip.AddrPortFrom(prefix.Addr(), nicPort)
	n.peer, err = netns.Open(peer)
	must(t, err)
	t.Cleanup(func() { must(t, n.peer.Close()) })
	commands(t, "ethtool -G "+name+" tcp-data-split on", "ethtool -G "+name+" tcp-data-split off")
	commands(t, "ethtool -X "+name+" equal 1", "ethtool -X "+name+" default")
	commands(t, "ethtool -K "+name+" ntuple on", "ethtool -K "+name+" ntuple off")
	commands(t, fmt.Sprintf("ethtool -N %s flow-type tcp4 dst-port %d action %d loc 0", name, nicPort, nicQueue), "ethtool -N "+name+" delete 0")
	return n
}

// register registers the queue, for change to change how. The queue may be still in use, by a ring that was closed.
func (n *nic) register(r *Ring, change func(*ZCRXConfig)) (*IFQ, []byte, error) {
	area := memory(n, 1024*page)
	c := ZCRXConfig{Interface: n.index, Queue: nicQueue, Area: Area{Memory: area}, RefillEntries: 1024}
	if change != nil {
		change(&c)
	}
	for end := time.Now().Add(patience); ; time.Sleep(10 * time.Millisecond) {
		q, err := r.RegisterZCRX(c)
		if !errors.Is(err, unix.EEXIST) || time.Now().After(end) {
			return q, area, err
		}
	}
}

// connect returns a connection that comes in by the queue, and its other end.
func (n *nic) connect() (fd, peer int) {
	n.Helper()
	ln, err := unix.Socket(unix.AF_INET, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0)
	must(n, err)
	defer unix.Close(ln)
	must(n, unix.SetsockoptInt(ln, unix.SOL_SOCKET, unix.SO_REUSEADDR, 1))
	must(n, unix.Bind(ln, &unix.SockaddrInet4{Addr: n.addr.Addr().As4(), Port: int(n.addr.Port())}))
	must(n, unix.Listen(ln, 1))
	peer = -1
	must(n, n.peer.Do(func() (err error) {
		peer, err = unix.Socket(unix.AF_INET, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0)
		if err != nil {
			return err
		}
		return unix.Connect(peer, &unix.SockaddrInet4{Addr: n.addr.Addr().As4(), Port: int(n.addr.Port())})
	}))
	keep(n, peer)
	fd, _, err = unix.Accept4(ln, unix.SOCK_CLOEXEC)
	must(n, err)
	return keep(n, fd), peer
}

// awaitUnread waits until a socket has so many bytes to read.
func awaitUnread(t testing.TB, fd, bytes int) {
	t.Helper()
	for end := time.Now().Add(patience); ; time.Sleep(time.Millisecond) {
		n, err := unix.IoctlGetInt(fd, unix.SIOCINQ)
		must(t, err)
		if n >= bytes {
			return
		}
		if time.Now().After(end) {
			t.Fatalf("%d of %d bytes came", n, bytes)
		}
	}
}

// TestLabZCRXNICErrors is the contract's table for queues of a NIC: what the kernel and the driver refuse, and with what.
// Nothing stays bound.
func TestLabZCRXNICErrors(t *testing.T) {
	n := newNIC(t)
	notDMA, err := unix.Open("/dev/null", unix.O_RDWR|unix.O_CLOEXEC, 0)
	must(t, err)
	keep(t, notDMA)
	huge, err := unix.Mmap(-1, 0, 2<<20, unix.PROT_READ|unix.PROT_WRITE, unix.MAP_PRIVATE|unix.MAP_ANON|unix.MAP_HUGETLB)
	must(t, err)
	defer unix.Munmap(huge)
	for _, tc := range []struct {
		name   string
		put    func(t *testing.T)
		change func(*ZCRXConfig)
		want   unix.Errno
	}{
		{"queue 0", nil, func(c *ZCRXConfig) { c.Queue = 0 }, unix.ERANGE},
		{"no such queue", nil, func(c *ZCRXConfig) { c.Queue = 9 }, unix.ERANGE},
		{"buffers of 8 KiB", nil, func(c *ZCRXConfig) { c.BufferSize, c.Area.Memory = 2*page, huge }, unix.EOPNOTSUPP},
		{"buffers of 8 KiB in scattered pages", nil, func(c *ZCRXConfig) { c.BufferSize = 2 * page }, unix.ERANGE},
		{"another file as DMA buffer", nil, func(c *ZCRXConfig) { c.Area = Area{DMABuf: notDMA, Size: page} }, unix.EINVAL},
		{"no data split", func(t *testing.T) {
			commands(t, "ethtool -G "+n.name+" tcp-data-split off", "ethtool -G "+n.name+" tcp-data-split on")
		}, nil, unix.EINVAL},
		{"down", func(t *testing.T) {
			commands(t, "/usr/bin/ip link set "+n.name+" down", "/usr/bin/ip link set "+n.name+" up")
		}, nil, unix.EAGAIN},
		{"AF_XDP on the queue", n.bindXSK, nil, unix.EBUSY},
		{"XDP program", n.attachXDP, nil, unix.EEXIST},
		{"in use", func(t *testing.T) {
			_, _, err := n.register(newRing(t, 2, Params{Flags: zcrxRings[0].flags}), nil)
			must(t, err)
		}, nil, unix.EEXIST},
	} {
		t.Run(tc.name, func(t *testing.T) {
			if tc.put != nil {
				tc.put(t)
			}
			c := ZCRXConfig{Interface: n.index, Queue: nicQueue, Area: Area{Memory: memory(t, 16*page)}, RefillEntries: 16}
			if tc.change != nil {
				tc.change(&c)
			}
			_, err := newRing(t, 2, Params{Flags: zcrxRings[0].flags}).RegisterZCRX(c)
			t.Log(err)
			if !errors.Is(err, tc.want) {
				t.Errorf("%v, want %v", err, tc.want)
			}
		})
	}
	if _, _, err := n.register(newRing(t, 2, Params{Flags: zcrxRings[0].flags}), nil); err != nil {
		t.Errorf("afterwards: %v", err)
	}
}

// TestLabZCRXNICQueueFull: far more is due than a tiny completion queue has room for. Nothing is lost or repeated.
func TestLabZCRXNICQueueFull(t *testing.T) {
	n := newNIC(t)
	r := newRing(t, 4, Params{Flags: zcrxRings[0].flags, CQEntries: 4})
	q, area, err := n.register(r, nil)
	must(t, err)
	z := &zcrx{t: t, r: r, q: q, area: area, finals: make(map[int32]int)}
	want := pattern(4 * len(area))
	fd, peer := n.connect()
	feed(t, peer, want)
	awaitUnread(t, fd, 16*page)
	if got, res := z.receive(fd, want, 0); got != len(want) || res != 0 {
		t.Errorf("received %d of %d, ended with %d", got, len(want), res)
	}
	if z.finals[-int32(unix.ENOSPC)] == 0 {
		t.Errorf("the queue was never full: %v", z.finals)
	}
	t.Logf("%d data completions, ends: %v", z.data, z.finals)
}

// TestLabZCRXNICOtherQueue: what a connection has in the buffers of one queue can't be received by another, nor by recv.
// It stays in the socket.
func TestLabZCRXNICOtherQueue(t *testing.T) {
	n := newNIC(t)
	r := newRing(t, 4, Params{Flags: zcrxRings[0].flags, CQEntries: 16})
	q, area, err := n.register(r, nil)
	must(t, err)
	other := newZCRX(t, r, 8, nil)
	want := pattern(3 * page)
	fd, peer := n.connect()
	feed(t, peer, want)
	awaitUnread(t, fd, len(want))
	if got, _, err := unix.Recvfrom(fd, make([]byte, page), unix.MSG_DONTWAIT); !errors.Is(err, unix.EFAULT) {
		t.Errorf("recv: %d bytes, %v", got, err)
	}
	push(t, r, RecvZC(fd, other.q.ID(), 0, 0, 1))
	expect(t, r, 1, -int32(unix.EFAULT))
	z := &zcrx{t: t, r: r, q: q, area: area, finals: make(map[int32]int)}
	if got, res := z.receive(fd, want, 0); got != len(want) || res != 0 {
		t.Errorf("received %d of %d, ended with %d", got, len(want), res)
	}
}
