//go:build linux

package xdp

import (
	"encoding/binary"
	"errors"
	"fmt"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// The netdev generic netlink family (linux/netdev.h).
const (
	netdevQueueGet     = 10
	netdevQueueID      = 1
	netdevQueueIfindex = 2
	netdevQueueType    = 3
	netdevQueueXSK     = 7 // there if an AF_XDP socket is bound
	netdevTypeRX       = 0
)

// A releaseWatch tells when the kernel has let go of a queue, and with it of the
// buffers. It does so some time after the socket was closed, from a work queue
// (xp_release_deferred), and until then a zero-copy NIC may go on writing into
// them, and nobody else can bind to the queue.
type releaseWatch struct {
	*nlSocket
	family uint16 // of netdev messages; 0: the kernel does not tell
}

func openReleaseWatch() (*releaseWatch, error) {
	n, err := openNetlink(unix.NETLINK_GENERIC, 0)
	if err != nil {
		return nil, err
	}
	w := &releaseWatch{nlSocket: n}
	name := appendAttr([]byte{unix.CTRL_CMD_GETFAMILY, 1, 0, 0}, unix.CTRL_ATTR_FAMILY_NAME, []byte("netdev\x00"))
	// An error is a kernel that has no such family: it does not tell.
	_ = n.ask(unix.GENL_ID_CTRL, name, func(m *syscall.NetlinkMessage) {
		eachAttr(generic(m), func(typ uint16, v []byte) {
			if typ == unix.CTRL_ATTR_FAMILY_ID && len(v) == 2 {
				w.family = binary.NativeEndian.Uint16(v)
			}
		})
	})
	return w, nil
}

// generic is what is behind the header of a generic netlink message.
func generic(m *syscall.NetlinkMessage) []byte {
	return m.Data[min(unix.GENL_HDRLEN, len(m.Data)):]
}

// bound reports whether an AF_XDP socket is bound to a receive queue. A kernel
// that does not tell, and an interface that is down or gone, say no.
func (w *releaseWatch) bound(index, queue int) (is bool) {
	if w.family == 0 {
		return false
	}
	b := []byte{netdevQueueGet, 1, 0, 0}
	b = appendAttr32(b, netdevQueueID, uint32(queue))
	b = appendAttr32(b, netdevQueueIfindex, uint32(index))
	b = appendAttr32(b, netdevQueueType, netdevTypeRX)
	err := w.ask(w.family, b, func(m *syscall.NetlinkMessage) {
		eachAttr(generic(m), func(typ uint16, _ []byte) { is = is || typ == netdevQueueXSK })
	})
	return err == nil && is
}

// await waits until nothing is bound to any of the queues, for so long in all.
func (w *releaseWatch) await(index int, queues []*queue, timeout time.Duration) error {
	return awaitUnbound(func(queue int) bool { return w.bound(index, queue) }, queues, timeout)
}

// awaitUnbound waits until bound is false of all queues. After timeout it is ETIMEDOUT,
// and names those of which it is not.
func awaitUnbound(bound func(queue int) bool, queues []*queue, timeout time.Duration) (err error) {
	deadline := time.Now().Add(timeout)
	for _, q := range queues {
		for pause := 50 * time.Microsecond; bound(q.id); pause = min(2*pause, 5*time.Millisecond) {
			left := time.Until(deadline)
			if left <= 0 {
				err = errors.Join(err, fmt.Errorf("queue %d is still bound %v after its socket was closed: %w", q.id, timeout, unix.ETIMEDOUT))
				break
			}
			time.Sleep(min(pause, left))
		}
	}
	return err
}
