//go:build linux

package steer

import (
	"errors"
	"fmt"
	"net"
	"os"
	"strings"
	"testing"

	"github.com/cilium/ebpf"
	"github.com/cilium/ebpf/asm"
	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"
)

// TestNSAttach: the mode obtained is the one reported, and after Close there is
// nothing left.
func TestNSAttach(t *testing.T) {
	needBPF(t)
	w := newWire(t, 0)
	for _, c := range []struct{ ask, get Mode }{{Auto, Native}, {Native, Native}, {Generic, Generic}} {
		p := loaded(t, Options{})
		l := w.attach(t, p, c.ask)
		info, err := p.prog.Info()
		must(t, err)
		id, _ := info.ID()
		if got := w.attached(t); got.mode != c.get || got.program != uint32(id) || l.Mode() != c.get || l.Fallback() != nil {
			t.Errorf("%v: attached %+v, reported %v, fallback %v; want %v of program %d", c.ask, got, l.Mode(), l.Fallback(), c.get, id)
		}
		must(t, l.Close(), l.Close())
		if got := w.attached(t); got != (attachment{}) {
			t.Errorf("%v: after Close there is %+v", c.ask, got)
		}
	}
}

// TestNSAttachFallback: the loopback interface has no native XDP.
func TestNSAttachFallback(t *testing.T) {
	needBPF(t)
	ns := newNS(t)
	p := loaded(t, Options{})
	must(t, ns.Do(func() error {
		lo, err := net.InterfaceByName("lo")
		if err != nil {
			return err
		}
		if _, err := p.Attach(lo.Index, Native); !errors.Is(err, unix.EOPNOTSUPP) || !strings.Contains(err.Error(), "use generic mode") {
			t.Errorf("native on lo: %v", err)
		}
		l, err := p.Attach(lo.Index, Auto)
		if err != nil {
			return err
		}
		if l.Mode() != Generic || !errors.Is(l.Fallback(), unix.EOPNOTSUPP) {
			t.Errorf("auto on lo: %v, fallback %v", l.Mode(), l.Fallback())
		}
		return l.Close()
	}))
}

// TestNSAttachErrors: what is wrong is said, and nothing stays.
func TestNSAttachErrors(t *testing.T) {
	needBPF(t)
	w := newWire(t, 0)
	p := loaded(t, Options{})
	for _, c := range []struct {
		ifindex int
		mode    Mode
		want    unix.Errno
		says    string
	}{
		{0, Auto, unix.EINVAL, "interface index 0"},
		{-1, Auto, unix.EINVAL, "interface index -1"},
		{4711, Auto, unix.ENODEV, "no interface of index 4711"},
		{w.ifindex, Offloaded, unix.EINVAL, "offloaded"},
		{w.ifindex, Mode(9), unix.EINVAL, "mode 9"},
	} {
		err := w.ours.Do(func() error { _, err := p.Attach(c.ifindex, c.mode); return err })
		if !errors.Is(err, c.want) || !strings.Contains(err.Error(), c.says) {
			t.Errorf("interface %d, %v: %v; want %v that says %q", c.ifindex, c.mode, err, c.want, c.says)
		}
	}
	if got := w.attached(t); got != (attachment{}) {
		t.Errorf("attached: %+v", got)
	}
}

