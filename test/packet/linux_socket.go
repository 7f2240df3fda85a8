//go:build linux

package packet

import (
	"fmt"
	"io"
	"net"
	"net/netip"
	"slices"
	"strconv"
	"time"

	"golang.org/x/sys/unix"
)

// linuxSocket is a socket of the kernel's.
type linuxSocket struct {
	l         *linuxTarget
	fd        int
	connected bool // UDP
	lingers   bool // close waits for the peer
}

// socket makes a socket in the namespace, bound to local.
func (l *linuxTarget) socket(kind int, local netip.AddrPort) (*linuxSocket, error) {
	s := &linuxSocket{l: l, fd: -1}
	err := l.ns.Do(func() (err error) {
		s.fd, err = unix.Socket(familyOf(local), kind|unix.SOCK_CLOEXEC|unix.SOCK_NONBLOCK, 0)
		return err
	})
	if err != nil {
		return nil, err
	}
	l.fds = append(l.fds, s.fd)
	if err := unix.SetsockoptInt(s.fd, unix.SOL_SOCKET, unix.SO_REUSEADDR, 1); err != nil {
		return nil, err
	}
	return s, unix.Bind(s.fd, sockaddr(local))
}

func familyOf(a netip.AddrPort) int {
	if a.Addr().Is6() {
		return unix.AF_INET6
	}
	return unix.AF_INET
}

func sockaddr(a netip.AddrPort) unix.Sockaddr {
	if a.Addr().Is6() {
		return &unix.SockaddrInet6{Port: int(a.Port()), Addr: a.Addr().As16()}
	}
	return &unix.SockaddrInet4{Port: int(a.Port()), Addr: a.Addr().As4()}
}

func (l *linuxTarget) Listen(local netip.AddrPort) (Listener, error) {
	s, err := l.socket(unix.SOCK_STREAM, local)
	if err != nil {
		return nil, err
	}
	return s, unix.Listen(s.fd, 16)
}

func (l *linuxTarget) Connect(local, remote netip.AddrPort) (Conn, error) {
	s, err := l.socket(unix.SOCK_STREAM, local)
	if err != nil {
		return nil, err
	}
	if err := s.Set("nodelay", "on"); err != nil {
		return nil, err
	}
	err = unix.Connect(s.fd, sockaddr(remote))
	if err == unix.EINPROGRESS {
		err = nil
	}
	return s, err
}

// Accept sets TCP_NODELAY, as package net and our stack have it.
func (s *linuxSocket) Accept() (Conn, error) {
	fd, _, err := unix.Accept4(s.fd, unix.SOCK_CLOEXEC|unix.SOCK_NONBLOCK)
	if err != nil {
		return nil, err
	}
	s.l.fds = append(s.l.fds, fd)
	c := &linuxSocket{l: s.l, fd: fd}
	return c, c.Set("nodelay", "on")
}

func (s *linuxSocket) Connected() error {
	p := []unix.PollFd{{Fd: int32(s.fd), Events: unix.POLLOUT}}
	if n, err := unix.Ppoll(p, &unix.Timespec{}, nil); err != nil || n == 0 {
		return unix.EAGAIN
	}
	errno, err := unix.GetsockoptInt(s.fd, unix.SOL_SOCKET, unix.SO_ERROR)
	if err != nil || errno == 0 {
		return err
	}
	return unix.Errno(errno)
}

func (s *linuxSocket) Send(p []byte) (int, error) {
	if s.fd < 0 {
		return 0, net.ErrClosed
	}
	n, err := unix.SendmsgN(s.fd, p, nil, nil, unix.MSG_NOSIGNAL)
	return max(n, 0), err
}

func (s *linuxSocket) Recv(p []byte) (int, error) {
	if s.fd < 0 {
		return 0, net.ErrClosed
	}
	n, err := unix.Read(s.fd, p)
	if err == nil && n == 0 && len(p) > 0 {
		err = io.EOF
	}
	return max(n, 0), err
}

func (s *linuxSocket) Shutdown() error { return unix.Shutdown(s.fd, unix.SHUT_WR) }

