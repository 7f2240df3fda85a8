//go:build linux

package kernel

import (
	"os"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"
)

// What the NIC brings for a connection lies in buffers of the area from then on,
// also as long as it waits in the socket's queue, of which we see nothing: with
// the kernel's own sizes that is megabytes for each connection. So receive buffers
// are on the books like what is held, and
//
//	held + receive buffers of all connections + what the NIC needs <= area
//
// A new connection has a small one, that grows with the connection's credit, up
// to an eighth of the area. All together have a quarter of it: a new one takes a
// sixteenth of what is left of that, and one that grows a third, so that many
// connections that nobody reads fill their receive buffers, and leave the NIC
// what it needs for the others. Those of connections that are read are cut when
// there are more than before.
//
// The books are in the kernel's terms: it charges a packet's buffers to the
// socket (truesize), and goes over the limit by no more than one packet. Where
// there are so many connections that the least each adds up to more than that
// quarter, the rest is on trust. Should the NIC then find too little, what waits
// for connections that are paused is copied to the reserve; see drainPaused.

const (
	// leastWindow is the size in buffers that no receive buffer is smaller than. A
	// sender does not send much into a window that is smaller than a packet.
	leastWindow = 4
	// windowShare is the part of the area that one connection's receive buffer has
	// at most, allWindows that of all.
	windowShare, allWindows = 8, 4
	// nicShare is the part that is the NIC's: it need not have its ring full, but
	// some buffers for what comes next.
	nicShare = 16
	// cutsAtATime bounds what is done for one connection.
	cutsAtATime = 64
)

// window is a connection's receive buffer.
type window struct {
	size  int  // in bytes, as the kernel reckons; 0: it is left to the kernel
	risk  int  // buffers of the area that it may fill
	drain bool // what waits there is to be copied out: the NIC lacks buffers
}

// bounding reports whether receive buffers lie in the area. Without a device,
// what is copied lies elsewhere until it is received.
func (z *zcrx) bounding() bool { return !z.o.NoDevice && z.l.windows }

// atRisk is how many of the free buffers nobody is given credit for: those that
// the kernel may fill, and some for the NIC. Of the former it is the whole part
// for receive buffers, be they as small as they may, or who holds much now would
// leave no room for those to come; where so many connections have more that they
// can't all be full, three quarters at most.
func (z *zcrx) atRisk() int {
	if !z.bounding() {
		return 0
	}
	return min(max(z.windows+z.others.windows, z.total/allWindows), z.total/4*3) + z.total/nicShare
}

// unclaimed is what is left in buffers of the part of the area for receive
// buffers.
func (z *zcrx) unclaimed() int { return max(z.total/allWindows-z.windows-z.others.windows, 0) }

// firstWindow is the size in bytes of a new connection's receive buffer.
func (z *zcrx) firstWindow() int {
	return min(max(z.unclaimed()/16, leastWindow), firstGrant) * z.unit
}

// mostWindow is the size in bytes that none grows beyond at the moment.
func (z *zcrx) mostWindow() int {
	share := min(z.total/windowShare, z.total/allWindows/max(z.sockets(), 1)) * z.unit
	return max(min(share, z.largest), leastWindow*z.unit)
}

// attach implements backend.
func (z *zcrx) attach(s *socket) error {
	if s.listener != nil && z.bounding() {
		z.boundUnaccepted(s.fd)
	}
	return z.requests.attach(s)
}

// boundUnaccepted has connections of the listener fd begin, until they are accepted,
// with no more than their share of the area. Where the kernel's own size is no more,
// it stays: streams whose connection began with less were dearer on the modelled NIC
// to their end (docs/performance/zcrx.md).
func (z *zcrx) boundUnaccepted(fd int) {
	share := max(z.unclaimed()/16, leastWindow) * z.unit
	own, err := unix.GetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_RCVBUF)
	if err == nil && own <= share {
		return
	}
	// They inherit this. A lock would bound their windows for good (the scale that the
	// handshake agrees on). Should it fail, they begin with the kernel's own size.
	if setReceiveBuffer(fd, min(share, firstGrant*z.unit)) == nil {
		_ = unix.SetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_BUF_LOCK, 0) // Linux 5.14
	}
}

