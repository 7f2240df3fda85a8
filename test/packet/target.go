package packet

import (
	"errors"
	"io"
	"net"
	"net/netip"
	"syscall"
	"time"
)

// Names of the targets, as scripts and messages have them.
const (
	Linux = "linux"
	Zctap = "zctap"
)

// A Target is an IP stack with one interface, whose wire and socket API are in the
// Runner's hands. Its clock begins with 0. One goroutine uses it.
type Target interface {
	// Name is Linux or Zctap.
	Name() string
	// Slack is how far from its time a packet may seem to come though nothing is
	// wrong.
	Slack() (early, late time.Duration)
	// Now is the time.
	Now() time.Duration
	// Sleep lets the stack work until then.
	Sleep(until time.Duration) error
	// Inject hands the stack a packet, from the IP header on, and has it processed.
	Inject(packet []byte) error
	// Next is the next packet that the stack has sent, or sends by then; nil if
	// there is none. Its bytes are the caller's.
	Next(until time.Duration) (*Sent, error)

	// Listen, Connect and OpenUDP make sockets, which block nobody: what would is
	// EAGAIN. remote may be invalid for OpenUDP.
	Listen(local netip.AddrPort) (Listener, error)
	Connect(local, remote netip.AddrPort) (Conn, error)
	OpenUDP(local, remote netip.AddrPort) (Datagrams, error)

	// Close ends the stack. An error is a leak.
	Close() error
}

// Sent is a packet of the stack's.
type Sent struct {
	At  time.Duration
	Raw []byte // from the IP header on
}

// A Socket is what all sockets are.
type Socket interface {
	// Set sets an option that parseOption knows; ENOTSUP if the target has none such.
	Set(name, value string) error
	Close() error
}

// A Listener is a listening TCP socket.
type Listener interface {
	Socket
	Accept() (Conn, error)
}

// A Conn is a TCP connection.
type Conn interface {
	Socket
	// Connected tells how Connect came out: EAGAIN if it has not yet.
	Connected() error
	Send(p []byte) (int, error)
	// Recv is like io.Reader's Read, but for EAGAIN.
	Recv(p []byte) (int, error)
	Shutdown() error // no more is sent
	Abort() error    // closes with a RST
}

// A stater is a Conn that tells its state by its name in RFC 9293.
type stater interface{ State() (string, error) }

// Datagrams is a UDP socket.
type Datagrams interface {
	Socket
	// Send sends to addr, which is ignored by one that is connected.
	Send(p []byte, addr netip.AddrPort) (int, error)
	// Recv takes one datagram.
	Recv(p []byte) (int, netip.AddrPort, error)
	// ECN is the two bits of the datagram that Recv took last.
	ECN() uint8
	// Join makes it receive what is sent to a multicast group; Leave takes that back.
	Join(group netip.Addr) error
	Leave(group netip.Addr) error
}

// A world is the addresses of a run.
type world struct {
	stack, peer netip.Addr
	bits        int // of the network that both are in
}

var worlds = map[int]world{
	4: {netip.MustParseAddr("192.0.2.1"), netip.MustParseAddr("192.0.2.2"), 24},
	6: {netip.MustParseAddr("2001:db8::1"), netip.MustParseAddr("2001:db8::2"), 64},
}

// word is how a script calls an error.
func word(err error) string {
	var errno syscall.Errno
	switch {
	case err == nil:
		return "ok"
	case errors.Is(err, io.EOF):
		return "EOF"
	case errors.Is(err, net.ErrClosed):
		return "closed"
	case errors.As(err, &errno):
		if s, ok := errnos[errno]; ok {
			return s
		}
	}
	return "error"
}

var errnos = map[syscall.Errno]string{
	syscall.EAGAIN: "EAGAIN", syscall.EPIPE: "EPIPE", syscall.ENOTCONN: "ENOTCONN",
	syscall.ECONNRESET: "ECONNRESET", syscall.ECONNREFUSED: "ECONNREFUSED",
	syscall.ETIMEDOUT: "ETIMEDOUT", syscall.EHOSTUNREACH: "EHOSTUNREACH", syscall.EACCES: "EACCES",
	syscall.ENETUNREACH: "ENETUNREACH", syscall.EADDRINUSE: "EADDRINUSE",
	syscall.EINPROGRESS: "EINPROGRESS", syscall.EMSGSIZE: "EMSGSIZE",
	syscall.EINVAL: "EINVAL", syscall.ENOTSUP: "ENOTSUP", syscall.ECONNABORTED: "ECONNABORTED",
	syscall.EADDRNOTAVAIL: "EADDRNOTAVAIL", syscall.EBADMSG: "EBADMSG",
}