func (s *linuxSocket) Close() error {
	if s.fd < 0 {
		return net.ErrClosed
	}
	s.l.fds = slices.DeleteFunc(s.l.fds, func(fd int) bool { return fd == s.fd })
	fd := s.fd
	s.fd = -1
	if s.lingers {
		return s.l.closeMeanwhile(fd)
	}
	return unix.Close(fd)
}

func (s *linuxSocket) Abort() error {
	if s.fd < 0 {
		return net.ErrClosed
	}
	if err := setLinger(s.fd, 0); err != nil {
		return err
	}
	s.lingers = false
	return s.Close()
}

// setLinger is for all kinds of sockets, though it means something to TCP only.
func setLinger(fd, seconds int) error {
	return unix.SetsockoptLinger(fd, unix.SOL_SOCKET, unix.SO_LINGER, &unix.Linger{Onoff: 1, Linger: int32(seconds)})
}

// tcpStates are the kernel's numbers (include/net/tcp_states.h) in RFC 9293's words.
var tcpStates = map[uint8]string{
	1: "ESTABLISHED", 2: "SYN-SENT", 3: "SYN-RECEIVED", 4: "FIN-WAIT-1", 5: "FIN-WAIT-2",
	6: "TIME-WAIT", 7: "CLOSED", 8: "CLOSE-WAIT", 9: "LAST-ACK", 10: "LISTEN", 11: "CLOSING",
}

func (s *linuxSocket) State() (string, error) {
	info, err := unix.GetsockoptTCPInfo(s.fd, unix.IPPROTO_TCP, unix.TCP_INFO)
	if err != nil {
		return "", err
	}
	return tcpStates[info.State], nil
}

func (s *linuxSocket) Set(name, value string) error {
	switch name {
	case "nodelay":
		return unix.SetsockoptInt(s.fd, unix.IPPROTO_TCP, unix.TCP_NODELAY, onOff(value))
	case "quickack":
		return unix.SetsockoptInt(s.fd, unix.IPPROTO_TCP, unix.TCP_QUICKACK, onOff(value))
	case "keepalive":
		return s.setKeepAlive(value)
	case "usertimeout":
		d, err := time.ParseDuration(value)
		if err != nil {
			return err
		}
		return unix.SetsockoptInt(s.fd, unix.IPPROTO_TCP, unix.TCP_USER_TIMEOUT, int(d.Milliseconds()))
	}
	n, err := strconv.Atoi(value)
	if err != nil {
		return fmt.Errorf("%s %q: %w", name, value, unix.EINVAL)
	}
	switch name {
	case "rcvbuf":
		return unix.SetsockoptInt(s.fd, unix.SOL_SOCKET, unix.SO_RCVBUF, n)
	case "sndbuf":
		return unix.SetsockoptInt(s.fd, unix.SOL_SOCKET, unix.SO_SNDBUF, n)
	case "linger":
		s.lingers = n > 0
		return setLinger(s.fd, n)
	case "dscp":
		if s.l.world.stack.Is6() {
			return unix.SetsockoptInt(s.fd, unix.IPPROTO_IPV6, unix.IPV6_TCLASS, n<<2)
		}
		return unix.SetsockoptInt(s.fd, unix.IPPROTO_IP, unix.IP_TOS, n<<2)
	}
	return unix.ENOTSUP
}

func onOff(value string) int {
	if value == "on" {
		return 1
	}
	return 0
}

// setKeepAlive has the connection probed after value, as often as our stack does
// (tcp.keepAliveProbes), and as far apart.
func (s *linuxSocket) setKeepAlive(value string) error {
	d, err := time.ParseDuration(value)
	if err != nil {
		return unix.SetsockoptInt(s.fd, unix.SOL_SOCKET, unix.SO_KEEPALIVE, 0)
	}
	for opt, v := range map[int]int{unix.TCP_KEEPIDLE: int(d.Seconds()), unix.TCP_KEEPINTVL: int(d.Seconds()), unix.TCP_KEEPCNT: 9} {
		if err := unix.SetsockoptInt(s.fd, unix.IPPROTO_TCP, opt, v); err != nil {
			return err
		}
	}
	return unix.SetsockoptInt(s.fd, unix.SOL_SOCKET, unix.SO_KEEPALIVE, 1)
}
