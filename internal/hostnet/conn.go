//go:build linux

package hostnet

import (
	"encoding/binary"
	"errors"
	"fmt"
	"time"

	"golang.org/x/sys/unix"
)

// answerTimeout bounds the wait for an answer. The kernel gives it before the
// request's system call returns, whatever time that takes.
const answerTimeout = 5 * time.Second

// bufferSize is the size of the buffers that messages are received into. The
// kernel's dumps come in pieces of 32 KiB at most.
const bufferSize = 64 << 10

// errInterrupted is the end of a dump during which things changed.
var errInterrupted = errors.New("the dump was interrupted by changes")

// conn is a netlink socket with one request under way at a time. It stays in
// the network namespace that it was opened in.
type conn struct {
	fd  int
	seq uint32
	buf []byte
}

func dial() (*conn, error) {
	fd, err := unix.Socket(unix.AF_NETLINK, unix.SOCK_RAW|unix.SOCK_CLOEXEC, unix.NETLINK_ROUTE)
	if err != nil {
		return nil, fmt.Errorf("netlink socket: %w", err)
	}
	timeout := unix.NsecToTimeval(int64(answerTimeout))
	err = errors.Join(
		unix.Bind(fd, &unix.SockaddrNetlink{Family: unix.AF_NETLINK}),
		unix.SetsockoptTimeval(fd, unix.SOL_SOCKET, unix.SO_RCVTIMEO, &timeout),
		unix.SetsockoptInt(fd, unix.SOL_NETLINK, unix.NETLINK_CAP_ACK, 1),
	)
	if err != nil {
		unix.Close(fd)
		return nil, fmt.Errorf("netlink socket: %w", err)
	}
	// Linux 4.20. Without it dumps cannot be narrowed down, and we take what
	// concerns us.
	_ = unix.SetsockoptInt(fd, unix.SOL_NETLINK, unix.NETLINK_GET_STRICT_CHK, 1)
	return &conn{fd: fd, buf: make([]byte, bufferSize)}, nil
}

func (c *conn) close() { unix.Close(c.fd) }

// do sends a request and calls each for every message of the answer; what it is
// given is valid until it returns. each may be nil. The error is the errno that
// the kernel answers, or errInterrupted for a dump that is not consistent.
func (c *conn) do(typ, flags uint16, body []byte, each func(message)) error {
	err := c.request(typ, flags, body, each)
	if err != nil {
		c.discard()
	}
	return err
}

func (c *conn) request(typ, flags uint16, body []byte, each func(message)) error {
	c.seq++
	n := unix.SizeofNlMsghdr + len(body)
	req := make([]byte, 0, n)
	req = binary.NativeEndian.AppendUint32(req, uint32(n))
	req = binary.NativeEndian.AppendUint16(req, typ)
	req = binary.NativeEndian.AppendUint16(req, flags|unix.NLM_F_REQUEST|unix.NLM_F_ACK)
	req = binary.NativeEndian.AppendUint32(req, c.seq)
	req = binary.NativeEndian.AppendUint32(req, 0)
	req = append(req, body...)
	if err := unix.Sendto(c.fd, req, 0, &unix.SockaddrNetlink{Family: unix.AF_NETLINK}); err != nil {
		return fmt.Errorf("netlink send: %w", err)
	}
	a := answer{seq: c.seq, each: each}
	for deadline := time.Now().Add(2 * answerTimeout); time.Now().Before(deadline); {
		n, from, err := unix.Recvfrom(c.fd, c.buf, unix.MSG_TRUNC)
		switch {
		case err == unix.EINTR:
			continue
		case err != nil:
			return fmt.Errorf("netlink receive: %w", err)
		case !fromKernel(from):
			continue
		case n > len(c.buf):
			return fmt.Errorf("netlink message of %d bytes: %w", n, unix.EBADMSG)
		}
		if done, err := a.take(c.buf[:n]); done {
			return err
		}
	}
	return fmt.Errorf("netlink: no answer: %w", unix.ETIMEDOUT)
}

// answer is the answer to one request, as far as it has come.
type answer struct {
	seq         uint32
	each        func(message) // may be nil
	interrupted bool
}

// take takes in a datagram, and reports whether it is the last, and then how the
// request ended.
func (a *answer) take(b []byte) (done bool, err error) {
	for {
		m, rest, ok := nextMessage(b)
		if !ok {
			return false, nil
		}
		b = rest
		if m.seq != a.seq {
			continue // of a request that was given up
		}
		a.interrupted = a.interrupted || m.flags&unix.NLM_F_DUMP_INTR != 0
		switch m.typ {
		case unix.NLMSG_ERROR, unix.NLMSG_DONE:
			switch errno := m.errno(); {
			case errno != 0:
				return true, errno
			case a.interrupted:
				return true, errInterrupted
			}
			return true, nil
		case unix.NLMSG_NOOP:
		default:
			if a.each != nil {
				a.each(m)
			}
		}
	}
}

// discard receives what a dump that was given up still has to say: the kernel
// begins no other before.
func (c *conn) discard() {
	for range 1 << 16 {
		_, _, err := unix.Recvfrom(c.fd, c.buf, unix.MSG_DONTWAIT)
		if err != nil && err != unix.EINTR {
			return
		}
	}
}

// fromKernel reports whether the kernel sent a message, not a process.
func fromKernel(from unix.Sockaddr) bool {
	a, ok := from.(*unix.SockaddrNetlink)
	return ok && a.Pid == 0
}
