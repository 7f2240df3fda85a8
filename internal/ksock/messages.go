//go:build linux

package ksock

import (
	"net/netip"

	"golang.org/x/sys/unix"
)

// Messages receives several datagrams with one recvmmsg(2), each into buffers
// of its own. It is reused from call to call and belongs to one goroutine.
type Messages struct {
	hdrs  []mmsghdr
	iov   []unix.Iovec // perMsg for each message
	names []sockaddr
	ctls  []control
	per   int
}

// mmsghdr is struct mmsghdr.
type mmsghdr struct {
	hdr unix.Msghdr
	len uint32 // written by the kernel: the datagram's true length in bytes, with MSG_TRUNC
}

// NewMessages makes room for n datagrams of up to per buffers each.
func NewMessages(n, per int) *Messages {
	return &Messages{
		hdrs:  make([]mmsghdr, n),
		iov:   make([]unix.Iovec, n*per),
		names: make([]sockaddr, n),
		ctls:  make([]control, n),
		per:   per,
	}
}

// Cap is the most datagrams that one Recv can return.
func (m *Messages) Cap() int { return len(m.hdrs) }

// Buffers is the most buffers that one datagram can have.
func (m *Messages) Buffers() int { return m.per }

// SetBuffer makes b, which is not empty, the j-th buffer of message i. Buffers
// are set in order, from 0 on: setting one forgets those behind it.
func (m *Messages) SetBuffer(i, j int, b []byte) {
	v := &m.iov[i*m.per+j]
	v.Base = &b[0]
	v.SetLen(len(b))
	m.hdrs[i].hdr.SetIovlen(j + 1)
}

// Recv receives up to n datagrams, without waiting, and returns how many. Each
// of the first n messages has its buffers. The errno is EAGAIN if there is
// none, or one that an ICMP message brought (ECONNREFUSED...), told once. The
// caller keeps s from being closed meanwhile.
func (m *Messages) Recv(s *Socket, n int) (int, error) {
	for i := range n {
		h := &m.hdrs[i].hdr
		h.Iov = &m.iov[i*m.per]
		h.Name = &m.names[i][0]
		h.Namelen = sockaddrLen
		m.setControl(i)
		h.Flags = 0
	}
	for {
		// MSG_TRUNC: len is the datagram's own length, also of what was cut off.
		got, errno := recvMmsg(s.fd, m.hdrs[:n], unix.MSG_DONTWAIT|unix.MSG_TRUNC)
		switch errno {
		case 0:
			return got, nil
		case unix.EINTR:
			continue
		}
		return 0, errno
	}
}

// Len is the length in bytes of the i-th datagram received, also of what its
// buffers had no room for.
func (m *Messages) Len(i int) int { return int(m.hdrs[i].len) }

// Truncated reports whether the i-th datagram did not fit its buffers.
func (m *Messages) Truncated(i int) bool { return m.hdrs[i].hdr.Flags&unix.MSG_TRUNC != 0 }

// Src is where the i-th datagram came from.
func (m *Messages) Src(i int) netip.AddrPort {
	if m.hdrs[i].hdr.Namelen == 0 {
		return netip.AddrPort{}
	}
	return m.names[i].get()
}

// Info is what the kernel tells of the i-th datagram.
func (m *Messages) Info(i int) Info { return parseInfo(m.controlOf(i)) }
