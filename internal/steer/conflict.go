//go:build linux

package steer

import (
	"errors"
	"fmt"
	"strings"

	"github.com/cilium/ebpf"
	"github.com/vishvananda/netlink"
	"github.com/vishvananda/netlink/nl"
	"golang.org/x/sys/unix"
)

// A Kind is what holds a program at its interface.
type Kind uint8

const (
	// KindUnknown: it could not be found out.
	KindUnknown Kind = iota
	// KindLink is a bpf_link, which belongs to the processes that have it open, or
	// to a file in a BPF file system.
	KindLink
	// KindNetlink is none: it was attached over netlink, as by ip(8), and stays
	// until somebody detaches it.
	KindNetlink
)

// A ConflictError says that another XDP program is attached to the interface. The
// kernel has room for one. It is unix.EBUSY.
type ConflictError struct {
	Interface string
	ID        uint32 // of the program
	Name      string // of the program; "" if unknown
	Tag       string // of the program, a hash of what it does; "" if unknown
	Mode      Mode   // Auto if unknown
	Kind      Kind
	// PID and Command are of a process that holds the link, as far as this process
	// may see; 0 and "" if none was found.
	PID     int
	Command string
}

// Unwrap returns unix.EBUSY.
func (e *ConflictError) Unwrap() error { return unix.EBUSY }

func (e *ConflictError) Error() string {
	var b strings.Builder
	b.WriteString("another XDP program is attached: ")
	if e.Name != "" {
		fmt.Fprintf(&b, "%s, ", e.Name)
	}
	fmt.Fprintf(&b, "id %d", e.ID)
	if e.Tag != "" {
		fmt.Fprintf(&b, ", tag %s", e.Tag)
	}
	if e.Mode != Auto {
		fmt.Fprintf(&b, ", in %v mode", e.Mode)
	}
	switch {
	case e.PID != 0:
		fmt.Fprintf(&b, ", held by a link of process %d (%s): end that", e.PID, e.Command)
	case e.Kind == KindLink:
		b.WriteString(", held by a link: end the process that has it open (`bpftool link` names it), or remove its pin in /sys/fs/bpf")
	case e.Kind == KindNetlink:
		fmt.Fprintf(&b, ", attached without a link: remove it with `ip link set dev %s %s off`", e.Interface, e.ipMode())
	}
	if e.Name == "" {
		b.WriteString(" (its name can be seen with CAP_SYS_ADMIN, as by `bpftool net`)")
	}
	return b.String()
}

// ipMode is the mode as ip-link(8) has it.
func (e *ConflictError) ipMode() string {
	switch e.Mode {
	case Native:
		return "xdpdrv"
	case Generic:
		return "xdpgeneric"
	case Offloaded:
		return "xdpoffload"
	}
	return "xdp"
}

// An attachment is what rtnetlink says of XDP on an interface.
type attachment struct {
	program uint32 // 0: none, or more than one
	mode    Mode   // Auto: none, or more than one
}

// attachedTo asks for the program of an interface of the thread's network
// namespace.
func attachedTo(ifindex int) (attachment, error) {
	l, err := netlink.LinkByIndex(ifindex)
	if err != nil {
		return attachment{}, err
	}
	xdp := l.Attrs().Xdp
	if xdp == nil || !xdp.Attached {
		return attachment{}, nil
	}
	// The enum that begins with XDP_ATTACHED_NONE in linux/if_link.h.
	const driver, skb, hardware = 1, 2, 3
	modes := map[uint32]Mode{driver: Native, skb: Generic, hardware: Offloaded}
	return attachment{program: xdp.ProgId, mode: modes[xdp.AttachMode]}, nil
}

// conflict describes the program that is attached to an interface.
func (p *Program) conflict(ifindex int) error {
	there, err := attachedTo(ifindex)
	if err != nil {
		return fmt.Errorf("another XDP program is attached (%v): %w", err, unix.EBUSY)
	}
	e := &ConflictError{
		Interface: interfaceName(ifindex),
		ID:        there.program,
		Mode:      there.mode,
		Kind:      p.kindOf(ifindex, there.mode),
	}
	if prog, err := ebpf.NewProgramFromID(ebpf.ProgramID(there.program)); err == nil {
		if info, err := prog.Info(); err == nil {
			e.Name, e.Tag = info.Name, info.Tag
		}
		prog.Close()
	}
	if e.Kind != KindLink {
		return e
	}
	if h, ok := findHolder(ifindex, there.program); ok {
		e.PID, e.Command = h.pid, h.command
		if e.Tag == "" {
			e.Tag = h.tag
		}
	}
	return e
}

// kindOf finds out what holds the program of an interface. To list links takes
// CAP_SYS_ADMIN; but the kernel tells as well by how it refuses to replace the
// program: EBUSY if a link holds it, and only then EEXIST because it is not the one
// that the request expects to be there (dev_xdp_attach). What is expected here is p,
// which is not: nothing is ever replaced.
func (p *Program) kindOf(ifindex int, mode Mode) Kind {
	flags, ok := modeFlags[mode]
	if !ok {
		return KindUnknown
	}
	fd := nl.Uint32Attr(uint32(p.prog.FD()))
	xdp := nl.NewRtAttr(unix.IFLA_XDP|unix.NLA_F_NESTED, nil)
	xdp.AddRtAttr(unix.IFLA_XDP_FD, fd)
	xdp.AddRtAttr(unix.IFLA_XDP_EXPECTED_FD, fd)
	xdp.AddRtAttr(unix.IFLA_XDP_FLAGS, nl.Uint32Attr(flags|unix.XDP_FLAGS_REPLACE))
	msg := nl.NewIfInfomsg(unix.AF_UNSPEC)
	msg.Index = int32(ifindex)
	req := nl.NewNetlinkRequest(unix.RTM_SETLINK, unix.NLM_F_ACK)
	req.AddData(msg)
	req.AddData(xdp)
	_, err := req.Execute(unix.NETLINK_ROUTE, 0)
	switch {
	case errors.Is(err, unix.EBUSY):
		return KindLink
	case errors.Is(err, unix.EEXIST):
		return KindNetlink
	}
	return KindUnknown
}

// modeFlags are the modes as rtnetlink and bpf_link have them (linux/if_link.h).
var modeFlags = map[Mode]uint32{
	Native:    unix.XDP_FLAGS_DRV_MODE,
	Generic:   unix.XDP_FLAGS_SKB_MODE,
	Offloaded: unix.XDP_FLAGS_HW_MODE,
}
