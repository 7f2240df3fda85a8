//go:build linux

package nic

import (
	"cmp"
	"encoding/binary"
	"errors"
	"fmt"
	"net"

	"golang.org/x/sys/unix"
)

// kernelDevice is an interface of the kernel's. It is found by its index, so
// that renaming it, or giving its name to another, does no harm.
type kernelDevice struct {
	index  int
	cookie uint64 // of the network namespace
	route  *conn
	genl   *conn
	ioctl  int // a socket for SIOCETHTOOL
}

// openDevice opens an interface of the thread's network namespace by its name.
// It is a variable for tests, which put a model in its place.
var openDevice = func(iface string) (device, error) {
	return openKernelDevice(iface, 0)
}

// openIndex is openDevice by index.
var openIndex = func(index int) (device, error) { return openKernelDevice("", index) }

// namespace identifies the thread's network namespace: a number that no other
// gets until the next boot.
var namespace = func() (uint64, error) {
	fd, err := unix.Socket(unix.AF_INET, unix.SOCK_DGRAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return 0, fmt.Errorf("socket: %w", err)
	}
	defer unix.Close(fd)
	return netnsCookie(fd)
}

func netnsCookie(fd int) (uint64, error) {
	cookie, err := unix.GetsockoptUint64(fd, unix.SOL_SOCKET, unix.SO_NETNS_COOKIE)
	if err != nil {
		return 0, fmt.Errorf("SO_NETNS_COOKIE (Linux 5.14): %w", err)
	}
	return cookie, nil
}

func openKernelDevice(iface string, index int) (*kernelDevice, error) {
	d := &kernelDevice{index: index, ioctl: -1}
	err := d.open(iface)
	if err == nil {
		return d, nil
	}
	d.close()
	if errors.Is(err, unix.ENODEV) {
		if index != 0 {
			iface = fmt.Sprintf("interface with index %d", index)
		}
		return nil, &ObstacleError{
			Interface: cmp.Or(iface, `""`), Queue: -1, Obstacle: NoInterface, Err: err,
			Detail: "there is no such interface in this network namespace",
			Remedy: "`ip link` lists those that there are",
		}
	}
	return nil, fmt.Errorf("nic: %s: %w", iface, err)
}

func (d *kernelDevice) open(iface string) (err error) {
	if d.ioctl, err = unix.Socket(unix.AF_INET, unix.SOCK_DGRAM|unix.SOCK_CLOEXEC, 0); err != nil {
		return fmt.Errorf("socket: %w", err)
	}
	if d.cookie, err = netnsCookie(d.ioctl); err != nil {
		return err
	}
	if d.route, err = dialNetlink(unix.NETLINK_ROUTE); err != nil {
		return err
	}
	if d.genl, err = dialNetlink(unix.NETLINK_GENERIC); err != nil {
		return err
	}
	if iface == "" && d.index == 0 {
		return unix.ENODEV
	}
	l, err := d.getLink(iface)
	d.index = l.Index
	return err
}

func (d *kernelDevice) close() error {
	var errs []error
	for _, c := range []*conn{d.route, d.genl} {
		if c != nil {
			errs = append(errs, c.close())
		}
	}
	if d.ioctl >= 0 {
		errs = append(errs, unix.Close(d.ioctl))
	}
	return errors.Join(errs...)
}

func (d *kernelDevice) netns() uint64 { return d.cookie }

func (d *kernelDevice) link() (Link, error) { return d.getLink("") }

// getLink asks for an interface by name, or if that is empty by d's index.
func (d *kernelDevice) getLink(name string) (Link, error) {
	body := make([]byte, unix.SizeofIfInfomsg)
	if name == "" {
		binary.NativeEndian.PutUint32(body[4:], uint32(d.index))
	} else {
		if len(name) >= unix.IFNAMSIZ {
			return Link{}, fmt.Errorf("interface name %q is longer than %d bytes: %w", name, unix.IFNAMSIZ-1, unix.ENODEV)
		}
		var a attrs
		a.text(unix.IFLA_IFNAME, name)
		body = append(body, a...)
	}
	answers, err := d.route.do(unix.RTM_GETLINK, 0, body)
	if err != nil {
		return Link{}, fmt.Errorf("RTM_GETLINK: %w", err)
	}
	for _, b := range answers {
		if len(b) < unix.SizeofIfInfomsg {
			continue
		}
		list, err := parseAttrs(b[unix.SizeofIfInfomsg:])
		if err != nil {
			return Link{}, err
		}
		flags := binary.NativeEndian.Uint32(b[8:])
		l := Link{
			Index: int(binary.NativeEndian.Uint32(b[4:])),
			Up:    flags&unix.IFF_UP != 0, Running: flags&unix.IFF_RUNNING != 0,
		}
		for _, a := range list {
			switch a.typ {
			case unix.IFLA_IFNAME:
				l.Interface = a.text()
			case unix.IFLA_ADDRESS:
				l.MAC = net.HardwareAddr(a.value).String()
			case unix.IFLA_XDP:
				l.setXDP(a.nested())
			}
		}
		return l, nil
	}
	return Link{}, fmt.Errorf("RTM_GETLINK: no answer: %w", unix.ENODEV)
}

func (l *Link) setXDP(list []attr) {
	for _, a := range list {
		switch a.typ {
		case unix.IFLA_XDP_ATTACHED:
			l.XDPAttached = a.num() != 0 // XDP_ATTACHED_NONE
		case unix.IFLA_XDP_PROG_ID:
			l.XDPProgram = a.u32()
		}
	}
}

// ethtoolIoctl carries out an ETHTOOL_* command under the interface's present name.
func (d *kernelDevice) ethtoolIoctl(what string, arg []byte) error {
	l, err := d.link()
	if err == nil {
		err = ethtoolIoctl(d.ioctl, l.Interface, arg)
	}
	if err != nil {
		return fmt.Errorf("%s: %w", what, err)
	}
	return nil
}

// driver reads struct ethtool_drvinfo (linux/ethtool.h).
func (d *kernelDevice) driver() (string, error) {
	arg := make([]byte, drvinfoLen)
	binary.NativeEndian.PutUint32(arg, unix.ETHTOOL_GDRVINFO)
	if err := d.ethtoolIoctl("ETHTOOL_GDRVINFO", arg); err != nil {
		return "", err
	}
	return unix.ByteSliceToString(arg[drvinfoDriver : drvinfoDriver+32]), nil
}

const (
	drvinfoLen    = 196
	drvinfoDriver = 4
)
