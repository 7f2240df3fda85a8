//go:build linux

package steer

import (
	"errors"
	"net/netip"
	"testing"

	"github.com/cilium/ebpf/link"
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

// TestNSMoveDetached: when neither the new mode nor the old one can be attached any more,
// the error says that the program is detached, and why; nothing is attached then, and what
// is tried later says the same.
func TestNSMoveDetached(t *testing.T) {
	needBPF(t)
	w := newWire(t, 0)
	p := loaded(t, Options{})
	l := w.attach(t, p, Generic)
	move := func() error { return w.ours.Do(func() error { return p.Move(l, w.ifindex, Native) }) }
	calls := 0
	p.attachXDP = func(o link.XDPOptions) (link.Link, error) {
		if calls++; calls == 1 {
			return link.AttachXDP(o) // the look before the program is detached
		}
		return nil, []error{unix.EOPNOTSUPP, unix.ENOMEM}[calls%2]
	}
	err := move()
	if !errors.Is(err, ErrDetached) || !errors.Is(err, unix.EOPNOTSUPP) || !errors.Is(err, unix.ENOMEM) || calls != 3 {
		t.Errorf("after %d calls: %v", calls, err)
	}
	if got := w.attached(t); got.program != 0 {
		t.Errorf("still attached: %+v", got)
	}
	if err := move(); !errors.Is(err, ErrDetached) || calls != 3 {
		t.Errorf("moved again: %v, %d calls", err, calls)
	}
	must(t, l.Close())
}

// TestNSHush: while a link is hushed nothing gets through, and what is attached stays
// attached; afterwards all is as before.
func TestNSHush(t *testing.T) {
	needBPF(t)
	w := newWire(t, 0)
	p := loaded(t, Options{})
	l := w.attach(t, p, Native)
	was := w.attached(t)
	w.ping(t, our4)
	to := netip.AddrPortFrom(our4, 7000)
	receiver, sender := udp(t, w.ours, to), udp(t, w.peer, netip.AddrPortFrom(peer4, 0))
	q, err := LoadQuiet()
	must(t, err)
	defer q.Close()

	must(t, l.Hush(q))
	if now := w.attached(t); now.program == was.program || now.mode != Native {
		t.Errorf("hushed: attached %+v, was %+v", now, was)
	}
	sendTo(t, sender, to, []byte("hushed"))
	must(t, l.Resume(p))
	if now := w.attached(t); now != was {
		t.Errorf("resumed: attached %+v, was %+v", now, was)
	}
	sendTo(t, sender, to, []byte("resumed"))
	if got := receiveFrom(t, receiver); string(got) != "resumed" {
		t.Errorf("received %q", got)
	}

	must(t, l.Close())
	if err := l.Hush(q); !errors.Is(err, ErrDetached) {
		t.Errorf("hushed what is not attached: %v", err)
	}
}
