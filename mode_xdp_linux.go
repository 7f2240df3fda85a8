package zctap

import (
	"errors"
	"fmt"
	"net"
	"sync"
	"syscall"

	"github.com/zctap/zctap/internal/netns"
	"github.com/zctap/zctap/internal/nic"
	"github.com/zctap/zctap/internal/steer"
)

// An attachment is the steering program on the interface, in a mode that Auto may
// change while it runs: where generic mode is the better one for TCP alone, it is left
// before the first datagram can be received (ADR 9).
type attachment struct {
	program *steer.Program
	ns      *netns.NS
	index   int
	fail    func(error) // the engine's, when the program is not attached any more

	mu     sync.Mutex
	link   *steer.Link  // nil after close
	quiet  *steer.Quiet // for a driver of fragileRings; nil: it is none, or detached
	early  error        // of detachFirst
	hint   string       // why the driver may have refused native mode
	forTCP choice
}

// A choice is what has become of generic mode as the one for TCP.
type choice uint8

const (
	notMade choice = iota
	made
	left // for UDP
)

var (
	errForTCP = errors.New("veth copies in every mode, and in generic mode TCP comes as its sender on this machine left it, uncut;" +
		" native mode from the first UDP socket on")
	errForUDP = errors.New("there was a UDP socket, and in generic mode datagrams that are sent in one piece (UDP_SEGMENT) get lost")
)

// attach attaches the program to an interface of that name, in the namespace of the
// calling thread.
func (a *attachment) attach(mode steer.Mode, name string, mtu int) (err error) {
	var driver string
	if mode != steer.Generic {
		// Before generic mode turns some of it off. What can't be read is no hint.
		if s, err := nic.Inspect(name); err == nil {
			a.hint, driver = nativeHint(s, mtu), s.Driver
		}
	}
	if a.link, err = a.program.Attach(a.index, mode); err != nil {
		return a.explained(err)
	}
	if a.link.Mode() != steer.Native || !fragileRings[driver] {
		return nil
	}
	if a.quiet, err = steer.LoadQuiet(); err != nil {
		return err
	}
	return a.link.Hush(a.quiet)
}

// fragileRings are the drivers that must not get a packet for the kernel while they make
// their rings anew, as they do when a program or the memory of an AF_XDP socket comes or
// goes: gve (Linux 7.3.4) runs the program on rings that are half set up then, and the
// kernel that passes a packet on from there goes down (docs/lab.md). Every frame is dropped
// until all sockets are bound, and while the program is detached, before they are closed.
var fragileRings = map[string]bool{"gve": true}

// detachFirst detaches the program before the first socket is closed, if the driver wants
// that: it takes the region away from queues that go on to receive into it otherwise.
func (a *attachment) detachFirst() {
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.quiet != nil {
		a.early = a.detach()
	}
}

// resume has the program run again, when all sockets are bound.
func (a *attachment) resume() error {
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.quiet == nil || a.link == nil {
		return nil
	}
	return a.link.Resume(a.program)
}

// explained adds the hint to what the driver refuses.
func (a *attachment) explained(err error) error {
	if a.hint == "" || !errors.Is(err, syscall.EOPNOTSUPP) && !errors.Is(err, syscall.EINVAL) {
		return err
	}
	return fmt.Errorf("%w%s", err, a.hint)
}

// leaveTCP leaves the mode that does for TCP only, if Auto has chosen it. What comes
// while it does is lost, and sent again by TCP. Any goroutine.
func (a *attachment) leaveTCP() error {
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.link == nil {
		return net.ErrClosed
	}
	if a.forTCP != made {
		return nil
	}
	err := a.ns.Do(func() error { return a.program.Move(a.link, a.index, steer.Auto) })
	if errors.Is(err, steer.ErrDetached) {
		a.fail(err)
	}
	if err != nil {
		return fmt.Errorf("leaving generic XDP, which would lose datagrams (Config.XDP.Mode fixes the mode from the beginning): %w", err)
	}
	a.forTCP = left
	return nil
}

// mode is what the program runs in, and why Auto did not find a better one; Auto
// after close.
func (a *attachment) mode() (m steer.Mode, why error) {
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.link == nil {
		return steer.Auto, nil
	}
	why = a.explained(a.link.Fallback())
	switch a.forTCP {
	case made:
		why = errForTCP
	case left:
		why = errors.Join(errForUDP, why)
	}
	return a.link.Mode(), why
}

func (a *attachment) close() error {
	a.mu.Lock()
	defer a.mu.Unlock()
	return errors.Join(a.early, a.detach())
}

func (a *attachment) detach() error {
	if a.link == nil {
		return nil
	}
	var err error
	if a.quiet != nil {
		// An interface that is gone has no program to exchange, and needs none.
		_ = a.link.Hush(a.quiet)
		err = a.quiet.Close()
		a.quiet = nil
	}
	err = errors.Join(err, a.link.Close())
	a.link = nil
	return err
}