// TestNSConflict: another program on the interface is named, with what holds it.
func TestNSConflict(t *testing.T) {
	needBPF(t)
	first, second := loaded(t, Options{}), loaded(t, Options{})
	info, err := first.prog.Info()
	must(t, err)
	id, _ := info.ID()
	for _, kind := range []Kind{KindLink, KindNetlink} {
		for _, there := range []Mode{Native, Generic} {
			for _, ask := range []Mode{Auto, Native, Generic} {
				t.Run(fmt.Sprintf("%v beside %v, kind %d", ask, there, kind), func(t *testing.T) {
					w := newWire(t, 0)
					want := ConflictError{Interface: "veth0", ID: uint32(id), Name: "zctap_steer", Tag: info.Tag, Mode: there, Kind: kind}
					var says string
					switch kind {
					case KindLink:
						w.attach(t, first, there)
						want.PID = os.Getpid()
						comm, err := os.ReadFile("/proc/self/comm")
						must(t, err)
						want.Command = strings.TrimSpace(string(comm))
						says = fmt.Sprintf("process %d (%s)", want.PID, want.Command)
					case KindNetlink:
						w.setXDP(t, first.prog.FD(), there)
						says = "`ip link set dev veth0 " + map[Mode]string{Native: "xdpdrv", Generic: "xdpgeneric"}[there] + " off`"
					}
					err := w.ours.Do(func() error { _, err := second.Attach(w.ifindex, ask); return err })
					var got *ConflictError
					if !errors.As(err, &got) || *got != want || !errors.Is(err, unix.EBUSY) {
						t.Fatalf("%+v (%v), want %+v", got, err, want)
					}
					for _, text := range []string{"zctap_steer", fmt.Sprint(id), info.Tag, there.String(), "veth0", says} {
						if !strings.Contains(err.Error(), text) {
							t.Errorf("%v does not say %q", err, text)
						}
					}
					if got := w.attached(t); got != (attachment{uint32(id), there}) {
						t.Errorf("after the conflict, attached: %+v", got)
					}
				})
			}
		}
	}
}

// TestNSMTUTooLarge: a driver that refuses native XDP for the MTU has the error name
// that, and what to do; Auto does with generic mode then, and says why. veth is such
// a driver for programs that do not take frames in several buffers, as other drivers
// are for all.
func TestNSMTUTooLarge(t *testing.T) {
	needBPF(t)
	w := newWire(t, 9000)
	p := loaded(t, Options{})
	simple, err := ebpf.NewProgram(&ebpf.ProgramSpec{
		Type: ebpf.XDP, License: "GPL", Instructions: asm.Instructions{asm.Mov.Imm(asm.R0, 2), asm.Return()}, // XDP_PASS
	})
	must(t, err)
	must(t, p.prog.Close())
	p.prog = simple // closed with p
	refused := func(what string, err error) {
		for _, text := range []string{"native", "MTU of 9000", "ip link set dev veth0 mtu", "generic"} {
			if err == nil || !strings.Contains(err.Error(), text) {
				t.Errorf("%s: %v; does not say %q", what, err, text)
			}
		}
	}
	refused("native", w.ours.Do(func() error { _, err := p.Attach(w.ifindex, Native); return err }))
	if got := w.attached(t); got != (attachment{}) {
		t.Errorf("after the refusal, attached: %+v", got)
	}
	l := w.attach(t, p, Auto)
	if l.Mode() != Generic {
		t.Errorf("auto: %v", l.Mode())
	}
	refused("the reason for generic mode", l.Fallback())
	must(t, l.Close())
	must(t, w.ours.Do(func() error {
		veth0, err := netlink.LinkByIndex(w.ifindex)
		if err != nil {
			return err
		}
		return netlink.LinkSetMTU(veth0, 1500)
	}))
	must(t, w.peer.Do(func() error {
		veth0, err := netlink.LinkByName("veth0")
		if err != nil {
			return err
		}
		return netlink.LinkSetMTU(veth0, 3498)
	}))
	w.attach(t, p, Native) // the remedy is one
}

// TestNSInterfaceGone: the link goes with its interface, and Close does not mind.
func TestNSInterfaceGone(t *testing.T) {
	needBPF(t)
	w := newWire(t, 0)
	p := loaded(t, Options{})
	l := w.attach(t, p, Native)
	must(t, w.ours.Do(func() error {
		link, err := netlink.LinkByIndex(w.ifindex)
		if err != nil {
			return err
		}
		return netlink.LinkDel(link)
	}))
	must(t, l.Close())
}

// TestNSAttachAfterClose: a closed program can't be attached, and one that is
// attached goes on after Close.
func TestNSAttachAfterClose(t *testing.T) {
	needBPF(t)
	w := newWire(t, 0)
	p := loaded(t, Options{})
	w.attach(t, p, Native)
	must(t, p.Close())
	if got := w.attached(t); got.mode != Native {
		t.Errorf("after Close of the program, attached: %+v", got)
	}
	err := w.ours.Do(func() error { _, err := p.Attach(w.ifindex, Native); return err })
	if !errors.Is(err, net.ErrClosed) {
		t.Errorf("Attach after Close: %v", err)
	}
}
