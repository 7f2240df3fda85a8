//go:build linux

package steer

import (
	"errors"
	"fmt"
	"net"
	"strconv"

	"github.com/cilium/ebpf/link"
	"golang.org/x/sys/unix"
)

// A Mode is where in the receive path a program runs.
type Mode uint8

const (
	// Auto asks for Native, and for Generic where the driver has no native XDP, or
	// refuses it for the interface as it is set.
	Auto Mode = iota
	// Native runs in the driver, before the kernel makes a packet of the frame: the
	// precondition of zero-copy.
	Native
	// Generic runs in the kernel's stack, behind every driver. It is slow.
	Generic
	// Offloaded runs on the NIC. It is not asked for here, but another program may
	// be there.
	Offloaded
)

// String returns the mode's name, such as "native".
func (m Mode) String() string {
	switch m {
	case Auto:
		return "auto"
	case Native:
		return "native"
	case Generic:
		return "generic"
	case Offloaded:
		return "offloaded"
	}
	return "mode " + strconv.Itoa(int(m))
}

// A Link is the program's attachment to an interface. It is for one goroutine at a
// time.
type Link struct {
	link     link.Link
	mode     Mode
	fallback error
}

// Attach attaches the program to an interface of the calling thread's network
// namespace, as a bpf_link: it ends with Close, with the process, and with the
// interface. Frames that match then go to the sockets that are set; there need not
// be any yet.
//
// Attaching in native mode may take the link down for seconds (the driver builds its
// rings anew), and changes what some devices do: veth stops segmentation offload on
// the peer.
//
// Errors: a *ConflictError, which is EBUSY, if another program is attached; ENODEV;
// EPERM, with the missing capability; EINVAL; otherwise what the driver says, such
// as EOPNOTSUPP if it has no native XDP.
func (p *Program) Attach(ifindex int, mode Mode) (*Link, error) {
	l, err := p.attach(ifindex, mode)
	if err != nil {
		return nil, fmt.Errorf("steer: attaching to %s: %w", interfaceName(ifindex), err)
	}
	return l, nil
}

func (p *Program) attach(ifindex int, mode Mode) (*Link, error) {
	if err := p.use(); err != nil {
		return nil, err
	}
	defer p.mu.RUnlock()
	if err := checkInterface(ifindex); err != nil {
		return nil, err
	}
	switch mode {
	case Native, Generic:
		return p.attachAs(ifindex, mode)
	case Auto:
		l, err := p.attachAs(ifindex, Native)
		if err == nil || !maybeOtherMode(err) {
			return l, err
		}
		l, genericErr := p.attachAs(ifindex, Generic)
		if genericErr != nil {
			return nil, errors.Join(err, genericErr)
		}
		l.fallback = err
		return l, nil
	}
	return nil, fmt.Errorf("%v can't be asked for: %w", mode, unix.EINVAL)
}

// checkInterface is the error of an interface that is not there, for which the kernel
// itself says EINVAL.
func checkInterface(ifindex int) error {
	if ifindex < 1 {
		return fmt.Errorf("interface index %d: %w", ifindex, unix.EINVAL)
	}
	if _, err := net.InterfaceByIndex(ifindex); err != nil {
		return fmt.Errorf("no interface of index %d in this network namespace: %w", ifindex, unix.ENODEV)
	}
	return nil
}

// maybeOtherMode reports whether an error of native mode may be one of the driver,
// so that generic mode could do.
func maybeOtherMode(err error) bool {
	return !errors.Is(err, unix.EBUSY) && !errors.Is(err, unix.EPERM) && !errors.Is(err, unix.EACCES)
}

func (p *Program) attachAs(ifindex int, mode Mode) (*Link, error) {
	flags := link.XDPAttachFlags(modeFlags[mode])
	l, err := p.attachXDP(link.XDPOptions{Program: p.prog, Interface: ifindex, Flags: flags})
	if err != nil {
		return nil, p.attachError(ifindex, mode, err)
	}
	// What was asked for is what there is, unless the kernel knows better.
	there, err := attachedTo(ifindex)
	switch {
	case err != nil:
		err = fmt.Errorf("reading back what is attached: %w", err)
	case there.mode != Native && there.mode != Generic:
		err = fmt.Errorf("attached, and then found attached as %v: %w", there.mode, unix.EPROTO)
	default:
		return &Link{link: l, mode: there.mode}, nil
	}
	return nil, errors.Join(err, l.Close())
}

// attachError explains why the kernel did not attach.
func (p *Program) attachError(ifindex int, mode Mode, err error) error {
	switch {
	// EEXIST: there is one in the other mode.
	case errors.Is(err, unix.EBUSY), errors.Is(err, unix.EEXIST):
		return p.conflict(ifindex)
	case errors.Is(err, unix.EPERM), errors.Is(err, unix.EACCES):
		return fmt.Errorf("%w%s", err, permissionHint(err))
	case mode == Native && (errors.Is(err, unix.EOPNOTSUPP) || errors.Is(err, link.ErrNotSupported)):
		return fmt.Errorf("the driver has no native XDP, or not as the interface is set (LRO, number of queues): use %v mode: %w", Generic, err)
	case mode == Native:
		return fmt.Errorf("the driver refuses native XDP as the interface is set%s: %w", mtuHint(ifindex), err)
	}
	return err
}

// mtuHint says what to do about the one setting that most drivers mind: a frame has
// to fit into what they have for it, with the room that XDP wants. Ethernet's own MTU
// always does.
func mtuHint(ifindex int) string {
	ifi, err := net.InterfaceByIndex(ifindex)
	if err != nil || ifi.MTU <= 1500 {
		return ""
	}
	return fmt.Sprintf(" (most likely the MTU of %d is too large for it: lower it with `ip link set dev %s mtu N`,"+
		" where drivers differ in N and 3498 mostly will do, or use %v mode)", ifi.MTU, ifi.Name, Generic)
}

// interfaceName is a name for errors.
func interfaceName(ifindex int) string {
	if ifi, err := net.InterfaceByIndex(ifindex); err == nil {
		return ifi.Name
	}
	return fmt.Sprintf("interface %d", ifindex)
}

// Mode is the mode that the program really runs in: Native or Generic.
func (l *Link) Mode() Mode { return l.mode }

// Fallback is the reason why Auto did not get Native, or nil if it did.
func (l *Link) Fallback() error { return l.fallback }

// Close detaches the program: when it returns, frames go to the kernel again. The
// interface may be gone. Idempotent.
func (l *Link) Close() error {
	if l.link == nil {
		return nil
	}
	// Detach, for closing alone would not if a child process has inherited the
	// descriptor.
	err := errors.Join(l.link.Detach(), l.link.Close())
	l.link = nil
	if err != nil {
		return fmt.Errorf("steer: detaching: %w", err)
	}
	return nil
}
