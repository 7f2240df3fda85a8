package zctap_test

import (
	"errors"
	"io"
	"net"
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

// listen listens at zctap's end, on a port of the kernel's choice.
func (w *world) listen(q *zctap.Queue) *zctap.Listener {
	w.Helper()
	ln, err := q.Listen("tcp4", ":0")
	if err != nil {
		w.Fatal(err)
	}
	w.Cleanup(func() { ln.Close() })
	return ln
}

// connect connects the kernel at the other end to a listener of zctap's.
func (w *world) connect(ln *zctap.Listener) (*net.TCPConn, *zctap.Conn) {
	w.Helper()
	_, port, _ := net.SplitHostPort(ln.Addr().String())
	c := w.dial(w.theirs, net.JoinHostPort(vethOurs4.Addr().String(), port))
	if err := ln.SetDeadline(time.Now().Add(patience)); err != nil {
		w.Fatal(err)
	}
	z, err := ln.AcceptZC()
	if err != nil {
		w.Fatal(err)
	}
	w.Cleanup(func() { z.Close() })
	return c, z
}

func (w *world) event(q *zctap.Queue, name string) uint64 { return q.Stats().Events[name] }

// wantSays fails unless err is want, and says each of the texts.
func (w *world) wantSays(what string, err error, want syscall.Errno, texts ...string) {
	w.Helper()
	if !errors.Is(err, want) {
		w.Errorf("%s: %v; want %v", what, err, want)
		return
	}
	for _, text := range texts {
		if !strings.Contains(err.Error(), text) {
			w.Errorf("%s: %v; does not say %q", what, err, text)
		}
	}
}

// TestNSXDPDownUp: connections outlive that the interface goes down and comes up,
// and that it gets another name meanwhile.
func TestNSXDPDownUp(t *testing.T) {
	for _, mode := range []string{zctap.XDPCopy, zctap.XDPGeneric} {
		t.Run(mode, func(t *testing.T) { downUp(t, mode) })
	}
}

func downUp(t *testing.T, mode string) {
	w := newWorld(t, netns.VethOptions{})
	q := w.open(zctap.XDPConfig{Mode: mode}, 1024)
	ln := w.listen(q)
	c, z := w.connect(ln)
	w.exchange(c, z)
	name := "veth0"
	for i, next := range []string{"veth0", "other0"} {
		w.link(w.ours, name, netlink.LinkSetDown)
		w.eventually("it is counted", func() bool { return w.event(q, "interface-down") == uint64(i+1) })
		_, err := q.Dial("tcp", "10.89.0.1:9")
		w.wantSays("Dial", err, syscall.ENETDOWN, name+" is down", "ip link")
		refused := w.event(q, "xdp-tx-interface-down")
		if _, err := z.Write([]byte("sent while it is down")); err != nil {
			t.Fatal(err)
		}
		w.eventually("a frame that can't be sent is counted", func() bool { return w.event(q, "xdp-tx-interface-down") > refused })
		if _, err := c.Write([]byte("and this too")); err != nil {
			t.Fatal(err)
		}
		if next != name {
			w.link(w.ours, name, func(l netlink.Link) error { return netlink.LinkSetName(l, next) })
			name = next
		}
		w.link(w.ours, name, netlink.LinkSetUp)
		for _, d := range []struct {
			from io.Reader
			want string
		}{{c, "sent while it is down"}, {z, "and this too"}} {
			got := make([]byte, len(d.want))
			if _, err := io.ReadFull(d.from, got); err != nil || string(got) != d.want {
				t.Fatalf("received %q, %v; want %q", got, err, d.want)
			}
		}
		w.exchange(c, z)
		c2, z2 := w.connect(ln)
		w.exchange(c2, z2)
	}
	if n := w.event(q, "interface-renamed"); n != 1 {
		t.Errorf("renamed %d times", n)
	}
	w.close(q)
}

// TestNSXDPGone: when the interface goes away every call says so, nothing hangs,
// and the memory is given back.
func TestNSXDPGone(t *testing.T) {
	for _, tt := range []struct {
		name string
		gone func(w *world)
	}{
		{"deleted", func(w *world) { w.link(w.ours, "veth0", netlink.LinkDel) }},
		{"moved", func(w *world) {
			other := newNS(t)
			var home *os.File
			w.in(other, func() (err error) { home, err = os.Open("/proc/thread-self/ns/net"); return err })
			defer home.Close()
			w.link(w.ours, "veth0", func(l netlink.Link) error { return netlink.LinkSetNsFd(l, int(home.Fd())) })
		}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			w := newWorld(t, netns.VethOptions{})
			q := w.open(zctap.XDPConfig{Mode: zctap.XDPCopy}, 1024)
			ln := w.listen(q)
			c, z := w.connect(ln)
			w.exchange(c, z)
			p, err := q.ListenPacket("udp4", ":0")
			if err != nil {
				t.Fatal(err)
			}
			defer p.Close()
			ended := make(chan error, 3)
			go func() { _, err := z.RecvZC(make([]zctap.Iov, 1)); ended <- err }()
			ln.SetDeadline(time.Time{})
			go func() { _, err := ln.AcceptZC(); ended <- err }()
			go func() { _, err := p.Read(make([]byte, 1)); ended <- err }()
			tt.gone(w)
			const says = "the interface was deleted, or moved to another namespace"
			for range cap(ended) {
				select {
				case err := <-ended:
					w.wantSays("a call that was blocked", err, syscall.ENODEV, says, "veth0")
				case <-time.After(patience):
					t.Fatal("a call goes on though the interface is gone")
				}
			}
			_, err = z.Write([]byte("x"))
			w.wantSays("Write", err, syscall.ENODEV, says)
			_, err = q.Dial("tcp", "10.89.0.1:9")
			w.wantSays("Dial", err, syscall.ENODEV)
			_, err = q.Listen("tcp", ":0")
			w.wantSays("Listen", err, syscall.ENODEV)
			_, err = q.ListenPacket("udp", ":0")
			w.wantSays("ListenPacket", err, syscall.ENODEV)
			w.eventually("it is counted", func() bool { return w.event(q, "interface-deleted") == 1 })
			w.close(q)
		})
	}
}

