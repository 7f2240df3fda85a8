package zctap_test

import (
	"errors"
	"fmt"
	"os"
	"runtime"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/cilium/ebpf"
	"github.com/cilium/ebpf/asm"
	"github.com/cilium/ebpf/link"
	"github.com/vishvananda/netlink"

	"github.com/zctap/zctap"
	"github.com/zctap/zctap/internal/buf"
	"github.com/zctap/zctap/internal/driver/xdp"
	"github.com/zctap/zctap/internal/netns"
)

// letGo has Go's pools and finalizers let go of what earlier tests used, such as the pipes
// of splice(2) between their connections.
func letGo() {
	for range 3 { // a pool keeps what it has for two
		ran := make(chan struct{})
		runtime.SetFinalizer(new([2]*int), func(*[2]*int) { close(ran) })
		for done := false; !done; {
			runtime.GC()
			select {
			case <-ran: // in one goroutine with all others
				done = true
			case <-time.After(10 * time.Millisecond):
			}
		}
	}
}

// descriptors are what this process has open: sockets, programs, maps and links
// among them.
func descriptors(t *testing.T) (list []string) {
	t.Helper()
	entries, err := os.ReadDir("/proc/self/fd")
	if err != nil {
		t.Fatal(err)
	}
	for _, e := range entries {
		to, err := os.Readlink("/proc/self/fd/" + e.Name())
		// Namespaces are opened to come back from others, by what runs the tests.
		if err == nil && !strings.HasPrefix(to, "net:") {
			list = append(list, to)
		}
	}
	slices.Sort(list)
	return list
}

// foreign attaches a program of somebody else's to veth0.
func (w *world) foreign(mode link.XDPAttachFlags) *ebpf.Program {
	w.Helper()
	p, err := ebpf.NewProgram(&ebpf.ProgramSpec{
		Name: "firewall", Type: ebpf.XDP, License: "GPL",
		Instructions: asm.Instructions{asm.Mov.Imm(asm.R0, 2), asm.Return()}, // XDP_PASS
	})
	if err != nil {
		w.Fatal(err)
	}
	w.link(w.ours, "veth0", func(l netlink.Link) error {
		a, err := link.AttachXDP(link.XDPOptions{Program: p, Interface: l.Attrs().Index, Flags: mode})
		if err == nil {
			w.Cleanup(func() { a.Close() })
		}
		return err
	})
	w.Cleanup(func() { p.Close() })
	return p
}

// TestNSXDPRefuses: what can't be opened is refused with the cause and what to do
// about it, and nothing is left behind.
func TestNSXDPRefuses(t *testing.T) {
	w := newWorld(t, netns.VethOptions{Queues: 2})
	in := func(name string, x zctap.XDPConfig) zctap.Config {
		x.JournalDir = w.journals
		return zctap.Config{Engine: zctap.User, Interface: name, XDP: &x, Buffers: 1024}
	}
	with := func(c zctap.Config, change func(*zctap.Config)) zctap.Config {
		change(&c)
		return c
	}
	letGo()
	was, open := w.snapshot(), descriptors(t)
	for _, tt := range []struct {
		name   string
		config zctap.Config
		is     error
		says   []string
	}{
		{"no such interface", in("veth7", zctap.XDPConfig{}), syscall.ENODEV, []string{"veth7", "there is no interface", "ip link"}},
		{"a name that none can have", in("a-name-that-is-too-long", zctap.XDPConfig{}), syscall.ENODEV, []string{"a-name-that-is-too-long"}},
		{"queue out of range", in("veth0", zctap.XDPConfig{Queues: []int{2}}), syscall.EINVAL, []string{"queue 2", "2 receive queues", "ethtool -l"}},
		{"a negative queue", in("veth0", zctap.XDPConfig{Queues: []int{-1}}), syscall.EINVAL, []string{"queue -1", "ethtool -l"}},
		{"a queue twice", in("veth0", zctap.XDPConfig{Queues: []int{1, 1}}), syscall.EINVAL, []string{"queue 1 is listed twice"}},
		{"an unknown mode", in("veth0", zctap.XDPConfig{Mode: "warp"}), syscall.EINVAL, []string{"warp", "zerocopy", "copy", "generic"}},
		{"zero-copy where the driver can't", in("veth0", zctap.XDPConfig{Mode: zctap.XDPZeroCopy}), syscall.EOPNOTSUPP, []string{"zero-copy", "copy mode"}},
		{"not an Ethernet interface", in("lo", zctap.XDPConfig{}), syscall.EOPNOTSUPP, []string{"lo", "not an Ethernet interface"}},
		{"no native XDP", in("lo", zctap.XDPConfig{Mode: zctap.XDPCopy}), syscall.EOPNOTSUPP, []string{"lo"}},
		{"buffers that are no pages", with(in("veth0", zctap.XDPConfig{}), func(c *zctap.Config) { c.BufferSize = 64 << 10 }), syscall.EINVAL, []string{"65536", "page"}},
		{"a region too small", with(in("veth0", zctap.XDPConfig{}), func(c *zctap.Config) { c.Buffers = 64 }), syscall.EINVAL, []string{"veth0", "in the region"}},
	} {
		var q *zctap.Queue
		err := w.ours.Do(func() (err error) { q, err = zctap.Open(tt.config); return err })
		if err == nil {
			q.Close()
			t.Errorf("%s: opened", tt.name)
			continue
		}
		if !errors.Is(err, tt.is) {
			t.Errorf("%s: %v; want %v", tt.name, err, tt.is)
		}
		for _, text := range tt.says {
			if !strings.Contains(err.Error(), text) {
				t.Errorf("%s: %v; does not say %q", tt.name, err, text)
			}
		}
		t.Logf("%s: %v", tt.name, err)
		w.unchanged(was)
		if now := descriptors(t); !slices.Equal(now, open) {
			t.Errorf("%s: open before:\n%s\nnow:\n%s", tt.name, strings.Join(open, "\n"), strings.Join(now, "\n"))
		}
	}
	if _, err := os.Stat(w.journals); err == nil {
		if entries, _ := os.ReadDir(w.journals); len(entries) != 0 {
			t.Errorf("journals: %v", entries)
		}
	}
	// What was refused can be used still.
	q := w.open(zctap.XDPConfig{}, 1024)
	c, z := w.connect(w.listen(q))
	w.exchange(c, z)
	z.Close()
	w.close(q)
}

