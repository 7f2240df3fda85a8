//go:build linux

package vfiousertest

import (
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"net"
	"sync"
	"time"

	"golang.org/x/sys/unix"
)

var le = binary.LittleEndian

// replyTimeout bounds how long a Client waits for a reply: a server that does
// not answer fails the test instead of hanging it.
const replyTimeout = 10 * time.Second

// maxReply bounds what a Client takes for the length of a reply, in bytes.
const maxReply = 1 << 24

// A Client is one connection to a vfio-user server. Its methods may be called
// by several goroutines; commands go one at a time.
type Client struct {
	conn *net.UnixConn

	mu      sync.Mutex
	id      uint16
	memory  []*Memory
	vectors []int // eventfds by vector
}

// NewClient makes a client of conn, and owns it from here on. It sends nothing:
// see Negotiate.
func NewClient(conn *net.UnixConn) *Client { return &Client{conn: conn} }

// Dial connects to the server that listens at path and negotiates.
func Dial(path string) (*Client, error) {
	conn, err := net.DialUnix("unix", nil, &net.UnixAddr{Name: path, Net: "unix"})
	if err != nil {
		return nil, fmt.Errorf("vfiousertest: %w", err)
	}
	c := NewClient(conn)
	if _, err := c.Negotiate(); err != nil {
		return nil, errors.Join(err, c.Close())
	}
	return c, nil
}

// Close disconnects, closes the eventfds and unmaps the memory; what Map gave
// must not be touched any more.
func (c *Client) Close() error {
	c.mu.Lock()
	defer c.mu.Unlock()
	err := c.conn.Close()
	if errors.Is(err, net.ErrClosed) {
		err = nil
	}
	c.closeVectors()
	for _, m := range c.memory {
		err = errors.Join(err, m.release())
	}
	c.memory = nil
	return err
}

// Do sends a command and returns the body of its reply. The descriptors stay
// the caller's. An error reply is returned as its unix.Errno, wrapped.
func (c *Client) Do(cmd uint16, body []byte, fds ...int) ([]byte, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.do(cmd, body, fds...)
}

func (c *Client) do(cmd uint16, body []byte, fds ...int) ([]byte, error) {
	c.id++
	if err := c.Send(Message(c.id, cmd, 0, body), fds...); err != nil {
		return nil, err
	}
	r, err := c.Receive()
	if err == nil && (r.ID != c.id || r.Cmd != cmd) {
		err = fmt.Errorf("the reply is to command %d, id %d instead of id %d", r.Cmd, r.ID, c.id)
	}
	if err == nil && r.Errno != 0 {
		err = r.Errno
	}
	if err != nil {
		return nil, fmt.Errorf("vfiousertest: command %d: %w", cmd, err)
	}
	return r.Body, nil
}

// Message encodes a message: what Send sends.
func Message(id, cmd uint16, flags uint32, body []byte) []byte {
	b := make([]byte, headerLen, headerLen+len(body))
	le.PutUint16(b, id)
	le.PutUint16(b[2:], cmd)
	le.PutUint32(b[4:], uint32(headerLen+len(body)))
	le.PutUint32(b[8:], flags)
	return append(b, body...)
}

// Send sends bytes, right or wrong, with descriptors, which stay the caller's.
func (c *Client) Send(raw []byte, fds ...int) error {
	if err := c.conn.SetWriteDeadline(time.Now().Add(replyTimeout)); err != nil {
		return fmt.Errorf("vfiousertest: %w", err)
	}
	var oob []byte
	if len(fds) > 0 {
		oob = unix.UnixRights(fds...)
	}
	n, _, err := c.conn.WriteMsgUnix(raw, oob, nil)
	if err == nil && n < len(raw) { // as much as the socket's buffer took
		_, err = c.conn.Write(raw[n:])
	}
	if err != nil {
		return fmt.Errorf("vfiousertest: send: %w", err)
	}
	return nil
}

// A Reply is what a server answers: with a body, or with an errno.
type Reply struct {
	ID, Cmd uint16
	Errno   unix.Errno
	Body    []byte
}

// Receive waits for one reply. At the connection's end the error is io.EOF.
func (c *Client) Receive() (Reply, error) {
	if err := c.conn.SetReadDeadline(time.Now().Add(replyTimeout)); err != nil {
		return Reply{}, err
	}
	var h [headerLen]byte
	if _, err := io.ReadFull(c.conn, h[:]); err != nil {
		return Reply{}, err
	}
	r := Reply{ID: le.Uint16(h[:]), Cmd: le.Uint16(h[2:])}
	size, flags, errno := le.Uint32(h[4:]), le.Uint32(h[8:]), le.Uint32(h[12:])
	isError := flags&flagError != 0
	switch {
	case size < headerLen || size > maxReply || flags&^flagError != flagReply,
		isError && (size > headerLen || errno == 0), !isError && errno != 0:
		return Reply{}, fmt.Errorf("vfiousertest: a reply with header %x", h)
	}
	r.Errno = unix.Errno(errno)
	r.Body = make([]byte, size-headerLen)
	if _, err := io.ReadFull(c.conn, r.Body); err != nil {
		return Reply{}, err
	}
	return r, nil
}