// TestNSXDPMTU: a lower MTU is what new connections go by, and it comes back.
func TestNSXDPMTU(t *testing.T) {
	for _, mode := range []string{zctap.XDPCopy, zctap.XDPGeneric} {
		t.Run(mode, func(t *testing.T) { changeMTU(t, mode) })
	}
}

func changeMTU(t *testing.T, mode string) {
	w := newWorld(t, netns.VethOptions{MTU: 2000})
	q := w.open(zctap.XDPConfig{Mode: mode}, 1024)
	ln := w.listen(q)
	c, z := w.connect(ln)
	for i, tt := range []struct{ mtu, mss int }{{1000, 948}, {1400, 1348}, {2000, 1948}, {3000, 1948}} {
		w.link(w.ours, "veth0", func(l netlink.Link) error { return netlink.LinkSetMTU(l, tt.mtu) })
		w.eventually("it is counted", func() bool { return w.event(q, "interface-mtu-changed") == uint64(i+1) })
		c2, z2 := w.connect(ln)
		raw, err := c2.SyscallConn()
		if err != nil {
			t.Fatal(err)
		}
		var info *unix.TCPInfo
		raw.Control(func(fd uintptr) { info, err = unix.GetsockoptTCPInfo(int(fd), unix.IPPROTO_TCP, unix.TCP_INFO) })
		// The option's 12 bytes of every segment, timestamps, are taken off.
		if err != nil || int(info.Snd_mss) != tt.mss {
			t.Errorf("MTU %d: the peer sends segments of %d, want %d (%v)", tt.mtu, info.Snd_mss, tt.mss, err)
		}
		w.transfer(c2, z2, 300_000)
		w.exchange(c, z)
	}
	w.close(q)
}

