//go:build linux

package tun

import (
	"errors"
	"fmt"
	"strings"

	"golang.org/x/sys/unix"
)

const (
	defaultDevice = "/dev/net/tun"

	// interfaceFlags: IP packets without a link header, nothing in front of them
	// but a virtio_net_hdr.
	interfaceFlags = unix.IFF_TUN | unix.IFF_NO_PI | unix.IFF_VNET_HDR

	// offloads is what the kernel may leave to us of the packets it sends: their
	// checksums, and the segmentation of TCP.
	offloads = unix.TUN_F_CSUM | unix.TUN_F_TSO4 | unix.TUN_F_TSO6 | unix.TUN_F_TSO_ECN
	// udpOffloads are UDP's, which Linux 6.2 and later know: datagrams that a sender
	// has given to the kernel in one piece (UDP_SEGMENT) arrive so.
	udpOffloads = unix.TUN_F_USO4 | unix.TUN_F_USO6
)

// Open attaches to a TUN interface of the calling thread's network namespace,
// where it stays whatever thread uses it. Addresses, routes and the state "up"
// are not its business. It needs CAP_NET_ADMIN over the namespace, or an
// existing interface that belongs to the user.
//
// Errors, besides those of the pool (EINVAL), come with what to do about them:
// ENOENT, ENXIO, EACCES of the device file; EINVAL for a bad name and for an
// interface of another kind; EPERM; EBUSY.
func Open(c Config) (*Driver, error) {
	if c.Device == "" {
		c.Device = defaultDevice
	}
	if err := checkName(c.Name); err != nil {
		return nil, err
	}
	fd, err := unix.Open(c.Device, unix.O_RDWR|unix.O_CLOEXEC|unix.O_NONBLOCK, 0)
	if err != nil {
		return nil, fmt.Errorf("tun: open %s: %w%s", c.Device, err, openHint(err))
	}
	socket, err := unix.Socket(unix.AF_INET, unix.SOCK_DGRAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return nil, errors.Join(fmt.Errorf("tun: a socket to ask for interfaces with: %w", err), unix.Close(fd))
	}
	defer unix.Close(socket)
	name, mtu, err := attach(fd, socket, &c)
	if err != nil {
		return nil, errors.Join(err, unix.Close(fd))
	}
	d, err := newDriver(fd, name, mtu, c.Pool)
	if err != nil {
		return nil, err
	}
	d.meter.open(socket, name)
	return d, nil
}

// attach makes fd the device file of c's interface and sets it up. socket is any.
func attach(fd, socket int, c *Config) (name string, mtu int, err error) {
	ifr, err := unix.NewIfreq(c.Name)
	if err != nil {
		return "", 0, fmt.Errorf("tun: interface name %q: %w", c.Name, err)
	}
	ifr.SetUint16(interfaceFlags)
	if err := unix.IoctlIfreq(fd, unix.TUNSETIFF, ifr); err != nil {
		return "", 0, fmt.Errorf("tun: interface %q: %w%s", c.Name, err, attachHint(err, socket, c.Name))
	}
	name = ifr.Name()
	if err := unix.IoctlSetPointerInt(fd, unix.TUNSETVNETHDRSZ, vnetLen); err != nil {
		return "", 0, fmt.Errorf("tun: %s: set the length of the offload header: %w", name, err)
	}
	err = unix.IoctlSetInt(fd, unix.TUNSETOFFLOAD, offloads|udpOffloads)
	if err == unix.EINVAL {
		err = unix.IoctlSetInt(fd, unix.TUNSETOFFLOAD, offloads)
	}
	if err != nil {
		return "", 0, fmt.Errorf("tun: %s: ask for offloads: %w", name, err)
	}
	if c.MTU != 0 {
		ifr.SetUint32(uint32(c.MTU))
		if err := unix.IoctlIfreq(socket, unix.SIOCSIFMTU, ifr); err != nil {
			return "", 0, fmt.Errorf("tun: %s: set the MTU to %d (the kernel takes 68 to 65535): %w", name, c.MTU, err)
		}
	}
	if err := unix.IoctlIfreq(socket, unix.SIOCGIFMTU, ifr); err != nil {
		return "", 0, fmt.Errorf("tun: %s: ask for the MTU: %w", name, err)
	}
	return name, int(ifr.Uint32()), nil
}

// checkName says what is wrong with an interface name; the kernel's rules
// (dev_valid_name), of which it tells no more than EINVAL.
func checkName(name string) error {
	switch {
	case len(name) >= unix.IFNAMSIZ:
		return fmt.Errorf("tun: interface name %q is longer than %d bytes: %w", name, unix.IFNAMSIZ-1, unix.EINVAL)
	case name == "." || name == ".." || strings.ContainsAny(name, "/: \t\n\v\f\r\x00"):
		return fmt.Errorf("tun: %q can't be the name of an interface: %w", name, unix.EINVAL)
	}
	return nil
}

// openHint says what to do about a device file that does not open.
func openHint(err error) string {
	switch {
	case errors.Is(err, unix.ENOENT):
		return " (load the kernel's tun module with `modprobe tun`; in a container, give it the device)"
	case errors.Is(err, unix.ENXIO), errors.Is(err, unix.ENODEV):
		return " (it is no TUN device, or the kernel is without CONFIG_TUN)"
	case errors.Is(err, unix.EACCES), errors.Is(err, unix.EPERM):
		return " (no permission for the device file, usually mode 0666: `chmod 666` it, or run as root)"
	}
	return ""
}

// attachHint says what to do about an interface that can't be attached to.
func attachHint(err error, socket int, name string) string {
	switch {
	case errors.Is(err, unix.EPERM):
		return " (needs CAP_NET_ADMIN over the network namespace: run as root, or in a user and network namespace" +
			" of your own, or have root make the interface with `ip tuntap add mode tun user $USER name NAME`)"
	case errors.Is(err, unix.ENOTTY):
		return " (the device file is not the kernel's TUN device, usually /dev/net/tun)"
	case errors.Is(err, unix.EBUSY):
		return " (another process, or another queue, is using it: end that, or choose another name)"
	case errors.Is(err, unix.EINVAL) && exists(socket, name):
		return " (an interface of this name exists and is not a TUN interface with one queue: choose another name)"
	}
	return ""
}

// exists reports whether there is an interface of that name.
func exists(socket int, name string) bool {
	ifr, err := unix.NewIfreq(name)
	return err == nil && unix.IoctlIfreq(socket, unix.SIOCGIFFLAGS, ifr) == nil
}
