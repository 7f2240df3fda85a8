//go:build linux

// Package endtoend has the user engine on the AF_XDP driver exchange streams with
// the kernel's TCP.
package endtoend

import (
	"errors"
	"fmt"
	"io"
	"net"
	"net/netip"
	"testing"
	"time"

	"github.com/cilium/ebpf"
	"github.com/cilium/ebpf/asm"
	"github.com/cilium/ebpf/link"
	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"

	"github.com/zctap/zctap/internal/buf"
	"github.com/zctap/zctap/internal/driver/xdp"
	"github.com/zctap/zctap/internal/engine"
	"github.com/zctap/zctap/internal/engine/user"
	"github.com/zctap/zctap/internal/netns"
	"github.com/zctap/zctap/internal/pattern"
	"github.com/zctap/zctap/internal/sockq"
	"github.com/zctap/zctap/internal/testenv"
)

func TestMain(m *testing.M) { testenv.Main(m) }

// patience bounds what a test waits for.
const patience = 40 * time.Second

var (
	kernel4, ours4 = netip.MustParsePrefix("10.9.2.1/24"), netip.MustParsePrefix("10.9.2.2/24")
	kernel6, ours6 = netip.MustParsePrefix("fd09:2::1/64"), netip.MustParsePrefix("fd09:2::2/64")
)

// A host is a user engine at one end of a veth pair.
type host struct {
	*user.Engine
	pool   *buf.Pool
	driver *xdp.Driver
	kernel *netns.NS // at the other end
}

func newHost(t *testing.T, mtu, buffers int) *host {
	t.Helper()
	testenv.NeedRoot(t)
	ours, kernel := newNS(t), newNS(t)
	err := netns.Veth(ours, kernel, netns.VethOptions{NameA: "zt0", NameB: "k0", AddrB: []netip.Prefix{kernel4, kernel6}, MTU: mtu})
	if err == nil {
		err = kernel.Do(func() error { return netns.WaitAddresses([]netip.Prefix{kernel6}, patience) })
	}
	if err != nil {
		t.Fatal(err)
	}
	h := &host{pool: newPool(t, buffers), kernel: kernel}
	here, there := linkOf(t, ours, "zt0"), linkOf(t, kernel, "k0")
	learn(t, kernel, there.Index, here.HardwareAddr)
	sockets := attach(t, ours, here.Index)
	mac := [6]byte(there.HardwareAddr)
	err = ours.Do(func() (err error) {
		h.driver, err = xdp.Open(xdp.Config{
			Interface: "zt0", Pool: h.pool,
			Resolver: static{kernel4.Addr(): mac, kernel6.Addr(): mac},
			Register: func(queue, fd int) error { return sockets.Put(uint32(queue), uint32(fd)) },
		})
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	h.Engine, err = user.New(engine.Config{Pool: h.pool, CQ: sockq.NewCQ()}, user.Options{
		Driver: h.driver, Prefixes: []netip.Prefix{ours4, ours6}, TimeWait: 10 * time.Millisecond,
	})
	if err != nil {
		t.Fatal(errors.Join(err, h.driver.Close()))
	}
	t.Cleanup(func() {
		if err := h.Close(); err != nil {
			t.Errorf("Close: %v", err)
		}
	})
	return h
}

// static is a Resolver.
type static map[netip.Addr][6]byte

func (s static) MAC(dst netip.Addr) (mac [6]byte, ok bool) { mac, ok = s[dst]; return mac, ok }

func newNS(t *testing.T) *netns.NS {
	t.Helper()
	ns, err := netns.New()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { ns.Close() })
	return ns
}

// newPool makes a pool, and checks at the test's end that every buffer is back.
func newPool(t *testing.T, buffers int) *buf.Pool {
	t.Helper()
	r, err := buf.NewRegion(buf.RegionConfig{Buffers: buffers})
	if err != nil {
		t.Fatal(err)
	}
	p := buf.NewPool(r)
	t.Cleanup(func() {
		if c, err := p.Census(); err != nil || c.Out() != 0 {
			t.Errorf("census at the end: %+v, %v", c, err)
		}
		p.Close()
		if !p.Remove() {
			t.Error("the pool can't be removed")
		}
	})
	return p
}

func linkOf(t *testing.T, ns *netns.NS, name string) *netlink.LinkAttrs {
	t.Helper()
	var l netlink.Link
	err := ns.Do(func() (err error) { l, err = netlink.LinkByName(name); return err })
	if err != nil {
		t.Fatal(err)
	}
	return l.Attrs()
}

// learn tells the kernel our link address: nobody answers for it here.
func learn(t *testing.T, ns *netns.NS, index int, mac net.HardwareAddr) {
	t.Helper()
	for _, p := range []netip.Prefix{ours4, ours6} {
		err := ns.Do(func() error {
			return netlink.NeighSet(&netlink.Neigh{LinkIndex: index, State: netlink.NUD_PERMANENT, IP: p.Addr().AsSlice(), HardwareAddr: mac})
		})
		if err != nil {
			t.Fatal(err)
		}
	}
}

// attach attaches a program that redirects every frame to the socket of its
// queue in the map that it returns.
func attach(t *testing.T, ns *netns.NS, index int) *ebpf.Map {
	t.Helper()
	sockets, err := ebpf.NewMap(&ebpf.MapSpec{Type: ebpf.XSKMap, KeySize: 4, ValueSize: 4, MaxEntries: 1})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { sockets.Close() })
	const rxQueueIndex, xdpPass = 16, 2 // in struct xdp_md; enum xdp_action
	prog, err := ebpf.NewProgram(&ebpf.ProgramSpec{
		Type: ebpf.XDP, License: "MIT", Flags: unix.BPF_F_XDP_HAS_FRAGS,
		Instructions: asm.Instructions{
			asm.LoadMem(asm.R2, asm.R1, rxQueueIndex, asm.Word),
			asm.LoadMapPtr(asm.R1, sockets.FD()),
			asm.Mov.Imm(asm.R3, xdpPass),
			asm.FnRedirectMap.Call(),
			asm.Return(),
		},
	})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { prog.Close() })
	var l link.Link
	err = ns.Do(func() (err error) {
		l, err = link.AttachXDP(link.XDPOptions{Program: prog, Interface: index, Flags: link.XDPDriverMode})
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { l.Close() })
	return sockets
}

