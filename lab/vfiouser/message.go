//go:build linux

package vfiouser

import (
	"errors"
	"fmt"
	"io"
	"net"
	"slices"

	"golang.org/x/sys/unix"
)

// A message is one command of the client's.
type message struct {
	id, cmd uint16
	noReply bool
	body    []byte // valid until the next message is received
	fds     []int  // ours to close, but for those taken
}

// takeFD hands descriptor i over to the caller.
func (m *message) takeFD(i int) int {
	fd := m.fds[i]
	m.fds[i] = -1
	return fd
}

// closeFDs closes the descriptors that nobody took.
func (m *message) closeFDs() {
	for _, fd := range m.fds {
		if fd >= 0 {
			unix.Close(fd)
		}
	}
	m.fds = nil
}

// A stream reads messages from a connection and writes replies to it. Its
// buffers are used again and again.
type stream struct {
	conn   *net.UnixConn
	header [headerLen]byte
	oob    [64 + 4*maxFDs]byte
	body   []byte
	reply  []byte
}

// receive waits for one message. Its error wraps io.EOF if the client has closed
// the connection between two messages. The caller closes the message's
// descriptors also if there is an error.
//
// A descriptor comes with the message's first bytes; one with later bytes is
// closed by the kernel, for the reads of those don't ask for any.
func (s *stream) receive() (m message, err error) {
	// Room for exactly maxFDs: the kernel closes those that don't fit.
	oob := s.oob[:unix.CmsgSpace(4*maxFDs)]
	n, oobn, flags, _, err := s.conn.ReadMsgUnix(s.header[:], oob)
	m.fds = descriptors(oob[:oobn])
	if err != nil {
		return m, err
	}
	if flags&unix.MSG_CTRUNC != 0 {
		return m, violation(unix.EMSGSIZE, "more than %d descriptors in a message", maxFDs)
	}
	if _, err := io.ReadFull(s.conn, s.header[n:]); err != nil {
		return m, midMessage(err)
	}
	h := s.header[:]
	m.id, m.cmd = ne.Uint16(h), ne.Uint16(h[2:])
	size, hflags := ne.Uint32(h[4:]), ne.Uint32(h[8:])
	m.noReply = hflags&flagNoReply != 0
	if t := hflags & typeMask; t != typeCommand {
		m.noReply = true
		return m, violation(unix.EINVAL, "a message of type %d, not a command", t)
	}
	if size < headerLen || size > maxMessage {
		return m, violation(unix.EMSGSIZE, "a message of %d bytes (%d to %d are allowed)", size, headerLen, maxMessage)
	}
	n = int(size - headerLen)
	s.body = slices.Grow(s.body[:0], n)[:n]
	m.body = s.body
	if _, err := io.ReadFull(s.conn, m.body); err != nil {
		return m, midMessage(err)
	}
	return m, nil
}

// midMessage words the end of a connection where a message is not complete.
func midMessage(err error) error {
	if errors.Is(err, io.EOF) {
		err = io.ErrUnexpectedEOF
	}
	return fmt.Errorf("vfiouser: in the middle of a message: %w", err)
}

// descriptors returns what came with a message (SCM_RIGHTS).
func descriptors(oob []byte) []int {
	if len(oob) == 0 {
		return nil
	}
	messages, err := unix.ParseSocketControlMessage(oob)
	if err != nil {
		return nil // the kernel wrote it: it does not happen
	}
	var fds []int
	for i := range messages {
		if some, err := unix.ParseUnixRights(&messages[i]); err == nil {
			fds = append(fds, some...)
		}
	}
	return fds
}

// startReply returns a buffer for a reply with a body of n bytes, which are 0.
func (s *stream) startReply(n int) (body []byte) {
	s.reply = slices.Grow(s.reply[:0], headerLen+n)[:headerLen+n]
	clear(s.reply)
	return s.reply[headerLen:]
}

// sendReply sends what startReply has given, or an error.
//
// It is one write: QEMU takes a header that it gets in two reads for an error.
func (s *stream) sendReply(m *message, err error) error {
	flags, errno := uint32(typeReply), uint32(0)
	if err != nil {
		s.startReply(0) // "the reply message must only include the reply header"
		flags, errno = typeReply|flagError, uint32(errnoOf(err))
	}
	h := s.reply
	ne.PutUint16(h, m.id)
	ne.PutUint16(h[2:], m.cmd)
	ne.PutUint32(h[4:], uint32(len(h)))
	ne.PutUint32(h[8:], flags)
	ne.PutUint32(h[12:], errno)
	if _, err := s.conn.Write(h); err != nil {
		return fmt.Errorf("vfiouser: sending a reply: %w", err)
	}
	return nil
}
