//go:build linux

package steer

import (
	"encoding/binary"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"os"
	"testing"
	"time"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"

	"github.com/zctap/zctap/internal/netns"
)

// patience is how long a test waits for what has to come.
const patience = 30 * time.Second

// A cable is a veth pair between two namespaces: ours, where the program is attached,
// and the peer's, where the kernel is alone.
type cable struct {
	ours, peer *netns.NS
	ifindex    int // of ours
}

// addresses are those of the ends of a cable.
var ourAddresses, peerAddresses = []netip.Prefix{netip.PrefixFrom(our4, 24), netip.PrefixFrom(our6, 64)},
	[]netip.Prefix{netip.PrefixFrom(peer4, 24), netip.PrefixFrom(peer6, 64)}

// newWire makes a pair with one queue in each direction.
func newWire(t testing.TB, mtu int) *cable {
	t.Helper()
	w := &cable{ours: newNS(t), peer: newNS(t)}
	must(t, netns.Veth(w.ours, w.peer, netns.VethOptions{AddrA: ourAddresses, AddrB: peerAddresses, MTU: mtu}))
	w.await(t)
	return w
}

// newWideWire makes a pair with several queues in each direction.
func newWideWire(t testing.TB, queues int) *cable {
	t.Helper()
	w := &cable{ours: newNS(t), peer: newNS(t)}
	var peer *os.File
	must(t, w.peer.Do(func() (err error) { peer, err = os.Open("/proc/thread-self/ns/net"); return err }))
	defer peer.Close()
	attrs := netlink.NewLinkAttrs()
	attrs.Name, attrs.NumRxQueues, attrs.NumTxQueues = "veth0", queues, queues
	pair := &netlink.Veth{
		LinkAttrs: attrs,
		PeerName:  "veth0", PeerNamespace: netlink.NsFd(peer.Fd()),
		PeerNumRxQueues: uint32(queues), PeerNumTxQueues: uint32(queues),
	}
	must(t,
		w.ours.Do(func() error { return netlink.LinkAdd(pair) }),
		w.ours.ConfigureLink("veth0", ourAddresses, 0),
		w.peer.ConfigureLink("veth0", peerAddresses, 0),
		w.ours.WaitRunning("veth0", patience),
		w.peer.WaitRunning("veth0", patience),
	)
	w.await(t)
	return w
}

// await waits until both ends receive for their addresses.
func (w *cable) await(t testing.TB) {
	t.Helper()
	must(t,
		w.ours.Do(func() error { return netns.WaitAddresses(ourAddresses, patience) }),
		w.peer.Do(func() error { return netns.WaitAddresses(peerAddresses, patience) }),
	)
	must(t, w.ours.Do(func() error {
		ifi, err := net.InterfaceByName("veth0")
		if err == nil {
			w.ifindex = ifi.Index
		}
		return err
	}))
}

func newNS(t testing.TB) *netns.NS {
	t.Helper()
	ns, err := netns.New()
	must(t, err)
	t.Cleanup(func() { ns.Close() })
	return ns
}

// attach attaches p to our end until the test's end.
func (w *cable) attach(t testing.TB, p *Program, mode Mode) *Link {
	t.Helper()
	var l *Link
	must(t, w.ours.Do(func() (err error) { l, err = p.Attach(w.ifindex, mode); return err }))
	t.Cleanup(func() {
		if err := l.Close(); err != nil {
			t.Error(err)
		}
	})
	return l
}

// attached is what is attached to our end.
func (w *cable) attached(t testing.TB) attachment {
	t.Helper()
	var there attachment
	must(t, w.ours.Do(func() (err error) { there, err = attachedTo(w.ifindex); return err }))
	return there
}

// socket is an AF_XDP socket on a queue of our end, and in the program.
func (w *cable) socket(t testing.TB, p *Program, queue int) *xsk {
	t.Helper()
	var x *xsk
	must(t, w.ours.Do(func() (err error) { x, err = newXSK(w.ifindex, queue); return err }))
	t.Cleanup(x.close)
	must(t, p.SetSocket(queue, x.fd))
	return x
}

// udp is a kernel UDP socket.
func udp(t testing.TB, ns *netns.NS, local netip.AddrPort) *net.UDPConn {
	t.Helper()
	var c *net.UDPConn
	must(t, ns.Do(func() (err error) { c, err = net.ListenUDP("udp", net.UDPAddrFromAddrPort(local)); return err }))
	t.Cleanup(func() { c.Close() })
	return c
}

// sendTo sends a datagram.
func sendTo(t testing.TB, c *net.UDPConn, to netip.AddrPort, payload []byte) {
	t.Helper()
	_, err := c.WriteToUDPAddrPort(payload, to)
	must(t, err)
}

// receiveFrom receives one datagram.
func receiveFrom(t testing.TB, c *net.UDPConn) []byte {
	t.Helper()
	b := make([]byte, 65536)
	must(t, c.SetReadDeadline(time.Now().Add(patience)))
	n, _, err := c.ReadFromUDPAddrPort(b)
	must(t, err)
	return b[:n]
}

