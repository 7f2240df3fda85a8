//go:build linux

package tun

import (
	"encoding/binary"
	"sync"
	"syscall"

	"golang.org/x/sys/unix"
)

// A meter reads how many packets for us the kernel has dropped at the interface. It is
// zero, and reads nothing, where that can't be asked for.
type meter struct {
	mu     sync.Mutex
	socket int // netlink(7), which asks in the network namespace where it was opened; 0: none
	index  uint32
	seq    uint32
	before uint64 // what an interface counted that was there before us
	last   uint64
	answer [8 << 10]byte
}

// open begins to count the drops of an interface of the calling thread's namespace, which
// socket, any, is used to ask for. Not to count them is no reason to fail.
func (m *meter) open(socket int, name string) {
	ifr, err := unix.NewIfreq(name)
	if err != nil || unix.IoctlIfreq(socket, unix.SIOCGIFINDEX, ifr) != nil {
		return
	}
	fd, err := unix.Socket(unix.AF_NETLINK, unix.SOCK_RAW|unix.SOCK_CLOEXEC, unix.NETLINK_ROUTE)
	if err != nil {
		return
	}
	m.socket, m.index = fd, ifr.Uint32()
	ok := false
	if m.before, ok = m.ask(); !ok {
		m.close() // what was dropped before would count
	}
}

func (m *meter) close() {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.socket != 0 {
		unix.Close(m.socket)
		m.socket = 0
	}
}

// dropped is how many packets were dropped since open; after close as many as it told last.
func (m *meter) dropped() uint64 {
	m.mu.Lock()
	defer m.mu.Unlock()
	if n, ok := m.ask(); ok {
		m.last = n - min(n, m.before)
	}
	return m.last
}

// ask asks the kernel for the interface, and looks up its tx_dropped.
func (m *meter) ask() (n uint64, ok bool) {
	if m.socket == 0 {
		return 0, false
	}
	const size = unix.SizeofNlMsghdr + unix.SizeofIfInfomsg
	var q [size]byte
	m.seq++
	binary.NativeEndian.PutUint32(q[0:], size)
	binary.NativeEndian.PutUint16(q[4:], unix.RTM_GETLINK)
	binary.NativeEndian.PutUint16(q[6:], unix.NLM_F_REQUEST)
	binary.NativeEndian.PutUint32(q[8:], m.seq)
	binary.NativeEndian.PutUint32(q[unix.SizeofNlMsghdr+4:], m.index) // ifi_index
	if unix.Sendto(m.socket, q[:], 0, &unix.SockaddrNetlink{Family: unix.AF_NETLINK}) != nil {
		return 0, false
	}
	for {
		// The kernel has answered within the call.
		k, from, err := unix.Recvfrom(m.socket, m.answer[:], unix.MSG_DONTWAIT)
		if err != nil {
			return 0, false
		}
		if sa, ok := from.(*unix.SockaddrNetlink); !ok || sa.Pid != 0 {
			continue // not the kernel
		}
		messages, err := syscall.ParseNetlinkMessage(m.answer[:k])
		if err != nil {
			return 0, false
		}
		for i := range messages {
			if h := &messages[i].Header; h.Seq == m.seq && h.Type == unix.RTM_NEWLINK {
				return txDropped(&messages[i])
			}
		}
	}
}

// txDropped is tx_dropped of struct rtnl_link_stats64 in an RTM_NEWLINK, its eighth number.
func txDropped(m *syscall.NetlinkMessage) (n uint64, ok bool) {
	attrs, err := syscall.ParseNetlinkRouteAttr(m)
	if err != nil {
		return 0, false
	}
	for i := range attrs {
		if a := &attrs[i]; a.Attr.Type == unix.IFLA_STATS64 && len(a.Value) >= 8*8 {
			return binary.NativeEndian.Uint64(a.Value[7*8:]), true
		}
	}
	return 0, false
}
