//go:build linux

package nic

import (
	"errors"
	"fmt"
	"os"
	"sync"

	"golang.org/x/sys/unix"
)

// A ChannelWatch follows the number of an interface's queues.
type ChannelWatch struct {
	f    *os.File // netlink, with the notifications
	dev  *kernelDevice
	wg   sync.WaitGroup
	once sync.Once
	err  error
}

// WatchChannels has f called with the interface's channels each time that somebody
// has set them (ETHTOOL_MSG_CHANNELS_NTF), until Close. It is called on a goroutine
// of its own, and must not call Close. The interface is one of the thread's network
// namespace. No capability is needed. Errors: EOPNOTSUPP for a kernel that does not
// tell (before 5.6), ENODEV.
func WatchChannels(index int, f func(Channels)) (*ChannelWatch, error) {
	d, err := openKernelDevice("", index)
	if err != nil {
		return nil, err
	}
	w := &ChannelWatch{dev: d}
	if err := w.subscribe(); err != nil {
		return nil, fmt.Errorf("nic: following the queues: %w", errors.Join(err, d.close()))
	}
	w.wg.Go(func() { w.follow(f) })
	return w, nil
}

// ethtoolMonitor is the group that ethtool notifications go to
// (ETHTOOL_MCGRP_MONITOR_NAME).
const ethtoolMonitor = "monitor"

func (w *ChannelWatch) subscribe() error {
	group, err := w.dev.genl.group(unix.ETHTOOL_GENL_NAME, ethtoolMonitor)
	if err != nil {
		return err
	}
	fd, err := unix.Socket(unix.AF_NETLINK, unix.SOCK_RAW|unix.SOCK_CLOEXEC|unix.SOCK_NONBLOCK, unix.NETLINK_GENERIC)
	if err != nil {
		return fmt.Errorf("netlink socket: %w", err)
	}
	w.f = os.NewFile(uintptr(fd), "netlink")
	err = errors.Join(
		unix.Bind(fd, &unix.SockaddrNetlink{Family: unix.AF_NETLINK}),
		unix.SetsockoptInt(fd, unix.SOL_NETLINK, unix.NETLINK_ADD_MEMBERSHIP, int(group)),
	)
	if err != nil {
		return errors.Join(fmt.Errorf("netlink group %d: %w", group, err), w.f.Close())
	}
	return nil
}

// follow looks at the channels after each notification that there are others, of
// whatever interface, and after a loss of some.
func (w *ChannelWatch) follow(f func(Channels)) {
	raw, err := w.f.SyscallConn()
	if err != nil {
		return // closed
	}
	buf := make([]byte, 4096)
	for {
		look, failed := false, false
		err := raw.Read(func(fd uintptr) bool {
			n, _, err := unix.Recvfrom(int(fd), buf, unix.MSG_DONTWAIT|unix.MSG_TRUNC)
			switch {
			case err == unix.EAGAIN:
				return false
			case err == unix.EINTR:
			case err == unix.ENOBUFS, err == nil && n > len(buf):
				look = true
			case err != nil:
				failed = true
			default:
				// Behind struct nlmsghdr, struct genlmsghdr begins with the command.
				look = n > unix.SizeofNlMsghdr && buf[unix.SizeofNlMsghdr] == unix.ETHTOOL_MSG_CHANNELS_NTF
			}
			return true
		})
		if err != nil || failed {
			return
		}
		if !look {
			continue
		}
		// An error is an interface that has gone, which others tell of.
		if c, err := w.dev.channels(); err == nil {
			f(c)
		}
	}
}

// Close stops following: f is not called any more when it returns. Idempotent.
func (w *ChannelWatch) Close() error {
	w.once.Do(func() {
		w.err = w.f.Close()
		w.wg.Wait()
		w.err = errors.Join(w.err, w.dev.close())
	})
	return w.err
}

// group is the number of a generic netlink family's multicast group.
func (c *conn) group(family, name string) (uint32, error) {
	var a attrs
	a.text(unix.CTRL_ATTR_FAMILY_NAME, family)
	answers, err := c.genl(unix.GENL_ID_CTRL, unix.CTRL_CMD_GETFAMILY, 0, a)
	if err != nil && !errors.Is(err, unix.ENOENT) {
		return 0, fmt.Errorf("netlink family %s: %w", family, err)
	}
	for _, answer := range answers {
		for _, a := range answer {
			if a.typ != unix.CTRL_ATTR_MCAST_GROUPS {
				continue
			}
			for _, g := range a.nested() {
				var id uint32
				var called string
				for _, a := range g.nested() {
					switch a.typ {
					case unix.CTRL_ATTR_MCAST_GRP_ID:
						id = a.u32()
					case unix.CTRL_ATTR_MCAST_GRP_NAME:
						called = a.text()
					}
				}
				if called == name && id != 0 {
					return id, nil
				}
			}
		}
	}
	return 0, fmt.Errorf("netlink family %s: no group %s: %w", family, name, unix.EOPNOTSUPP)
}
