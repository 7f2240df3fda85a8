//go:build linux

package xdp

import (
	"errors"
	"fmt"

	"golang.org/x/sys/unix"
)

// socketHint says what to do about an AF_XDP socket that can't be made.
func socketHint(err error) string {
	switch {
	case errors.Is(err, unix.EPERM):
		return " (needs CAP_NET_RAW over the network namespace: run as root, or `setcap cap_net_raw,cap_net_admin,cap_bpf=ep` the program)"
	case errors.Is(err, unix.EAFNOSUPPORT):
		return " (the kernel is without CONFIG_XDP_SOCKETS)"
	}
	return ""
}

// umemHint says what to do about a region that the kernel does not take.
func umemHint(err error, size int) string {
	switch {
	case errors.Is(err, unix.ENOBUFS):
		// xdp_umem_account_pages
		return fmt.Sprintf(" (the kernel pins it all, and this user may have no more memory locked: raise RLIMIT_MEMLOCK%s"+
			" by %d KiB with `ulimit -l` or LimitMEMLOCK=, give the program CAP_IPC_LOCK, or use a smaller region)", memlock(), size>>10)
	case errors.Is(err, unix.EFAULT):
		return " (the memory is not mapped writable, or is a mapping of a file that can't be pinned: use anonymous memory)"
	case errors.Is(err, unix.ENOMEM):
		return " (the kernel has too little memory: use a smaller region)"
	}
	return ""
}

// memlock is such as ", now 8192 KiB,".
func memlock() string {
	var l unix.Rlimit
	if unix.Getrlimit(unix.RLIMIT_MEMLOCK, &l) != nil {
		return ""
	}
	return fmt.Sprintf(", now %d KiB,", l.Cur>>10)
}

// busyPollHint says what to do about a refused request for busy polling.
func busyPollHint(err error) string {
	switch {
	case errors.Is(err, unix.EPERM):
		return " (needs CAP_NET_ADMIN: run as root, or leave BusyPoll at 0)"
	case errors.Is(err, unix.ENOPROTOOPT):
		return " (the kernel is without CONFIG_NET_RX_BUSY_POLL: leave BusyPoll at 0)"
	}
	return ""
}

// bindHint says what to do about a queue that can't be bound to in a mode by the
// last of so many sockets, where a buffer takes room bytes of a frame.
func bindHint(err error, m Mode, l *link, can support, room, sockets int) string {
	switch {
	case errors.Is(err, unix.EBUSY):
		if who := socketHolders(sockets); who != "" {
			return " (another AF_XDP socket is bound to the queue; in this network namespace such sockets are held by " + who +
				": end that, or use another queue)"
		}
		return " (another AF_XDP socket is bound to the queue, of a process that is not to be seen from here:" +
			" look for it as root with `ss --xdp -p` or `bpftool net`, or use another queue)"
	case errors.Is(err, unix.EOPNOTSUPP) && m == ZeroCopy:
		return zeroCopyHint(l, can, room)
	case errors.Is(err, unix.EINVAL) && m == ZeroCopy && can.zeroCopy:
		return fmt.Sprintf(" (the interface has no such queue any more, see `ethtool -l`; or its driver, as gve, wants room in a buffer"+
			" for the longest frame that the NIC could be set to, the maxmtu of `ip -d link show dev %s`, whatever the MTU is now,"+
			" where %d bytes are: use mode copy, or auto)", l.name, room)
	case errors.Is(err, unix.EINVAL):
		return " (the interface has no such queue any more, or its driver has too few rings: see `ethtool -l` and `ethtool -g`)"
	case errors.Is(err, unix.ENODEV), errors.Is(err, unix.ENXIO):
		return " (the interface was deleted)"
	case errors.Is(err, unix.ENETDOWN) && m == ZeroCopy:
		return " (the interface's driver wants it up for zero-copy: `ip link set up` it, or use mode copy)"
	}
	return ""
}

// zeroCopyHint says what to do about an interface that is refused for zero-copy: its
// driver has none, or the MTU is too large for what it has.
func zeroCopyHint(l *link, can support, room int) string {
	const none = "the interface's driver does not do zero-copy AF_XDP"
	need := (l.mtu + maxLinkHeader + room - 1) / room // buffers of the longest frame
	if can.known && !can.zeroCopy || need == 1 {
		return " (" + none + ": use mode copy, or auto)"
	}
	lower := fmt.Sprintf("lower the MTU with `ip link set dev %s mtu %d`, or use mode copy", l.name, room*max(can.segments, 1)-maxLinkHeader)
	switch {
	case !can.known:
		return fmt.Sprintf(" (either %s, or not with frames of MTU %d, which take %d buffers: %s)", none, l.mtu, need, lower)
	case can.segments == 0 || can.segments >= need:
		return fmt.Sprintf(" (the interface's driver does zero-copy AF_XDP, but not as the interface is set; at MTU %d a frame takes %d buffers: %s)",
			l.mtu, need, lower)
	}
	return fmt.Sprintf(" (the MTU of %d is too large for zero-copy: a frame takes %d buffers, the interface's driver does %d: %s)",
		l.mtu, need, can.segments, lower)
}