// transfer sends so many bytes in both directions of a new connection.
func (w *world) transfer(c *net.TCPConn, z *zctap.Conn, bytes int) {
	w.Helper()
	for _, d := range []struct{ from, to net.Conn }{{c, z}, {z, c}} {
		sent := make(chan error, 1)
		go func() {
			_, err := d.from.Write(make([]byte, bytes))
			sent <- err
		}()
		d.to.SetReadDeadline(time.Now().Add(patience))
		if _, err := io.CopyN(io.Discard, d.to, int64(bytes)); err != nil {
			w.Fatal(err)
		}
		if err := <-sent; err != nil {
			w.Fatal(err)
		}
	}
}

// setQueues sets the number of veth0's queues.
func (w *world) setQueues(n string) {
	w.Helper()
	if out, err := w.output(w.ours, "ethtool", "-L", "veth0", "rx", n, "tx", n); err != nil {
		w.Fatalf("ethtool -L: %v: %s", err, out)
	}
}

func (w *world) output(ns *netns.NS, name string, args ...string) (string, error) {
	cmd := exec.Command(name, args...)
	var out strings.Builder
	cmd.Stdout, cmd.Stderr = &out, &out
	err := ns.Run(cmd)
	return out.String(), err
}

// TestNSXDPQueueCount: an interface that gets more queues than it had ends a queue
// that was meant to have all of them, with the reason; and one that was told which
// queues to use not.
func TestNSXDPQueueCount(t *testing.T) {
	for _, queues := range [][]int{nil, {0}} {
		w := newWorld(t, netns.VethOptions{Queues: 2})
		w.setQueues("1")
		q := w.open(zctap.XDPConfig{Queues: queues}, 1024)
		ln := w.listen(q)
		c, z := w.connect(ln)
		w.exchange(c, z)
		w.setQueues("2")
		if queues != nil {
			w.setQueues("1")
			w.exchange(c, z)
			w.close(q)
			continue
		}
		ln.SetDeadline(time.Now().Add(patience))
		_, err := ln.AcceptZC()
		w.wantSays("Accept", err, syscall.ESTALE, "veth0 has 2 receive queues now, and had 1", "close and open again")
		_, err = z.RecvZC(make([]zctap.Iov, 1))
		w.wantSays("RecvZC", err, syscall.ESTALE, "2 receive queues")
		w.close(q)
		q = w.open(zctap.XDPConfig{Mode: zctap.XDPCopy}, 1024)
		c, z = w.connect(w.listen(q))
		w.exchange(c, z)
		w.close(q)
	}
}

// TestNSXDPFewerQueues: the kernel does not take a queue away that a socket is bound to,
// and one that is not bound may go.
func TestNSXDPFewerQueues(t *testing.T) {
	w := newWorld(t, netns.VethOptions{Queues: 3})
	// With a program, veth wants a receive queue for each that the peer sends by.
	if out, err := w.output(w.theirs, "ethtool", "-L", "veth1", "tx", "1"); err != nil {
		t.Fatalf("ethtool -L: %v: %s", err, out)
	}
	q := w.open(zctap.XDPConfig{Queues: []int{0, 1}}, 2048)
	c, z := w.connect(w.listen(q))
	w.exchange(c, z)
	w.setQueues("2")
	w.exchange(c, z)
	if out, err := w.output(w.ours, "ethtool", "-L", "veth0", "rx", "1", "tx", "1"); err == nil {
		// A kernel that does: then the queue has to end, and say so.
		_, err := z.RecvZC(make([]zctap.Iov, 1))
		w.wantSays("RecvZC", err, syscall.ESTALE, "veth0 has 1 receive queues now, and queue 1 is no more", "close and open again")
	} else {
		t.Logf("the kernel refuses: %s", strings.TrimSpace(out))
		w.exchange(c, z)
	}
	w.close(q)
}
