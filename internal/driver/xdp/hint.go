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
// last of so many sockets.
func bindHint(err error, m Mode, l *link, room, sockets int) string {
	switch {
	case errors.Is(err, unix.EBUSY):
		if who := socketHolders(sockets); who != "" {
			return " (another AF_XDP socket is bound to the queue; in this network namespace such sockets are held by " + who +
				": end that, or use another queue)"
		}
		return " (another AF_XDP socket is bound to the queue, of a process that is not to be seen from here:" +
			" look for it as root with `ss --xdp -p` or `bpftool net`, or use another queue)"
	case errors.Is(err, unix.EOPNOTSUPP) && m == ZeroCopy && needsSegments(l, room):
		return fmt.Sprintf(" (frames of MTU %d do not fit a buffer, and the interface's driver does not do zero-copy with frames"+
			" in several: lower the MTU to %d, or use mode copy)", l.mtu, room-maxLinkHeader)
	case errors.Is(err, unix.EOPNOTSUPP) && m == ZeroCopy:
		return " (the interface's driver does not do zero-copy AF_XDP: use mode copy, or auto)"
	case errors.Is(err, unix.EINVAL):
		return " (the interface has no such queue any more, or its driver has too few rings: see `ethtool -l` and `ethtool -g`)"
	case errors.Is(err, unix.ENODEV), errors.Is(err, unix.ENXIO):
		return " (the interface was deleted)"
	case errors.Is(err, unix.ENETDOWN) && m == ZeroCopy:
		return " (the interface's driver wants it up for zero-copy: `ip link set up` it, or use mode copy)"
	}
	return ""
}
