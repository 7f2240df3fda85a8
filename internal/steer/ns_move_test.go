//go:build linux

package steer

import (
	"errors"
	"testing"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"
)

// TestNSMove: a program is moved from one mode to another, and what can't be is
// refused before anything is detached.
func TestNSMove(t *testing.T) {
	needBPF(t)
	w := newWire(t, 0)
	p := loaded(t, Options{})
	l := w.attach(t, p, Generic)
	id := w.attached(t).program
	move := func(to Mode) error { return w.ours.Do(func() error { return p.Move(l, w.ifindex, to) }) }
	for _, c := range []struct{ ask, get Mode }{{Auto, Native}, {Generic, Generic}, {Native, Native}, {Native, Native}} {
		must(t, move(c.ask))
		if got := w.attached(t); got != (attachment{id, c.get}) || l.Mode() != c.get || l.Fallback() != nil {
			t.Errorf("moved to %v: attached %+v, reported %v", c.ask, got, l.Mode())
		}
	}

	// A program that the driver does not take: then it stays what it was.
	must(t, w.ours.Do(func() error {
		err := p.Move(l, w.ifindex, Offloaded)
		if err == nil || errors.Is(err, ErrDetached) {
			t.Errorf("moved to a mode that can't be asked for: %v", err)
		}
		return nil
	}))
	if got := w.attached(t); got != (attachment{id, Native}) || l.Mode() != Native {
		t.Errorf("after a move that failed: %+v, reported %v", got, l.Mode())
	}

	must(t, w.ours.Do(func() error {
		veth0, err := netlink.LinkByIndex(w.ifindex)
		if err != nil {
			return err
		}
		return netlink.LinkDel(veth0)
	}))
	if err := move(Generic); !errors.Is(err, unix.ENODEV) {
		t.Errorf("moved on an interface that is gone: %v", err)
	}
	must(t, l.Close())
	if err := move(Generic); !errors.Is(err, ErrDetached) {
		t.Errorf("moved what is not attached: %v", err)
	}
}
