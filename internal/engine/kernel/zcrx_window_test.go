//go:build linux

package kernel

import (
	"net"
	"net/netip"
	"runtime"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/zctap/zctap/internal/buf"
	"github.com/zctap/zctap/internal/engine"
	"github.com/zctap/zctap/internal/ksock"
	"github.com/zctap/zctap/internal/sockq"
	"github.com/zctap/zctap/internal/uring"
	"github.com/zctap/zctap/internal/uring/uringtest"
)

// bounded is an engine that keeps receive buffers on its books, with a NIC that
// puts each packet into a buffer of its own.
func bounded(t *testing.T, buffers int) *world {
	t.Helper()
	tune := func(t *tuning) { t.windows = true }
	return zcrxOn(t, options{buffers: buffers, tune: tune}, device, uringtest.Options{Device: true, Chunk: 1448, Apart: true})
}

// link connects as over a NIC: with packets of its size.
func (w *world) link() (engine.Conn, *net.TCPConn) {
	w.Helper()
	n := w.listen(0)
	w.ok(unix.SetsockoptInt(n.(*listener).sock.FD(), unix.IPPROTO_TCP, unix.TCP_MAXSEG, 1448))
	p := w.peer(n)
	c := w.accept(n)
	w.ok(closeListener(n))
	return c, p
}

func option(t *testing.T, fd, level, name int) int {
	t.Helper()
	n, err := unix.GetsockoptInt(fd, level, name)
	if err != nil {
		t.Fatal(err)
	}
	return n
}

func receiveBuffer(t *testing.T, c engine.Conn) int {
	t.Helper()
	return option(t, c.(*conn).sock.FD(), unix.SOL_SOCKET, unix.SO_RCVBUF)
}

// left is how many buffers are left for the NIC when all receive buffers are
// full.
func (w *world) left(conns []engine.Conn) int {
	w.Helper()
	n := w.pool.FreeLent()
	for _, c := range conns {
		n -= receiveBuffer(w.T, c) / 4096
	}
	return n
}

// An application reads none of its many connections: what it holds of them, and
// what the kernel may, leaves the NIC what it needs. A new connection gets
// through at full length, and then all others.
func TestZCRXUnreadConnections(t *testing.T) {
	for _, slow := range []int{1, 24, 80} {
		w := bounded(t, 2048)
		const size = 1 << 20
		var conns []engine.Conn
		var waits []func()
		for range slow {
			c, p := w.link()
			conns = append(conns, c)
			waits = append(waits, w.sender(p, size))
			w.eventually("it receives", func() bool { return c.Queue().Buffered() > 0 })
		}
		w.settle("nothing moves", func() bool { return w.pool.FreeLent() < w.pool.Lent() })
		// With more, not all of the NIC's are left.
		if n := w.left(conns); slow <= 24 && n < w.pool.Lent()/nicShare/2 {
			w.Errorf("with %d connections %d buffers of %d are left to the NIC", slow, n, w.pool.Lent())
		}
		for range 2 {
			c, p := w.link()
			wait := w.sender(p, size)
			w.wantEOF(c, size)
			wait()
			w.ok(closeConn(c))
		}
		if n := w.event("alloc-fail"); n != 0 {
			w.Errorf("the NIC found no buffer %d times", n)
		}
		for i, c := range conns {
			w.wantEOF(c, size)
			waits[i]()
		}
		w.wantReturned()
	}
}

// A connection's receive buffer begins small and grows as its credit is used, to
// a part of the area, and the window with it: the kernel takes as much. When
// there are others it is cut.
func TestZCRXWindowGrows(t *testing.T) {
	w := bounded(t, 8192)
	most := w.pool.Lent() * 4096 / windowShare
	c, p := w.link()
	if n := receiveBuffer(t, c); n != firstGrant*4096 {
		w.Errorf("a receive buffer of %d bytes to begin with", n)
	}
	const size, more = 64 << 20, 32 << 20
	sent := make(chan error, 1)
	go func() { sent <- send(p, size+more) }()
	iovs := make([]buf.Iov, 64)
	off := int64(0)
	read := func(until int64) {
		for off < until {
			n, err := c.Queue().Recv(iovs, int(until-off))
			w.ok(err)
			off = w.check(iovs[:n], off)
			w.giveBack(iovs[:n])
		}
	}
	read(size)
	if n := receiveBuffer(t, c); n != most {
		w.Errorf("a receive buffer of %d bytes after %d, want %d", n, size, most)
	}
	if n := option(t, c.(*conn).sock.FD(), unix.IPPROTO_TCP, unix.TCP_WINDOW_CLAMP); n != most {
		w.Errorf("the window goes no further than %d bytes", n)
	}
	w.settle("it is paused", func() bool { return c.Queue().Buffered() > 0 })
	if n, err := c.(*conn).sock.Waiting(); n < most/2 || err != nil {
		w.Errorf("the kernel holds %d bytes, %v; its receive buffer is of %d", n, err, receiveBuffer(t, c))
	}
	read(size + more)
	w.ok(<-sent)

	ln := w.listen(0)
	for range 100 {
		w.peer(ln)
		w.accept(ln)
	}
	w.eventually("it is cut", func() bool { return receiveBuffer(t, c) < most && w.event("squeezed") > 0 })
}

