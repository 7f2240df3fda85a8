//go:build linux

package xdp

import (
	"encoding/binary"
	"errors"
	"fmt"
	"syscall"

	"golang.org/x/sys/unix"
)

// An nlSocket is a netlink(7) socket. It asks in the network namespace in which it
// was opened, whatever thread uses it later.
type nlSocket struct {
	fd  int
	seq uint32
	buf []byte // one datagram of the kernel's
}

// netlinkTimeout bounds the wait for an answer, which the kernel gives within
// the call. Only a request whose answer was lost gets there.
const netlinkTimeout = 5 // seconds

// openNetlink opens a socket of a protocol that takes part in the groups, a bit
// mask.
func openNetlink(protocol int, groups uint32) (*nlSocket, error) {
	fd, err := unix.Socket(unix.AF_NETLINK, unix.SOCK_RAW|unix.SOCK_CLOEXEC, protocol)
	if err != nil {
		return nil, fmt.Errorf("netlink socket: %w", err)
	}
	err = unix.SetsockoptTimeval(fd, unix.SOL_SOCKET, unix.SO_RCVTIMEO, &unix.Timeval{Sec: netlinkTimeout})
	if err == nil {
		err = unix.Bind(fd, &unix.SockaddrNetlink{Family: unix.AF_NETLINK, Groups: groups})
	}
	if err != nil {
		return nil, errors.Join(fmt.Errorf("netlink socket: %w", err), unix.Close(fd))
	}
	return &nlSocket{fd: fd, buf: make([]byte, 1<<16)}, nil
}

// close closes the socket. Idempotent.
func (n *nlSocket) close() error {
	if n.fd < 0 {
		return nil
	}
	fd := n.fd
	n.fd = -1
	return unix.Close(fd)
}

// send sends a request, which the kernel acknowledges when it has answered.
func (n *nlSocket) send(typ uint16, body []byte) error {
	n.seq++
	b := make([]byte, unix.SizeofNlMsghdr, unix.SizeofNlMsghdr+len(body))
	binary.NativeEndian.PutUint32(b[0:], uint32(cap(b)))
	binary.NativeEndian.PutUint16(b[4:], typ)
	binary.NativeEndian.PutUint16(b[6:], unix.NLM_F_REQUEST|unix.NLM_F_ACK)
	binary.NativeEndian.PutUint32(b[8:], n.seq)
	return unix.Sendto(n.fd, append(b, body...), 0, &unix.SockaddrNetlink{Family: unix.AF_NETLINK})
}

// receive receives one datagram of the kernel's. flags: MSG_DONTWAIT or 0. The
// messages are valid until the next call.
func (n *nlSocket) receive(flags int) ([]syscall.NetlinkMessage, error) {
	for {
		k, from, err := unix.Recvfrom(n.fd, n.buf, flags)
		if err == unix.EINTR {
			continue
		}
		if err != nil {
			return nil, err
		}
		if sa, ok := from.(*unix.SockaddrNetlink); !ok || sa.Pid != 0 {
			continue // not the kernel
		}
		return syscall.ParseNetlinkMessage(n.buf[:k])
	}
}

// ask sends a request and passes each message of the answer to f. The error is
// the kernel's, or that there is no answer.
func (n *nlSocket) ask(typ uint16, body []byte, f func(m *syscall.NetlinkMessage)) error {
	if err := n.send(typ, body); err != nil {
		return err
	}
	for {
		messages, err := n.receive(0)
		if err != nil {
			return err
		}
		for i := range messages {
			m := &messages[i]
			switch {
			case m.Header.Seq != n.seq: // a notification, or an answer that came too late
			case m.Header.Type == unix.NLMSG_ERROR:
				return acknowledged(m)
			default:
				f(m)
			}
		}
	}
}

// acknowledged is the error in an NLMSG_ERROR, nil if that is an acknowledgment.
func acknowledged(m *syscall.NetlinkMessage) error {
	if len(m.Data) < 4 {
		return unix.EBADMSG
	}
	if code := int32(binary.NativeEndian.Uint32(m.Data)); code != 0 {
		return unix.Errno(-code)
	}
	return nil
}

// eachAttr calls f for each attribute in b; what comes after a broken one is
// left out.
func eachAttr(b []byte, f func(typ uint16, value []byte)) {
	for len(b) >= unix.SizeofNlAttr {
		n := int(binary.NativeEndian.Uint16(b))
		if n < unix.SizeofNlAttr || n > len(b) {
			return
		}
		f(binary.NativeEndian.Uint16(b[2:])&^unix.NLA_F_NESTED, b[unix.SizeofNlAttr:n])
		b = b[min((n+unix.NLA_ALIGNTO-1)&^(unix.NLA_ALIGNTO-1), len(b)):]
	}
}

// appendAttr appends an attribute to b.
func appendAttr(b []byte, typ uint16, value []byte) []byte {
	b = binary.NativeEndian.AppendUint16(b, uint16(unix.SizeofNlAttr+len(value)))
	b = binary.NativeEndian.AppendUint16(b, typ)
	b = append(b, value...)
	for len(b)%unix.NLA_ALIGNTO != 0 {
		b = append(b, 0)
	}
	return b
}

func appendAttr32(b []byte, typ uint16, v uint32) []byte {
	return appendAttr(b, typ, binary.NativeEndian.AppendUint32(nil, v))
}
