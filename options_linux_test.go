package zctap_test

import (
	"errors"
	"io"
	"net"
	"os"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/zctap/zctap"
	"github.com/zctap/zctap/internal/enginetest"
)

// TestConnOptions: what can be set on a connection can be on every engine, and with
// each congestion control bytes flow.
func TestConnOptions(t *testing.T) {
	setups := map[string]func(testing.TB, zctap.Config) (*zctap.Queue, enginetest.Peer){
		"copy": openCopy, "user": openMem(pairA4, pairB4),
	}
	for name, open := range setups {
		for _, congestion := range []string{"", zctap.CongestionCubic, zctap.CongestionReno} {
			t.Run(name+"/"+congestion, func(t *testing.T) {
				q, peer := open(t, zctap.Config{Congestion: congestion})
				defer q.Close()
				if name == "copy" && !mayUse(t, congestion) {
					_, err := q.Dial("tcp", "127.0.0.1:1")
					if !errors.Is(err, syscall.EPERM) || !strings.Contains(err.Error(), "tcp_allowed_congestion_control") {
						t.Errorf("Dial without the privilege: %v", err)
					}
					return
				}
				testConnOptions(t, q, peer)
			})
		}
	}
}

// mayUse reports whether this process may choose a congestion control of the kernel's.
func mayUse(t *testing.T, congestion string) bool {
	t.Helper()
	if congestion == "" || os.Geteuid() == 0 {
		return true
	}
	b, err := os.ReadFile("/proc/sys/net/ipv4/tcp_allowed_congestion_control")
	if err != nil {
		t.Fatal(err)
	}
	return slices.Contains(strings.Fields(string(b)), congestion)
}

func testConnOptions(t *testing.T, q *zctap.Queue, peer enginetest.Peer) {
	l, err := peer.Listen("tcp4")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	c, err := q.Dial("tcp", l.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	s, err := l.Accept()
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	for _, d := range []time.Duration{time.Minute, time.Microsecond, 0} {
		if err := c.SetUserTimeout(d); err != nil {
			t.Errorf("SetUserTimeout(%v): %v", d, err)
		}
	}
	if err := c.SetUserTimeout(-1); !errors.Is(err, syscall.EINVAL) {
		t.Errorf("a negative user timeout: %v", err)
	}
	if _, err := c.Write([]byte("hello")); err != nil {
		t.Fatal(err)
	}
	if err := c.Close(); err != nil {
		t.Fatal(err)
	}
	if b, err := io.ReadAll(s); err != nil || string(b) != "hello" {
		t.Errorf("%q, %v", b, err)
	}
	if err := c.SetUserTimeout(0); !errors.Is(err, net.ErrClosed) {
		t.Errorf("SetUserTimeout after Close: %v", err)
	}
}

// TestNSECN: the kernel agrees to ECN if Config.ECN has asked for it, and only then.
func TestNSECN(t *testing.T) {
	for _, ecn := range []bool{false, true} {
		q, peer := openTUN(newNS(t), tunOurs4.Addr(), tunHost4.Addr())(t, zctap.Config{ECN: ecn})
		l, err := peer.Listen("tcp4")
		if err != nil {
			t.Fatal(err)
		}
		c, err := q.Dial("tcp", l.Addr().String())
		if err != nil {
			t.Fatal(err)
		}
		s, err := l.Accept()
		if err != nil {
			t.Fatal(err)
		}
		raw, err := s.(*net.TCPConn).SyscallConn()
		if err != nil {
			t.Fatal(err)
		}
		var info *unix.TCPInfo
		if e := raw.Control(func(fd uintptr) { info, err = unix.GetsockoptTCPInfo(int(fd), unix.IPPROTO_TCP, unix.TCP_INFO) }); e != nil || err != nil {
			t.Fatal(e, err)
		}
		const optECN = 8 // TCPI_OPT_ECN of include/uapi/linux/tcp.h
		if got := info.Options&optECN != 0; got != ecn {
			t.Errorf("Config.ECN %v: the kernel's connection has ECN: %v", ecn, got)
		}
		if err := errors.Join(c.Close(), s.Close(), l.Close(), q.Close()); err != nil {
			t.Error(err)
		}
	}
}

// TestSendMemory: Config.SendMemory is what the engine goes by.
func TestSendMemory(t *testing.T) {
	q, peer, err := zctap.OpenPair(zctap.Config{SendMemory: 128 << 10}, zctap.Config{MaxHeld: 4})
	if err != nil {
		t.Fatal(err)
	}
	defer peer.Close()
	defer q.Close()
	ln, err := peer.Listen("tcp", ":9000")
	if err != nil {
		t.Fatal(err)
	}
	defer ln.Close()
	c, err := q.Dial("tcp", "192.0.2.2:9000") // nobody reads there
	if err != nil {
		t.Fatal(err)
	}
	wrote := make(chan int)
	go func() {
		n, _ := c.Write(make([]byte, 1<<20))
		wrote <- n
	}()
	for end := time.Now().Add(patience); q.Stats().Events["send-memory-waits"] == 0; time.Sleep(time.Millisecond) {
		if time.Now().After(end) {
			t.Fatal("nobody waits for memory")
		}
	}
	if err := c.Close(); err != nil {
		t.Error(err)
	}
	if n := <-wrote; n < 128<<10 || n > 256<<10 {
		t.Errorf("%d bytes were taken of a megabyte, with memory for 128 KiB", n)
	}
}

// TestNSHopLimit: Config.HopLimit is what the kernel receives datagrams with.
func TestNSHopLimit(t *testing.T) {
	q, peer := openTUN(newNS(t), tunOurs4.Addr(), tunHost4.Addr())(t, zctap.Config{HopLimit: 9})
	defer q.Close()
	p, err := peer.ListenPacket("udp4")
	if err != nil {
		t.Fatal(err)
	}
	defer p.Close()
	theirs := p.(*net.UDPConn)
	raw, err := theirs.SyscallConn()
	if err != nil {
		t.Fatal(err)
	}
	if e := raw.Control(func(fd uintptr) { err = unix.SetsockoptInt(int(fd), unix.IPPROTO_IP, unix.IP_RECVTTL, 1) }); e != nil || err != nil {
		t.Fatal(e, err)
	}
	c, err := q.DialPacket("udp4", p.LocalAddr().String())
	if err != nil {
		t.Fatal(err)
	}
	if _, err := c.Write([]byte("x")); err != nil {
		t.Fatal(err)
	}
	if err := theirs.SetReadDeadline(time.Now().Add(patience)); err != nil {
		t.Fatal(err)
	}
	oob := make([]byte, 64)
	_, n, _, _, err := theirs.ReadMsgUDP(make([]byte, 8), oob)
	if err != nil {
		t.Fatal(err)
	}
	h, data, _, err := unix.ParseOneSocketControlMessage(oob[:n])
	if err != nil || h.Type != unix.IP_TTL || len(data) < 4 || data[0] != 9 {
		t.Errorf("TTL %v, %v, %v; want 9", data, h, err)
	}
}