// TestNSXDPOwned: who has the interface already is named, whoever it is, and keeps
// it.
func TestNSXDPOwned(t *testing.T) {
	t.Run("another zctap", func(t *testing.T) {
		w := newWorld(t, netns.VethOptions{})
		r := w.child("receiver")
		r.start(w.ours)
		r.want("ready")
		was := w.snapshot()
		comm, err := os.ReadFile(fmt.Sprintf("/proc/%d/comm", r.Process.Pid))
		if err != nil {
			t.Fatal(err)
		}
		who := fmt.Sprintf("process %d (%s)", r.Process.Pid, strings.TrimSpace(string(comm)))
		for _, mode := range []string{"", zctap.XDPCopy, zctap.XDPGeneric} {
			_, err := w.tryOpen("veth0", zctap.XDPConfig{Mode: mode}, 1024)
			w.wantSays("Open with mode "+mode, err, syscall.EBUSY, "zctap_steer", who)
		}
		w.unchanged(was)
		c := w.dial(w.theirs, fmt.Sprint("10.89.0.2:", receiverPort))
		if _, err := c.Write([]byte("x")); err != nil {
			t.Fatal(err)
		}
		r.want("received")
		c.SetLinger(0)
		c.Close()
		r.kill()
		w.close(w.open(zctap.XDPConfig{}, 1024)) // at once
	})
	t.Run("this process", func(t *testing.T) {
		w := newWorld(t, netns.VethOptions{})
		q := w.open(zctap.XDPConfig{}, 1024)
		_, err := w.tryOpen("veth0", zctap.XDPConfig{}, 1024)
		w.wantSays("a second Open", err, syscall.EBUSY, "this process", "close that first")
		w.close(q)
	})
	for name, mode := range map[string]link.XDPAttachFlags{"native": link.XDPDriverMode, "generic": link.XDPGenericMode} {
		t.Run("another program, "+name, func(t *testing.T) {
			w := newWorld(t, netns.VethOptions{})
			w.foreign(mode)
			was := w.snapshot()
			for _, x := range []string{"", zctap.XDPCopy, zctap.XDPGeneric} {
				_, err := w.tryOpen("veth0", zctap.XDPConfig{Mode: x}, 1024)
				w.wantSays("Open with mode "+x, err, syscall.EBUSY, "another XDP program", "firewall", name,
					fmt.Sprintf("process %d", os.Getpid()))
			}
			w.unchanged(was)
		})
	}
	t.Run("a socket on the queue", func(t *testing.T) {
		w := newWorld(t, netns.VethOptions{})
		r := w.child("socket")
		r.start(w.ours)
		r.want("bound")
		was := w.snapshot()
		_, err := w.tryOpen("veth0", zctap.XDPConfig{}, 1024)
		w.wantSays("Open", err, syscall.EBUSY, "queue 0", fmt.Sprintf("held by %d (", r.Process.Pid))
		w.unchanged(was)
		r.kill()
		w.close(w.open(zctap.XDPConfig{}, 1024))
	})
}

func init() { roles["socket"] = boundSocket }

// boundSocket binds an AF_XDP socket to queue 0 of veth0, without a program.
func boundSocket() error {
	r, err := buf.NewRegion(buf.RegionConfig{Buffers: 256})
	if err != nil {
		return err
	}
	if _, err := xdp.Open(xdp.Config{Interface: "veth0", Pool: buf.NewPool(r)}); err != nil {
		return err
	}
	fmt.Println("bound")
	_, err = os.Stdin.Read(make([]byte, 1))
	return err
}