// Connections that are not accepted yet have no more than their share of the area, and
// the kernel's own receive buffer where that is no more.
func TestZCRXWindowUnaccepted(t *testing.T) {
	fd, err := unix.Socket(unix.AF_INET, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer unix.Close(fd)
	own := option(t, fd, unix.SOL_SOCKET, unix.SO_RCVBUF)
	for _, c := range []struct{ buffers, want int }{
		{512, 512 / 8 * 7 / allWindows / 16 * 4096},
		{64 * own / 4096 * 8 / 7 * 2, own},
	} {
		w := bounded(t, c.buffers)
		fd := w.listen(0).(*listener).sock.FD()
		if n := option(t, fd, unix.SOL_SOCKET, unix.SO_RCVBUF); n != c.want {
			w.Errorf("of %d buffers: connections begin with a receive buffer of %d bytes, want %d", c.buffers, n, c.want)
		}
		if n := option(t, fd, unix.SOL_SOCKET, unix.SO_BUF_LOCK); n != 0 {
			w.Errorf("the windows of all connections are bounded for good: lock %d", n)
		}
	}
}

// What waits for paused connections when the NIC lacks buffers is copied to the
// reserve, and their receive buffers are the least. As long as the NIC has enough
// nothing of that happens.
func TestZCRXDrainsPaused(t *testing.T) {
	const area, mine = 1024, 1 << 20
	cfg := newConfig(t, area+64)
	z := &zcrx{unit: 4096, per: 1, total: area, shift: 12, o: device, largest: mine}
	z.l = newLoop(cfg, tuning{perCall: 1, messages: 1, perMsg: 1, tails: 1, windows: true})
	z.l.back, z.recv = z, z
	z.records.init(area, 12)
	cfg.Pool.Lend(area)
	ln, err := ksock.Bind("tcp4", netip.AddrPortFrom(loopback4, 0))
	if err != nil {
		t.Fatal(err)
	}
	defer ln.Close()
	if err := ln.Listen(1); err != nil {
		t.Fatal(err)
	}
	from, err := ksock.Dial("tcp4", netip.AddrPort{}, ln.LocalAddr())
	if err != nil {
		t.Fatal(err)
	}
	defer from.Close()
	fd, err := ln.Accept()
	if err != nil {
		t.Fatal(err)
	}
	sock, err := ksock.Adopt(fd)
	if err != nil {
		t.Fatal(err)
	}
	defer sock.Close()
	c := &conn{queue: sockq.NewQueue(cfg.Pool)}
	c.init(z.l, sock)
	c.conn = c
	s := &c.socket
	z.l.table.add(s)
	z.begin(s)
	if s.zc.window.size != firstGrant*4096 || z.windows != firstGrant {
		t.Fatalf("a receive buffer of %d bytes, %d at risk", s.zc.window.size, z.windows)
	}
	// Much waits in the kernel, and nothing is on its way there: what is counted stays.
	z.resize(s, mine)
	end := time.Now().Add(patience)
	for sent := 0; z.waiting(s) < mine/4096*4/5; {
		n, err := from.Send(make([]byte, 1<<14))
		if err != nil {
			t.Fatal(err)
		}
		sent += n
		for came := 0; came < sent; {
			if came, err = unix.IoctlGetInt(s.fd, unix.SIOCINQ); err != nil || time.Now().After(end) {
				t.Fatalf("%d bytes of %d came, %v", came, sent, err)
			}
			runtime.Gosched()
		}
	}
	held := 0
	hold := func(n int) {
		for ; held < n; held++ {
			if _, err := cfg.Pool.Land([]buf.Frag{buf.Landed(uint16(held), 0, 1)}); err != nil {
				t.Fatal(err)
			}
			z.charge(s, uint16(held), uint64(held)<<12)
		}
	}
	hold(area / 2)
	z.l.pause(s)
	noBuffer := func() { z.event(&uring.CQE{UserData: uint64(reqEvent) << opShift}) } // for the NIC
	noBuffer()
	if s.zc.window.drain || z.windows != mine/4096 {
		t.Errorf("with %d buffers free: drain %v, %d at risk", z.free(), s.zc.window.drain, z.windows)
	}
	if n, reserve := z.allowance(s); n > 0 {
		t.Errorf("it may take %d more, reserve %v", n, reserve)
	}
	hold(area * 3 / 4) // of those that are free hardly any is left to the NIC
	waiting := z.waiting(s)
	s.zc.mean = 4096
	noBuffer()
	if n, reserve := z.allowance(s); !s.zc.window.drain || n <= 0 || !reserve || z.l.wanting {
		t.Errorf("%d wait, drain %v: it may take %d, reserve %v", waiting, s.zc.window.drain, n, reserve)
	}
	if s.zc.window.size != leastWindow*4096 || z.windows != max(waiting, leastWindow) {
		t.Errorf("a receive buffer of %d bytes, %d at risk", s.zc.window.size, z.windows)
	}
	z.refit(s)
	z.unbound(s)
	if z.windows != 0 {
		t.Errorf("%d at risk at the end", z.windows)
	}
	for b := range held {
		cfg.Pool.Put(uint16(b))
	}
}

// The receive buffer of a connection that has ended is off the books with its last
// request, whatever that ended with.
func TestZCRXEndedIsUnbound(t *testing.T) {
	for _, tc := range []struct {
		name   string
		errno  syscall.Errno
		dmabuf int
		ended  bool // before
	}{
		{"cancelled", syscall.ECANCELED, 0, true},
		{"no buffer to copy to", syscall.ENOMEM, 0, true},
		{"not copied to a DMA buffer", syscall.ENOMEM, 3, false},
	} {
		z, c, _ := alone(t, 64)
		z.o = ZCRXOptions{Interface: 1, Queue: 1, DMABuf: tc.dmabuf}
		c.zc.window = window{size: 1 << 16, risk: 16}
		z.windows = 16
		if tc.ended {
			c.end(0)
		}
		z.received(c, &uring.CQE{Res: -int32(tc.errno)})
		if !c.ending || z.windows != 0 || len(z.idle) != 0 {
			t.Errorf("%s: ended %v, %d buffers at risk, %d to be armed", tc.name, c.ending, z.windows, len(z.idle))
		}
	}
}
