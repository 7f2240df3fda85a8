// Package engine is the contract that the root package has with zctap's three
// engines, which are in its subfolders, and the conformance suite that holds
// all of them to it (enginetest).
//
// An engine makes sockets whose payload lands in one pool's region. What is
// received is handed over in a sockq queue, without a call through these
// interfaces; they are for what happens once a connection, and for sending.
package engine

import (
	"context"
	"net/netip"
	"time"

	"github.com/zctap/zctap/internal/buf"
	"github.com/zctap/zctap/internal/sockq"
)

// An Engine serves one interface queue.
type Engine interface {
	// Name is "zcrx", "user" or "copy".
	Name() string

	// Listen listens on network "tcp", "tcp4" or "tcp6". An invalid or
	// unspecified address means all of the engine's, port 0 a free port.
	// Errors: EADDRINUSE, EADDRNOTAVAIL, EAFNOSUPPORT, net.ErrClosed.
	Listen(network string, addr netip.AddrPort, backlog int) (Listener, error)

	// Dial connects; local may be invalid. It returns when connected or
	// refused, or with ctx's error.
	Dial(ctx context.Context, network string, local, remote netip.AddrPort) (Conn, error)

	// ListenPacket makes a UDP socket ("udp", "udp4", "udp6"), connected if
	// remote is valid.
	ListenPacket(network string, local, remote netip.AddrPort) (PacketConn, error)

	// Stats adds the engine's counters to s.
	Stats(s *Stats)

	// Close resets every connection, closes every socket and stops; afterwards
	// the engine holds no kernel reference. Views stay valid. It is idempotent.
	// Its error is what could not be given up. A failure that had ended the engine
	// before is none: all calls and the CQ have told it.
	Close() error
}

// A Conn is a stream. Its methods may be called from several goroutines.
type Conn interface {
	// Queue is where received payload is.
	Queue() *sockq.Queue

	// Write sends p; it copies p before it returns (zero-copy is promised for
	// receive only). It blocks for space, up to the write deadline, and returns
	// how much was taken. EPIPE after CloseWrite, net.ErrClosed after Close,
	// ECONNRESET after a reset.
	Write(p []byte) (int, error)
	SetWriteDeadline(t time.Time)

	// CloseWrite sends FIN after what was written. Receiving goes on.
	CloseWrite() error

	// Close gives up both directions: what was written is still sent, what was
	// not received is dropped, with a reset to the peer if there was any (RFC
	// 2525, 2.17). The Queue is closed by the caller first. Idempotent.
	Close() error

	// SetLinger as net.TCPConn: sec < 0 is the default, 0 makes Close reset.
	SetLinger(sec int) error
	SetNoDelay(on bool) error
	SetKeepAlive(on bool, idle time.Duration) error
	// SetUserTimeout ends the connection with ETIMEDOUT when written bytes were not
	// acknowledged for so long, or could not be sent (TCP_USER_TIMEOUT, the local half
	// of RFC 5482); 0 is the default. EINVAL if negative.
	SetUserTimeout(d time.Duration) error
	// SetTrafficClass sets the DSCP of what is sent, the upper six bits of tc; those of
	// ECN are TCP's own.
	SetTrafficClass(tc uint8) error

	LocalAddr() netip.AddrPort
	RemoteAddr() netip.AddrPort
}

// A Listener accepts streams.
type Listener interface {
	// Backlog is where complete connections are.
	Backlog() *sockq.Backlog[Conn]
	Addr() netip.AddrPort
	// Close stops listening and resets what was not accepted. The Backlog is
	// closed by the caller first. Idempotent.
	Close() error
}

// A PacketConn is a UDP socket.
type PacketConn interface {
	Queue() *sockq.Datagrams
	// WriteTo sends one datagram; to is ignored if the socket is connected.
	// EMSGSIZE if it does not fit, EDESTADDRREQ without a destination.
	WriteTo(p []byte, to netip.AddrPort) (int, error)
	SetWriteDeadline(t time.Time)
	// SetTrafficClass sets DSCP and ECN of what is sent.
	SetTrafficClass(tc uint8) error
	// SetReadBuffer sets the kernel's receive buffer, in bytes of its memory. EINVAL
	// under 1. Without meaning where the engine receives into the region at once.
	SetReadBuffer(bytes int) error
	// JoinGroup receives what is sent to group, an address of 224.0.0.0/4 or
	// ff00::/8, on the engine's interface. EADDRINUSE if joined already, ENOBUFS
	// for too many. LeaveGroup takes it back; EADDRNOTAVAIL if not joined.
	JoinGroup(group netip.Addr) error
	LeaveGroup(group netip.Addr) error
	LocalAddr() netip.AddrPort
	RemoteAddr() netip.AddrPort // invalid if not connected
	// Close gives the socket up. The Queue is closed by the caller first.
	Close() error
}

// Config is what every engine is made with.
type Config struct {
	Pool *buf.Pool
	CQ   *sockq.CQ // flushed by the engine once a batch
	// MaxHeld is the most buffers that one connection may keep from the others,
	// queued and in the application's hands: beyond it the connection's window
	// closes, or its data stays in the kernel. 0: half of what is free, which
	// adapts to how many connections want buffers.
	MaxHeld int
	// SendMemory bounds what all connections buffer to send together, in bytes, but
	// for 4 KiB of each; 0: 256 MiB. Engine user's; elsewhere the kernel has bounds of
	// its own.
	SendMemory int
	// Congestion is the congestion control of new connections: "cubic" or "reno"; "":
	// the engine's default, which is CUBIC in engine user and the system's in the
	// others. EINVAL for one that the engine does not have.
	Congestion string
	// ECN asks for explicit congestion notification (RFC 3168) when dialing. Who asks
	// us gets it in any case. Of engine user; the kernel's sockets have it as
	// net.ipv4.tcp_ecn says.
	ECN bool
	// HopLimit is the hop limit, TTL in IPv4, of what is sent; 0: 64. Of engine user; the
	// kernel's sockets have net.ipv4.ip_default_ttl.
	HopLimit uint8
}

// Stats are counters since the engine started, all but gauges only growing.
type Stats struct {
	// Payload bytes put into socket queues: left where the driver put them, or
	// copied by zctap.
	ZeroCopyBytes, CopiedBytes uint64
	// Bytes sent, copied once into transmit buffers.
	SentBytes uint64

	Frames   uint64 // frames (user), receive completions or calls (copy)
	Batches  uint64 // rounds of the engine's loop that received something
	Wakes    uint64 // times the engine was woken from its sleep
	Syscalls uint64 // system calls on the data path

	Conns  int // gauge: connections that the engine keeps state for
	Drops  map[string]uint64
	Events map[string]uint64 // other countable things: retransmissions, compactions...
}

// Drop adds n to the drops of one cause; zero adds no entry.
func (s *Stats) Drop(cause string, n uint64) {
	if n == 0 {
		return
	}
	if s.Drops == nil {
		s.Drops = map[string]uint64{}
	}
	s.Drops[cause] += n
}

// Event adds n to the events of one kind; zero adds no entry.
func (s *Stats) Event(kind string, n uint64) {
	if n == 0 {
		return
	}
	if s.Events == nil {
		s.Events = map[string]uint64{}
	}
	s.Events[kind] += n
}
