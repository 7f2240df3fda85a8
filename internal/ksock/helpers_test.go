//go:build linux

package ksock

import (
	"net/netip"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/zctap/zctap/internal/testenv"
)

func TestMain(m *testing.M) { testenv.Main(m) }

const patienceMillis = 60_000

var (
	loopback4 = netip.MustParseAddr("127.0.0.1")
	loopback6 = netip.IPv6Loopback()
)

func ok(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// await waits until fd is ready for events.
func await(t testing.TB, fd int, events int16) {
	t.Helper()
	for end := time.Now().Add(patienceMillis * time.Millisecond); ; {
		n, err := unix.Poll([]unix.PollFd{{Fd: int32(fd), Events: events}}, patienceMillis)
		if err == unix.EINTR && time.Now().Before(end) {
			continue
		}
		if n != 1 || err != nil {
			t.Fatalf("poll: %d, %v", n, err)
		}
		return
	}
}

func listen(t testing.TB, network string, addr netip.AddrPort) *Socket {
	t.Helper()
	n, err := Bind(network, addr)
	ok(t, err)
	ok(t, n.Listen(0))
	ok(t, n.SetNonblock(true))
	t.Cleanup(func() { n.Close() })
	return n
}

// pair returns both ends of a TCP connection over addr.
func pair(t testing.TB, addr netip.Addr) (dialed, accepted *Socket) {
	t.Helper()
	n := listen(t, "tcp", netip.AddrPortFrom(addr, 0))
	d, err := Dial("tcp", netip.AddrPort{}, n.LocalAddr())
	ok(t, err)
	t.Cleanup(func() { d.Close() })
	await(t, d.FD(), unix.POLLOUT)
	ok(t, d.Connected())
	a := accept(t, n)
	return d, a
}

func accept(t testing.TB, n *Socket) *Socket {
	t.Helper()
	await(t, n.FD(), unix.POLLIN)
	fd, err := n.Accept()
	ok(t, err)
	a, err := Adopt(fd)
	ok(t, err)
	t.Cleanup(func() { a.Close() })
	return a
}

func getInt(t testing.TB, s *Socket, level, option int) int {
	t.Helper()
	v, err := unix.GetsockoptInt(s.FD(), level, option)
	ok(t, err)
	return v
}
