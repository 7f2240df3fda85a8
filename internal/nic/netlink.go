//go:build linux

package nic

import (
	"encoding/binary"
	"errors"
	"fmt"
	"time"

	"golang.org/x/sys/unix"
)

// answerTimeout is how long the kernel may take over one request: some drivers
// set up all queues anew to change one setting.
const answerTimeout = 30 * time.Second

// maxAnswer bounds what one request may be answered: a dump of more is not of
// an interface that exists.
const maxAnswer = 16 << 20

// conn is a netlink socket with one request under way at a time. It stays in
// the network namespace it was opened in.
type conn struct {
	fd       int
	seq      uint32
	families map[string]uint16 // generic netlink families by name
}

func dialNetlink(proto int) (*conn, error) {
	fd, err := unix.Socket(unix.AF_NETLINK, unix.SOCK_RAW|unix.SOCK_CLOEXEC, proto)
	if err != nil {
		return nil, fmt.Errorf("netlink socket: %w", err)
	}
	c := &conn{fd: fd, families: make(map[string]uint16)}
	err = errors.Join(
		unix.Bind(fd, &unix.SockaddrNetlink{Family: unix.AF_NETLINK}),
		// The kernel's own words, without our request repeated.
		unix.SetsockoptInt(fd, unix.SOL_NETLINK, unix.NETLINK_EXT_ACK, 1),
		unix.SetsockoptInt(fd, unix.SOL_NETLINK, unix.NETLINK_CAP_ACK, 1),
		unix.SetsockoptTimeval(fd, unix.SOL_SOCKET, unix.SO_RCVTIMEO, &unix.Timeval{Sec: 1}),
	)
	if err != nil {
		unix.Close(fd)
		return nil, fmt.Errorf("netlink socket: %w", err)
	}
	return c, nil
}

func (c *conn) close() error { return unix.Close(c.fd) }

// kernelError is an errno with the message that came with it.
type kernelError struct {
	errno unix.Errno
	msg   string
}

func (e *kernelError) Error() string { return fmt.Sprintf("%s (%v)", e.msg, e.errno) }
func (e *kernelError) Unwrap() error { return e.errno }

// do sends a request and returns the payloads of the answers.
func (c *conn) do(typ, flags uint16, body []byte) ([][]byte, error) {
	for range 10 {
		answers, err := c.once(typ, flags, body)
		if !errors.Is(err, unix.EINTR) { // a dump that things changed under
			return answers, err
		}
	}
	return nil, fmt.Errorf("a dump that is interrupted again and again: %w", unix.EAGAIN)
}

func (c *conn) once(typ, flags uint16, body []byte) ([][]byte, error) {
	c.seq++
	req := make([]byte, 0, unix.SizeofNlMsghdr+len(body))
	req = binary.NativeEndian.AppendUint32(req, uint32(unix.SizeofNlMsghdr+len(body)))
	req = binary.NativeEndian.AppendUint16(req, typ)
	req = binary.NativeEndian.AppendUint16(req, flags|unix.NLM_F_REQUEST|unix.NLM_F_ACK)
	req = binary.NativeEndian.AppendUint32(req, c.seq)
	req = binary.NativeEndian.AppendUint32(req, 0)
	req = append(req, body...)
	if err := unix.Sendto(c.fd, req, 0, &unix.SockaddrNetlink{Family: unix.AF_NETLINK}); err != nil {
		return nil, fmt.Errorf("netlink send: %w", err)
	}
	var answers [][]byte
	total := 0
	for deadline := time.Now().Add(answerTimeout); ; {
		b, err := c.receive(deadline)
		if err != nil {
			return nil, err
		}
		if total += len(b); total > maxAnswer {
			return nil, fmt.Errorf("netlink answer of more than %d bytes: %w", maxAnswer, unix.EMSGSIZE)
		}
		var end bool
		if answers, end, err = c.scan(b, answers); end || err != nil {
			return answers, err
		}
	}
}

// receive returns one datagram of the kernel's.
func (c *conn) receive(deadline time.Time) ([]byte, error) {
	for {
		n, _, err := unix.Recvfrom(c.fd, nil, unix.MSG_PEEK|unix.MSG_TRUNC)
		if err == nil {
			b := make([]byte, n)
			var from unix.Sockaddr
			n, from, err = unix.Recvfrom(c.fd, b, 0)
			if err == nil {
				if a, ok := from.(*unix.SockaddrNetlink); !ok || a.Pid != 0 {
					continue // not the kernel
				}
				return b[:n], nil
			}
		}
		switch {
		case time.Now().After(deadline):
			return nil, fmt.Errorf("netlink: no answer in %v: %w", answerTimeout, unix.ETIMEDOUT)
		case err == unix.EINTR || err == unix.EAGAIN:
		default:
			return nil, fmt.Errorf("netlink receive: %w", err)
		}
	}
}

