//go:build linux

package kernel

import (
	"os"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"
)

// What the NIC brings for a connection that is paused lies in buffers of the
// area all the same, in the socket's queue, until the window is full: megabytes
// each, by default, of which we see nothing. So no connection's receive buffer
// is larger than an eighth of the area; those of paused connections are added
// up, and once they could fill most of what is free, or the NIC found no buffer,
// they are made small. The kernel then drops what goes beyond, of these flows
// alone, and their senders learn of a smaller window. A connection that goes on
// gets back the receive buffer that it had.

const (
	// windowShare is the part of the area that one connection's receive buffer has
	// at most.
	windowShare = 8
	// squeezed is the size in bytes of a receive buffer that was made small, as the
	// kernel reckons. It still takes a packet of the largest size.
	squeezed = 32 << 10
)

// window is what was done to a connection's receive buffer.
type window struct {
	set  bool // it was looked at
	risk int  // buffers that it may fill while the connection is paused
	was  int  // its size in bytes before it was made small; 0: it was not
}

// bound keeps the receive buffer of s, a new connection, from taking too much of
// the area.
func (z *zcrx) bound(s *socket) {
	if s.zc.window.set || z.o.NoDevice || !z.l.windows {
		return // without a device, what is copied lies elsewhere until it is received
	}
	s.zc.window.set = true
	if most := z.total * z.unit / windowShare; most < z.largest {
		// Should it fail, the connection has a larger window.
		_ = setReceiveBuffer(s.fd, max(most, squeezed))
	}
}

// halted is called when s is paused.
func (z *zcrx) halted(s *socket) {
	w := &s.zc.window
	if !w.set || w.risk > 0 {
		return
	}
	size, err := unix.GetsockoptInt(s.fd, unix.SOL_SOCKET, unix.SO_RCVBUF)
	if err != nil {
		return
	}
	w.risk = max(size/z.unit, 1)
	z.risk += w.risk
	if z.risk > z.free()/4*3 {
		z.squeeze(s)
	}
}

// squeeze makes the receive buffer of s, which is paused, small.
func (z *zcrx) squeeze(s *socket) {
	w := &s.zc.window
	size := w.risk * z.unit
	if w.risk == 0 || w.was > 0 || size <= squeezed || setReceiveBuffer(s.fd, squeezed) != nil {
		return
	}
	z.risk -= w.risk
	w.was, w.risk = size, squeezed/z.unit
	z.risk += w.risk
	z.stats.squeezed.Add(1)
}

// squeezeAll does so with all that are paused: the NIC found no buffer.
func (z *zcrx) squeezeAll() {
	for _, s := range z.l.paused {
		if !s.detaching {
			z.squeeze(s)
		}
	}
}

// relax undoes squeeze, when s goes on or goes away.
func (z *zcrx) relax(s *socket) {
	w := &s.zc.window
	if w.was > 0 && !s.detaching {
		// Should it fail, the connection goes on with a small window.
		_ = setReceiveBuffer(s.fd, w.was)
		if z.total*z.unit/windowShare >= z.largest {
			_ = unix.SetsockoptInt(s.fd, unix.SOL_SOCKET, unix.SO_BUF_LOCK, 0) // the kernel may size it again (Linux 5.14)
		}
	}
	z.risk -= w.risk
	w.risk, w.was = 0, 0
}

// setReceiveBuffer makes a receive buffer of size bytes. The kernel doubles what
// it is told, for its own needs. Without CAP_NET_ADMIN the sysctl
// net.core.rmem_max bounds it.
func setReceiveBuffer(fd, size int) error {
	err := unix.SetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_RCVBUFFORCE, size/2)
	if err != nil {
		err = unix.SetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_RCVBUF, size/2)
	}
	return err
}

// largestWindow is the size in bytes to which the kernel lets receive buffers
// grow by itself (the sysctl net.ipv4.tcp_rmem).
func largestWindow() int {
	const usual = 6 << 20
	b, err := os.ReadFile("/proc/sys/net/ipv4/tcp_rmem")
	if err != nil {
		return usual
	}
	f := strings.Fields(string(b))
	if len(f) != 3 {
		return usual
	}
	n, err := strconv.Atoi(f[2])
	if err != nil {
		return usual
	}
	return n
}
