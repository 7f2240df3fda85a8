//go:build linux

package ksock

import (
	"net"
	"net/netip"
	"os"
	"sync"

	"golang.org/x/sys/unix"
)

// A Socket owns one descriptor. Its methods may be called from any goroutine:
// none of them can meet a descriptor that Close has given back and the kernel
// has given to another file.
type Socket struct {
	// mu: a call that uses fd holds it for reading, Close for writing.
	mu     sync.RWMutex
	fd     int // -1 once closed
	family int // AF_INET or AF_INET6; not known of an adopted socket
	v6only bool

	// The two ends. Constant once the socket is connected.
	local, remote netip.AddrPort
}

// open makes a socket of family, with IPV6_V6ONLY as v6only says.
func open(family, sotype int, v6only bool) (*Socket, error) {
	fd, err := unix.Socket(family, sotype|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return nil, os.NewSyscallError("socket", err)
	}
	s := &Socket{fd: fd, family: family, v6only: v6only}
	if family == unix.AF_INET6 {
		// Said in both cases: the sysctl net.ipv6.bindv6only is the default.
		only := 0
		if v6only {
			only = 1
		}
		if err := unix.SetsockoptInt(fd, unix.IPPROTO_IPV6, unix.IPV6_V6ONLY, only); err != nil {
			s.Close()
			return nil, os.NewSyscallError("setsockopt IPV6_V6ONLY", err)
		}
	}
	return s, nil
}

// Adopt makes a Socket of fd, a connected TCP socket that accept(2) or io_uring
// returned. fd belongs to the Socket from here on, also when Adopt fails: it is
// closed then. ENOTCONN means that the peer has gone again already.
func Adopt(fd int) (*Socket, error) {
	s := &Socket{fd: fd}
	if err := s.readAddrs(); err != nil {
		s.Close()
		return nil, err
	}
	if !s.remote.IsValid() {
		s.Close()
		return nil, os.NewSyscallError("getpeername", unix.ENOTCONN)
	}
	return s, nil
}

// readAddrs fills in the addresses; a socket without a peer has no remote.
func (s *Socket) readAddrs() error {
	local, err := unix.Getsockname(s.fd)
	if err != nil {
		return os.NewSyscallError("getsockname", err)
	}
	s.local = fromSockaddr(local)
	switch remote, err := unix.Getpeername(s.fd); err {
	case nil:
		s.remote = fromSockaddr(remote)
	case unix.ENOTCONN:
	default:
		return os.NewSyscallError("getpeername", err)
	}
	return nil
}

// FD is the descriptor, -1 after Close. It is for whoever ends its use before
// Close is called, which is how an engine detaches a socket from its loop.
func (s *Socket) FD() int {
	s.mu.RLock()
	defer s.mu.RUnlock()
	return s.fd
}

// use calls f with the descriptor, which stays open until f returns.
func (s *Socket) use(f func(fd int) error) error {
	s.mu.RLock()
	defer s.mu.RUnlock()
	if s.fd < 0 {
		return net.ErrClosed
	}
	return f(s.fd)
}

// LocalAddr is the address that the socket is bound to. IPv4-mapped addresses
// are unmapped.
func (s *Socket) LocalAddr() netip.AddrPort { return s.local }

// RemoteAddr is the peer's address; invalid if there is none.
func (s *Socket) RemoteAddr() netip.AddrPort { return s.remote }

// Close gives the descriptor back. A TCP socket still sends what was written,
// unless there is received data that nobody read: then it resets the connection
// (RFC 2525, 2.17; the kernel's tcp_close). With SetLinger(sec > 0) it blocks
// until all is sent, or sec seconds. Calls after the first do nothing.
func (s *Socket) Close() error {
	s.mu.Lock()
	fd := s.fd
	s.fd = -1
	s.mu.Unlock()
	if fd < 0 {
		return nil
	}
	// Linux gives the descriptor back whatever close(2) says; EINTR, which a
	// lingering close may say, must not be answered by another close.
	if err := unix.Close(fd); err != nil && err != unix.EINTR {
		return os.NewSyscallError("close", err)
	}
	return nil
}

// Reset closes a TCP socket with a reset to the peer: what was written and not
// yet sent is dropped. It does not block.
func (s *Socket) Reset() error {
	// Fails only on a socket that is closed, or has no connection to reset.
	_ = s.SetLinger(0)
	return s.Close()
}
