//go:build linux

package steer

import (
	"errors"
	"fmt"

	"github.com/cilium/ebpf/link"
	"golang.org/x/sys/unix"
)

// ErrDetached says that the program is not attached any more.
var ErrDetached = errors.New("the XDP program is detached")

// Move attaches the program of l, which is p's on that interface of the calling
// thread's network namespace, in another mode. What comes in between goes to the
// kernel, which is silent about claimed ports. As for Attach, Auto is Native if that
// is possible.
//
// Errors are Attach's. On one the program is attached as it was, unless that failed,
// too: then it is also ErrDetached.
func (p *Program) Move(l *Link, ifindex int, mode Mode) error {
	if err := p.move(l, ifindex, mode); err != nil {
		return fmt.Errorf("steer: attaching to %s in %v mode: %w", interfaceName(ifindex), mode, err)
	}
	return nil
}

func (p *Program) move(l *Link, ifindex int, mode Mode) error {
	if l.link == nil {
		return ErrDetached
	}
	if err := p.mayAttach(ifindex, mode); err != nil {
		return err
	}
	was := l.mode
	if err := l.Close(); err != nil {
		return err
	}
	to, err := p.attach(ifindex, mode)
	if err != nil {
		var again error
		if to, again = p.attach(ifindex, was); again != nil {
			return errors.Join(err, ErrDetached, again)
		}
	}
	*l = *to
	return err
}

// mayAttach is the error of a process that could not attach again what it detaches.
// The kernel tells by what it says to an attempt, which can't succeed while there is
// another attachment.
func (p *Program) mayAttach(ifindex int, mode Mode) error {
	if err := p.use(); err != nil {
		return err
	}
	defer p.mu.RUnlock()
	if err := checkInterface(ifindex); err != nil {
		return err
	}
	beside, err := p.attachXDP(link.XDPOptions{Program: p.prog, Interface: ifindex, Flags: link.XDPAttachFlags(modeFlags[mode])})
	switch {
	case err == nil: // ours is not there any more
		return beside.Close()
	case errors.Is(err, unix.EEXIST), errors.Is(err, unix.EBUSY):
		return nil
	}
	return p.attachError(ifindex, mode, err)
}