// ping has the peer ping us, and returns when the answer is there.
func (w *cable) ping(t testing.TB, to netip.Addr) {
	t.Helper()
	must(t, w.peer.Do(func() error { return ping(to) }))
}

// ping sends an echo request from the thread's namespace and waits for the reply.
// The kernel gives the raw socket a copy, and for ICMPv6 fills in the checksum.
func ping(to netip.Addr) error {
	network, request, reply := "ip4:icmp", byte(8), byte(0)
	if to.Is6() {
		network, request, reply = "ip6:ipv6-icmp", 128, 129
	}
	c, err := net.ListenPacket(network, "")
	if err != nil {
		return err
	}
	defer c.Close()
	m := []byte{request, 0, 0, 0, 'z', 't', 0, 1}
	if to.Is4() {
		binary.BigEndian.PutUint16(m[2:], ^uint16(uint32(request)<<8+'z'<<8+'t'+1))
	}
	if err := c.SetDeadline(time.Now().Add(patience)); err != nil {
		return err
	}
	if _, err := c.WriteTo(m, &net.IPAddr{IP: to.AsSlice()}); err != nil {
		return err
	}
	b := make([]byte, 1500)
	for {
		n, _, err := c.ReadFrom(b)
		if err != nil {
			return fmt.Errorf("ping %v: %w", to, err)
		}
		if n >= 8 && b[0] == reply && b[4] == 'z' && b[5] == 't' {
			return nil
		}
	}
}

// exchange has the peer's kernel and ours exchange size bytes over TCP.
func (w *cable) exchange(t testing.TB, to netip.AddrPort, size int) {
	t.Helper()
	var ln net.Listener
	must(t, w.ours.Do(func() (err error) { ln, err = net.Listen("tcp", to.String()); return err }))
	defer ln.Close()
	done := make(chan error, 1)
	go func() {
		c, err := ln.Accept()
		if err != nil {
			done <- err
			return
		}
		defer c.Close()
		_, err = c.Write(make([]byte, size))
		done <- err
	}()
	var got int
	err := w.peer.Do(func() error {
		c, err := net.DialTimeout("tcp", to.String(), patience)
		if err != nil {
			return err
		}
		defer c.Close()
		if err := c.SetDeadline(time.Now().Add(patience)); err != nil {
			return err
		}
		b := make([]byte, 1<<16)
		for {
			n, err := c.Read(b)
			got += n
			if n == 0 || err != nil {
				return nil
			}
		}
	})
	ln.Close()
	must(t, err, <-done)
	if got != size {
		t.Errorf("%d bytes over TCP to %v, want %d", got, to, size)
	}
}

// startConnect starts to connect from the peer, and returns the socket.
func (w *cable) startConnect(t testing.TB, to netip.AddrPort) int {
	t.Helper()
	fd := -1
	must(t, w.peer.Do(func() error {
		sa, family, err := sockaddr(to)
		if err != nil {
			return err
		}
		fd, err = unix.Socket(family, unix.SOCK_STREAM|unix.SOCK_CLOEXEC|unix.SOCK_NONBLOCK, 0)
		if err != nil {
			return err
		}
		if err := unix.Connect(fd, sa); !errors.Is(err, unix.EINPROGRESS) {
			return fmt.Errorf("connect: %w", err)
		}
		return nil
	}))
	t.Cleanup(func() { unix.Close(fd) })
	return fd
}

// connectError is what has become of a connect so far: EINPROGRESS, an error, or nil.
func connectError(t testing.TB, fd int) error {
	t.Helper()
	fds := []unix.PollFd{{Fd: int32(fd), Events: unix.POLLOUT}}
	n, err := unix.Poll(fds, 0)
	must(t, err)
	if n == 0 {
		return unix.EINPROGRESS
	}
	errno, err := unix.GetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_ERROR)
	must(t, err)
	if errno != 0 {
		return unix.Errno(errno)
	}
	return nil
}

// eventually waits until something holds.
func eventually(t testing.TB, what string, holds func() bool) {
	t.Helper()
	for deadline := time.Now().Add(patience); !holds(); time.Sleep(time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatalf("%s: not within %v", what, patience)
		}
	}
}

// setXDP attaches a program over netlink, without a link, or detaches it if fd is -1.
func (w *cable) setXDP(t testing.TB, fd int, mode Mode) {
	t.Helper()
	flags := unix.XDP_FLAGS_DRV_MODE
	if mode == Generic {
		flags = unix.XDP_FLAGS_SKB_MODE
	}
	must(t, w.ours.Do(func() error {
		l, err := netlink.LinkByIndex(w.ifindex)
		if err != nil {
			return err
		}
		return netlink.LinkSetXdpFdWithFlags(l, fd, flags)
	}))
}