// bound gives s, a new connection, a receive buffer that is on the books.
func (z *zcrx) bound(s *socket) {
	if s.zc.window.size > 0 || !z.bounding() {
		return
	}
	size := z.firstWindow()
	z.resize(s, size)
	if size < firstGrant*z.unit {
		z.cut()
	}
}

// unbound takes the receive buffer of s off the books: nothing comes any more.
func (z *zcrx) unbound(s *socket) {
	z.windows -= s.zc.window.risk
	s.zc.window = window{}
}

// widen doubles the receive buffer of s, if there is room.
func (z *zcrx) widen(s *socket) {
	w := &s.zc.window
	size := min(2*w.size, z.mostWindow())
	if w.size == 0 || size <= w.size {
		return
	}
	more := (size - w.size) / z.unit
	if more > z.unclaimed()/3 {
		z.cut()
	}
	if more <= z.unclaimed()/3 && more <= z.free()-z.windows-z.others.windows-z.total/nicShare {
		z.resize(s, size)
	}
}

// cut makes receive buffers smaller that are larger than a new one could become.
// Not those of paused connections: what is on its way to them would be lost, and
// the sender wait for a long time before it tried again.
func (z *zcrx) cut() {
	most := z.mostWindow()
	slots := z.l.table.slots
	for range min(cutsAtATime, len(slots)) {
		z.cutAt = (z.cutAt + 1) % len(slots)
		if s := slots[z.cutAt]; s != nil && s.zc.window.size > most && !s.paused && !s.detaching {
			z.stats.squeezed.Add(1)
			z.resize(s, most)
		}
	}
}

// resize makes the receive buffer of s size bytes large. What waits there stays,
// and counts until s goes on.
func (z *zcrx) resize(s *socket, size int) {
	w := &s.zc.window
	if setReceiveBuffer(s.fd, size) != nil {
		return // it is closed by the other end, or of another size than on the books
	}
	risk := size / z.unit
	if w.size > 0 {
		// Else the window goes no further than the size that the connection began with
		// (tcp_init_buffer_space). Should it fail, it is small.
		_ = unix.SetsockoptInt(s.fd, unix.IPPROTO_TCP, unix.TCP_WINDOW_CLAMP, size)
	}
	if size < w.size && s.paused {
		risk = max(risk, z.waiting(s))
	}
	w.size = size
	z.reckon(s, risk)
}

// refit is called when s goes on: what has waited is received.
func (z *zcrx) refit(s *socket) {
	if w := &s.zc.window; w.size > 0 {
		z.reckon(s, w.size/z.unit)
	}
}

func (z *zcrx) reckon(s *socket, risk int) {
	z.windows += risk - s.zc.window.risk
	s.zc.window.risk = risk
}

// waiting is how many buffers the socket's queue has, 0 if it can't be known.
func (z *zcrx) waiting(s *socket) int {
	n, err := s.sock.Waiting()
	if err != nil {
		return 0
	}
	return (n + z.unit - 1) / z.unit
}

// drainPaused is called when the NIC could not get all buffers that it wants.
// If it has few, connections that are paused are cut to the least, and what
// waits for them goes to the reserve, as far as there is one.
func (z *zcrx) drainPaused() {
	if !z.bounding() {
		return
	}
	waiting := 0
	for _, s := range z.l.paused {
		if s.conn != nil && !s.detaching {
			waiting += z.waiting(s)
		}
	}
	if z.free()-waiting >= z.floor() {
		return
	}
	for _, s := range z.l.paused {
		if s.conn == nil || s.detaching {
			continue
		}
		s.zc.window.drain = true
		if least := leastWindow * z.unit; s.zc.window.size > least {
			z.stats.squeezed.Add(1)
			z.resize(s, least)
		}
	}
	z.l.wanting = false // look at all that are paused
}

// setReceiveBuffer makes a receive buffer of size bytes, which the kernel then
// leaves as it is. The kernel doubles what it is told, for its own needs. Without
// CAP_NET_ADMIN the sysctl net.core.rmem_max bounds it.
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
