//go:build linux

package ksock

import (
	"net/netip"
	"os"
	"strconv"
	"strings"
	"sync"

	"golang.org/x/sys/unix"
)

// Backlog is what Listen makes of its argument: n connections, bounded as the
// kernel would bound it silently; n < 1 is as many as that.
func Backlog(n int) int {
	if n < 1 {
		return maxBacklog()
	}
	return min(n, maxBacklog())
}

// maxBacklog is net.core.somaxconn, or the kernel's default for it.
var maxBacklog = sync.OnceValue(func() int {
	b, err := os.ReadFile("/proc/sys/net/core/somaxconn")
	if err == nil {
		if n, err := strconv.Atoi(strings.TrimSpace(string(b))); err == nil && n > 0 {
			return n
		}
	}
	return 4096
})

// Bind makes a TCP socket on network "tcp", "tcp4" or "tcp6" that is bound, and
// refuses connections until Listen. An invalid or unspecified local address means
// all of this machine's, port 0 a free port. Accepted sockets inherit TCP_NODELAY
// from it, which is on.
func Bind(network string, local netip.AddrPort) (*Socket, error) {
	if err := checkNetwork(network, "tcp"); err != nil {
		return nil, err
	}
	p, err := locate(network, local, netip.AddrPort{})
	if err != nil {
		return nil, err
	}
	s, err := open(p.family, unix.SOCK_STREAM, p.v6only)
	if err != nil {
		return nil, err
	}
	if err := s.prepare(p); err != nil {
		s.Close()
		return nil, err
	}
	return s, nil
}

// Listen begins to accept connections, of which the kernel keeps backlog, as
// Backlog says. EADDRINUSE if another socket has begun since Bind.
func (s *Socket) Listen(backlog int) error {
	return os.NewSyscallError("listen", unix.Listen(s.fd, Backlog(backlog)))
}

func (s *Socket) prepare(p place) error {
	if err := unix.SetsockoptInt(s.fd, unix.SOL_SOCKET, unix.SO_REUSEADDR, 1); err != nil {
		return os.NewSyscallError("setsockopt SO_REUSEADDR", err)
	}
	if err := s.SetNoDelay(true); err != nil {
		return err
	}
	if err := s.bind(p.local); err != nil {
		return err
	}
	return s.readAddrs()
}

func (s *Socket) bind(local netip.AddrPort) error {
	sa, err := toSockaddr(s.family, local)
	if err != nil {
		return err
	}
	return os.NewSyscallError("bind", unix.Bind(s.fd, sa))
}

// Accept takes a connection off a listener's queue: a new blocking descriptor
// for Adopt. EAGAIN if there is none. It needs SetNonblock(true) on the
// listener, lest it block.
func (s *Socket) Accept() (fd int, err error) {
	s.mu.RLock()
	defer s.mu.RUnlock()
	if s.fd < 0 {
		return -1, unix.EBADF
	}
	for {
		fd, _, err = unix.Accept4(s.fd, unix.SOCK_CLOEXEC)
		if err != unix.EINTR {
			return fd, err
		}
	}
}

// SetNonblock switches O_NONBLOCK, which sockets are made without.
func (s *Socket) SetNonblock(on bool) error {
	return s.use(func(fd int) error {
		return os.NewSyscallError("fcntl O_NONBLOCK", unix.SetNonblock(fd, on))
	})
}

// Dial makes a TCP socket and starts to connect it. The handshake goes on in
// the kernel: when the socket has become writable, Connected says how it went.
// local may be invalid; TCP_NODELAY is on. EDESTADDRREQ without a remote address.
func Dial(network string, local, remote netip.AddrPort) (*Socket, error) {
	if err := checkNetwork(network, "tcp"); err != nil {
		return nil, err
	}
	if !remote.IsValid() {
		return nil, os.NewSyscallError("connect", unix.EDESTADDRREQ)
	}
	p, err := locate(network, local, remote)
	if err != nil {
		return nil, err
	}
	s, err := open(p.family, unix.SOCK_STREAM, p.v6only)
	if err != nil {
		return nil, err
	}
	if err := s.dial(p, local.IsValid()); err != nil {
		s.Close()
		return nil, err
	}
	return s, nil
}

func (s *Socket) dial(p place, bind bool) error {
	if err := s.SetNoDelay(true); err != nil {
		return err
	}
	if bind {
		if err := s.bind(p.local); err != nil {
			return err
		}
	}
	// connect(2) takes no MSG_DONTWAIT; nobody else knows the descriptor yet.
	if err := s.SetNonblock(true); err != nil {
		return err
	}
	if err := s.connect(p.remote); err != nil && !IsPending(err) {
		return err
	}
	return s.SetNonblock(false)
}

func (s *Socket) connect(remote netip.AddrPort) error {
	sa, err := toSockaddr(s.family, remote)
	if err != nil {
		return err
	}
	return os.NewSyscallError("connect", unix.Connect(s.fd, sa))
}

// Connected says how Dial went: nil, why it failed, or EINPROGRESS if it is
// still under way. The one goroutine that dials calls it; after nil the
// addresses are known.
func (s *Socket) Connected() error {
	return s.use(func(fd int) error {
		errno, err := unix.GetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_ERROR)
		if err != nil {
			return os.NewSyscallError("getsockopt SO_ERROR", err)
		}
		if errno != 0 {
			return os.NewSyscallError("connect", unix.Errno(errno))
		}
		if err := s.readAddrs(); err != nil {
			return err
		}
		if !s.remote.IsValid() {
			return os.NewSyscallError("connect", unix.EINPROGRESS)
		}
		return nil
	})
}

// CloseWrite sends FIN after what was written.
func (s *Socket) CloseWrite() error {
	return s.use(func(fd int) error {
		return os.NewSyscallError("shutdown", unix.Shutdown(fd, unix.SHUT_WR))
	})
}