// scan takes the messages of a datagram; end is set at the last of an answer.
func (c *conn) scan(b []byte, answers [][]byte) (_ [][]byte, end bool, err error) {
	interrupted := false
	for len(b) >= unix.SizeofNlMsghdr {
		n := int(binary.NativeEndian.Uint32(b))
		if n < unix.SizeofNlMsghdr || n > len(b) {
			return nil, true, fmt.Errorf("netlink message of %d bytes in %d: %w", n, len(b), unix.EBADMSG)
		}
		typ, flags := binary.NativeEndian.Uint16(b[4:]), binary.NativeEndian.Uint16(b[6:])
		seq, payload := binary.NativeEndian.Uint32(b[8:]), b[unix.SizeofNlMsghdr:n]
		b = b[min(len(b), (n+unix.NLMSG_ALIGNTO-1)&^(unix.NLMSG_ALIGNTO-1)):]
		if seq != c.seq {
			continue // of a request that was given up
		}
		interrupted = interrupted || flags&unix.NLM_F_DUMP_INTR != 0
		switch typ {
		case unix.NLMSG_ERROR, unix.NLMSG_DONE:
			if err := status(typ, flags, payload); err != nil {
				return nil, true, err
			}
			if interrupted {
				return nil, true, unix.EINTR
			}
			return answers, true, nil
		case unix.NLMSG_NOOP:
		default:
			answers = append(answers, payload)
		}
	}
	return answers, false, nil
}

// status is the error in an acknowledgement, or at the end of a dump. Both begin
// with a negative errno; then come, in an acknowledgement, the request's header
// and, if flags say so, attributes.
func status(typ, flags uint16, payload []byte) error {
	if len(payload) < 4 {
		if typ == unix.NLMSG_DONE {
			return nil
		}
		return fmt.Errorf("netlink acknowledgement of %d bytes: %w", len(payload), unix.EBADMSG)
	}
	code := int32(binary.NativeEndian.Uint32(payload))
	if code >= 0 {
		return nil
	}
	errno, rest := unix.Errno(-code), payload[4:]
	if typ == unix.NLMSG_ERROR {
		rest = rest[min(len(rest), unix.SizeofNlMsghdr):]
	}
	if flags&unix.NLM_F_ACK_TLVS != 0 {
		list, _ := parseAttrs(rest)
		for _, a := range list {
			if a.typ == unix.NLMSGERR_ATTR_MSG {
				return &kernelError{errno, a.text()}
			}
		}
	}
	return errno
}

// family returns the id of a generic netlink family.
func (c *conn) family(name string) (uint16, error) {
	if id, ok := c.families[name]; ok {
		return id, nil
	}
	var a attrs
	a.text(unix.CTRL_ATTR_FAMILY_NAME, name)
	answers, err := c.genl(unix.GENL_ID_CTRL, unix.CTRL_CMD_GETFAMILY, 0, a)
	if err != nil {
		if errors.Is(err, unix.ENOENT) {
			err = unix.EOPNOTSUPP // a kernel without it
		}
		return 0, fmt.Errorf("netlink family %s: %w", name, err)
	}
	for _, answer := range answers {
		for _, a := range answer {
			if a.typ == unix.CTRL_ATTR_FAMILY_ID {
				c.families[name] = uint16(a.num())
				return c.families[name], nil
			}
		}
	}
	return 0, fmt.Errorf("netlink family %s: no id in the answer: %w", name, unix.EBADMSG)
}

// genl sends a request of a generic netlink family (struct genlmsghdr) and
// returns the attributes of each answer.
func (c *conn) genl(family uint16, cmd uint8, flags uint16, a attrs) ([][]attr, error) {
	answers, err := c.do(family, flags, append([]byte{cmd, 1, 0, 0}, a...))
	if err != nil {
		return nil, err
	}
	lists := make([][]attr, 0, len(answers))
	for _, answer := range answers {
		list, err := parseAttrs(answer[min(len(answer), 4):])
		if err != nil {
			return nil, err
		}
		lists = append(lists, list)
	}
	return lists, nil
}
