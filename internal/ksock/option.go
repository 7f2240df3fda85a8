//go:build linux

package ksock

import (
	"errors"
	"fmt"
	"math"
	"os"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// SetNoDelay switches Nagle's algorithm off, which is the default, or on
// (RFC 9293, 3.7.4).
func (s *Socket) SetNoDelay(on bool) error {
	return s.setInt("TCP_NODELAY", unix.IPPROTO_TCP, unix.TCP_NODELAY, toInt(on))
}

// SetLinger says what Close does with data that was written and not sent yet:
// sec < 0 sends it behind Close's back, 0 drops it and resets the connection,
// more makes Close wait that many seconds for it.
func (s *Socket) SetLinger(sec int) error {
	l := unix.Linger{}
	if sec >= 0 {
		l = unix.Linger{Onoff: 1, Linger: int32(sec)}
	}
	return s.use(func(fd int) error {
		return os.NewSyscallError("setsockopt SO_LINGER", unix.SetsockoptLinger(fd, unix.SOL_SOCKET, unix.SO_LINGER, &l))
	})
}

// SetKeepAlive switches keep-alive probes (RFC 9293, 3.8.4). With idle > 0 the
// first is sent after idle without traffic, and further ones as often; both are
// rounded up to seconds. Otherwise the system's times stay.
func (s *Socket) SetKeepAlive(on bool, idle time.Duration) error {
	if on && idle > 0 {
		sec := int((idle + time.Second - 1) / time.Second)
		if err := s.setInt("TCP_KEEPIDLE", unix.IPPROTO_TCP, unix.TCP_KEEPIDLE, sec); err != nil {
			return err
		}
		if err := s.setInt("TCP_KEEPINTVL", unix.IPPROTO_TCP, unix.TCP_KEEPINTVL, sec); err != nil {
			return err
		}
	}
	return s.setInt("SO_KEEPALIVE", unix.SOL_SOCKET, unix.SO_KEEPALIVE, toInt(on))
}

// SetUserTimeout ends the connection with ETIMEDOUT when what was sent was not
// acknowledged for d, or could not be sent; rounded up to milliseconds, 0 is the
// system's default (tcp(7), TCP_USER_TIMEOUT; RFC 5482). EINVAL if negative, or more
// than 24 days.
func (s *Socket) SetUserTimeout(d time.Duration) error {
	ms := (d + time.Millisecond - 1) / time.Millisecond
	if d < 0 || ms > math.MaxInt32 {
		return fmt.Errorf("user timeout %v: %w", d, syscall.EINVAL)
	}
	return s.setInt("TCP_USER_TIMEOUT", unix.IPPROTO_TCP, unix.TCP_USER_TIMEOUT, int(ms))
}

// SetCongestion sets the congestion control algorithm by its name, such as "cubic";
// accepted connections inherit their listener's. "" changes nothing. ENOENT for one
// that the system does not have, EPERM for one that is not for everybody.
func (s *Socket) SetCongestion(name string) error {
	if name == "" {
		return nil
	}
	err := s.use(func(fd int) error {
		return os.NewSyscallError("setsockopt TCP_CONGESTION", unix.SetsockoptString(fd, unix.IPPROTO_TCP, unix.TCP_CONGESTION, name))
	})
	if errors.Is(err, unix.EPERM) {
		return fmt.Errorf("congestion control %s: %w: without CAP_NET_ADMIN use one of net.ipv4.tcp_allowed_congestion_control, or the system's default", name, err)
	}
	return err
}

// Indexes in what SO_MEMINFO returns (linux/sock_diag.h): SK_MEMINFO_RMEM_ALLOC
// and SK_MEMINFO_DROPS.
const (
	memInfoReceived = 0
	memInfoDrops    = 8
)

// Waiting is how many bytes of memory the kernel charges s for what was received
// and not taken from it: of buffers, not of payload.
func (s *Socket) Waiting() (n int, err error) {
	err = s.use(func(fd int) error {
		var info [memInfoDrops + 1]uint32
		if errno := getMemInfo(fd, &info); errno != 0 {
			return os.NewSyscallError("getsockopt SO_MEMINFO", errno)
		}
		n = int(info[memInfoReceived])
		return nil
	})
	return n, err
}

// ReceiveBuffer is how many bytes of memory the kernel may be charged for what waits to
// be received (socket(7), SO_RCVBUF): of buffers, not of payload.
func (s *Socket) ReceiveBuffer() (n int, err error) {
	err = s.use(func(fd int) (err error) {
		n, err = unix.GetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_RCVBUF)
		return os.NewSyscallError("getsockopt SO_RCVBUF", err)
	})
	return n, err
}

// SetReceiveBuffer sets what ReceiveBuffer tells, to twice as many bytes: half is for what
// the kernel keeps beside payload (socket(7), SO_RCVBUF). Without CAP_NET_ADMIN
// net.core.rmem_max bounds it, without a word. EINVAL under 1.
func (s *Socket) SetReceiveBuffer(bytes int) error {
	if bytes < 1 || bytes > math.MaxInt32/2 {
		return fmt.Errorf("receive buffer of %d bytes: %w", bytes, syscall.EINVAL)
	}
	if err := s.setInt("SO_RCVBUFFORCE", unix.SOL_SOCKET, unix.SO_RCVBUFFORCE, bytes); err == nil {
		return nil
	}
	return s.setInt("SO_RCVBUF", unix.SOL_SOCKET, unix.SO_RCVBUF, bytes)
}

// KernelDrops is how many datagrams the kernel dropped at this socket, above all
// for want of room in its receive buffer, since it was made. It wraps at 2^32.
func (s *Socket) KernelDrops() (n uint32, err error) {
	err = s.use(func(fd int) error {
		var info [memInfoDrops + 1]uint32
		if errno := getMemInfo(fd, &info); errno != 0 {
			return os.NewSyscallError("getsockopt SO_MEMINFO", errno)
		}
		n = info[memInfoDrops]
		return nil
	})
	return n, err
}

func (s *Socket) setInt(name string, level, option, value int) error {
	return s.use(func(fd int) error {
		return os.NewSyscallError("setsockopt "+name, unix.SetsockoptInt(fd, level, option, value))
	})
}

func toInt(on bool) int {
	if on {
		return 1
	}
	return 0
}