// talk is the kernel's side of a connection: it sends a stream, and wants another
// as the answer.
func (h *host) talk(to netip.AddrPort, out *pattern.Pattern, total int64, in *pattern.Pattern, answer int) error {
	return h.kernel.Do(func() error {
		c, err := net.DialTCP("tcp", nil, net.TCPAddrFromAddrPort(to))
		if err != nil {
			return err
		}
		defer c.Close()
		if err := c.SetDeadline(time.Now().Add(patience)); err != nil {
			return err
		}
		if _, err := io.Copy(c, out.Reader(total)); err != nil {
			return err
		}
		if err := c.CloseWrite(); err != nil {
			return err
		}
		got, err := io.ReadAll(c)
		if len(got) != answer || in.Mismatches(got, 0) != 0 {
			err = errors.Join(err, fmt.Errorf("the answer of %d bytes is not what was sent", len(got)))
		}
		return err
	})
}

// TestNSTransfer: a transfer both ways between the user engine and the kernel's
// TCP, whose payload lands in the region and is never copied by us.
func TestNSTransfer(t *testing.T) {
	for _, tt := range []struct {
		name string
		mtu  int
		ours netip.Prefix
	}{
		{"1500", 1500, ours4},
		{"1500 IPv6", 1500, ours6},
		{"9000", 9000, ours4},
		{"9000 IPv6", 9000, ours6},
	} {
		t.Run(tt.name, func(t *testing.T) {
			h := newHost(t, tt.mtu, 4096)
			const total, answer = 64 << 20, 4 << 20
			out, in := pattern.New(1), pattern.New(2)
			l, err := h.Listen("tcp", netip.AddrPortFrom(tt.ours.Addr(), 9000), 0)
			if err != nil {
				t.Fatal(err)
			}
			t.Cleanup(func() { l.Backlog().Close(); l.Close() })
			done := make(chan error, 1)
			go func() { done <- h.talk(l.Addr(), out, total, in, answer) }()
			l.Backlog().SetDeadline(time.Now().Add(patience))
			c, err := l.Backlog().Accept()
			if err != nil {
				t.Fatal(err, <-done)
			}
			began := time.Now()
			if n := receive(t, h.pool, c, out); n != total {
				t.Errorf("received %d bytes, want %d", n, total)
			}
			took := time.Since(began)
			payload := make([]byte, answer)
			in.Fill(payload, 0)
			if n, err := c.Write(payload); n != answer || err != nil {
				t.Errorf("Write = %d, %v", n, err)
			}
			if err := c.CloseWrite(); err != nil {
				t.Error(err)
			}
			if err := <-done; err != nil {
				t.Errorf("the kernel's side: %v", err)
			}
			c.Queue().Close()
			if err := c.Close(); err != nil {
				t.Error(err)
			}
			var s engine.Stats
			h.Stats(&s)
			if s.ZeroCopyBytes+s.CopiedBytes != total || s.CopiedBytes > total/100 {
				t.Errorf("%d bytes where the driver put them, and %d copied; want %d, and few copied", s.ZeroCopyBytes, s.CopiedBytes, total)
			}
			t.Logf("%.2f GB/s; %d frames in %d batches, %d system calls; drops %v", float64(total)/1e9/took.Seconds(), s.Frames, s.Batches, s.Syscalls, s.Drops)
		})
	}
}

// receive receives until the stream ends, and checks what comes.
func receive(t *testing.T, p *buf.Pool, c engine.Conn, want *pattern.Pattern) (n int64) {
	t.Helper()
	c.Queue().SetDeadline(time.Now().Add(patience))
	iovs := make([]buf.Iov, 64)
	for {
		k, err := c.Queue().Recv(iovs, 1<<30)
		if err == io.EOF {
			return n
		}
		if err != nil {
			t.Fatalf("after %d bytes: %v", n, err)
		}
		for i := range iovs[:k] {
			b := iovs[i].Bytes()
			if bad := want.Mismatches(b, n); bad != 0 {
				t.Fatalf("%d bytes of %d from %d on are wrong", bad, len(b), n)
			}
			n += int64(len(b))
		}
		if _, err := p.Return(iovs[:k]); err != nil {
			t.Fatal(err)
		}
	}
}
