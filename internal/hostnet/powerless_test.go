//go:build linux

package hostnet

import (
	"runtime"
	"testing"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"
)

// powerless runs f on a thread without capabilities, which ends with it.
func powerless(t testing.TB, f func() error) {
	t.Helper()
	done := make(chan error)
	go func() {
		// Never unlocked: the thread does not come back.
		done <- func() error {
			runtime.LockOSThread()
			hdr := unix.CapUserHeader{Version: unix.LINUX_CAPABILITY_VERSION_3}
			var none [2]unix.CapUserData
			if err := unix.Capset(&hdr, &none[0]); err != nil {
				return err
			}
			return f()
		}()
	}()
	if err := <-done; err != nil {
		t.Fatal(err)
	}
}

// TestNSPowerless: without CAP_NET_ADMIN, and with sockets of when there was
// CAP_NET_RAW, missing and stale neighbors are resolved all the same.
func TestNSPowerless(t *testing.T) {
	l := newLAN(t)
	if err := l.a.SetSysctl("net/ipv4/neigh/left/delay_first_probe_time", "1"); err != nil {
		t.Fatal(err)
	}
	h := l.watch(options{})
	a, err := fresh(l)
	if err != nil {
		t.Fatal(err)
	}
	defer a.close()
	ask := func(q question) {
		t.Helper()
		powerless(t, func() error {
			asked, err := a.put(h.Index(), q)
			if err == nil && !asked {
				t.Errorf("%v was not asked for", q.hop)
			}
			return err
		})
	}
	for _, dst := range []string{"10.1.0.2", "fd00:1::2"} {
		ask(question{hop: addr(dst), deaf: addr(dst).Is6()})
		eventually(t, dst+" is found", func() bool { n, ok := h.Neighbor(addr(dst)); return ok && n.State.Usable() })
	}
	l.setNeighbor("10.1.0.2", macOf(t, l.b, "right"), Stale)
	ask(question{hop: addr("10.1.0.2")})
	eventually(t, "the kernel has verified it", func() bool { n, _ := h.Neighbor(addr("10.1.0.2")); return n.State == Reachable })

	// What can't be said to the kernel any more is not tried again.
	l.setNeighbor("10.1.0.2", macOf(t, l.b, "right"), Stale)
	powerless(t, func() error {
		if _, err := a.put(h.Index(), question{hop: addr("10.1.0.2"), confirm: true, mac: macOf(t, l.b, "right")}); err != unix.EPERM {
			t.Errorf("a confirmation: %v, want EPERM", err)
		}
		return nil
	})
	if !a.mayNotConfirm.Load() {
		t.Error("after EPERM it goes on confirming")
	}

	// And nobody is there to answer.
	ask(question{hop: addr("10.1.0.77")})
	eventually(t, "it has failed", func() bool { n, ok := h.Neighbor(addr("10.1.0.77")); return ok && n.State == Failed })

	// Without a socket the kernel's refusal is an error.
	a.nudge.close()
	a.nudge.v4 = -1
	l.left(func(k netlink.Link) error {
		return netlink.NeighDel(&netlink.Neigh{LinkIndex: k.Attrs().Index, IP: addr("10.1.0.77").AsSlice()})
	})
	powerless(t, func() error {
		if _, err := a.put(h.Index(), question{hop: addr("10.1.0.77")}); err != unix.EPERM {
			t.Errorf("without a socket: %v, want EPERM", err)
		}
		return nil
	})
	a.nudge.v6 = -1
}
