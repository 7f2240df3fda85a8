//go:build linux

package ksock

import (
	"net"
	"net/netip"

	"golang.org/x/sys/unix"
)

// A send that meets a closed connection must not raise SIGPIPE: on some
// descriptors Go lets that end the process.
const sendFlags = unix.MSG_DONTWAIT | unix.MSG_NOSIGNAL

// Send sends as much of p as there is room for, without waiting; EAGAIN for
// none at all. On a connected UDP socket p is one datagram. After a reset the
// errno is ECONNRESET once and EPIPE from then on, as after CloseWrite.
func (s *Socket) Send(p []byte) (int, error) {
	s.mu.RLock()
	defer s.mu.RUnlock()
	if s.fd < 0 {
		return 0, net.ErrClosed
	}
	for {
		n, errno := sendTo(s.fd, p, sendFlags, nil, 0)
		switch errno {
		case 0:
			return n, nil
		case unix.EINTR:
			continue
		}
		return 0, errno
	}
}

// SendTo sends p as one datagram to to, without waiting. EAGAIN without room in
// the send buffer, EMSGSIZE for a p that fits no datagram, EDESTADDRREQ if to is
// invalid, EAFNOSUPPORT if it is not of the socket's family.
func (s *Socket) SendTo(p []byte, to netip.AddrPort) (int, error) {
	if !to.IsValid() {
		return 0, unix.EDESTADDRREQ
	}
	s.mu.RLock()
	defer s.mu.RUnlock()
	if s.fd < 0 {
		return 0, net.ErrClosed
	}
	var sa sockaddr
	size, err := sa.put(s.family, to)
	if err != nil {
		return 0, err
	}
	for {
		n, errno := sendTo(s.fd, p, sendFlags, &sa, size)
		switch errno {
		case 0:
			return n, nil
		case unix.EINTR:
			continue
		}
		return 0, errno
	}
}
