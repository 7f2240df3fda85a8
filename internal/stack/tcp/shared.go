package tcp

import (
	"net/netip"
	"time"

	"github.com/zctap/zctap/internal/buf"
	"github.com/zctap/zctap/internal/sockq"
	"github.com/zctap/zctap/internal/stack/ip"
	"github.com/zctap/zctap/internal/wire"
)

// Defaults of Config.
const (
	DefaultRecvWindow  = 4 << 20
	DefaultSendSpace   = 1 << 20
	DefaultSendMemory  = 256 << 20
	DefaultMaxSuper    = 60 << 10
	DefaultMaxTimeWait = 16384
	DefaultTimeWait    = 60 * time.Second
	DefaultUserTimeout = 5 * time.Minute // RFC 9293 section 3.9.1.1, OPEN
)

// maxWindow is the largest window that can be expressed (RFC 7323 section 2.3).
const maxWindow = (1<<16 - 1) << wire.MaxWindowScale

// A Transmit function sends a segment; see Config.
type Transmit func(src, dst netip.Addr, h *wire.TCP, payload [2][]byte, mss int)

// Config is what the connections of a stack have in common.
type Config struct {
	// Pool has the buffers that payload arrives in.
	Pool *buf.Pool

	// Transmit sends a segment, or, with more payload than mss, a
	// super-segment to be cut into segments of mss payload bytes of which the
	// last alone has h's FIN and PSH. h is Transmit's only until it returns. The
	// payload stays unchanged until the connections have put out all that they
	// have for this round (ip.Tx.Flush comes right then). It is ip.Tx's TCP
	// method; a function, so that a test can be the wire.
	Transmit Transmit
	// TransmitECT is Transmit for packets that are to carry ECT(0) (RFC 3168 section
	// 5); nil: ECN is not negotiated.
	TransmitECT Transmit
	// TransmitClass is Transmit for packets with a traffic class, DSCP and ECN; nil: Conn.SetDSCP
	// has no effect.
	TransmitClass func(class uint8, src, dst netip.Addr, h *wire.TCP, payload [2][]byte, mss int)
	// Acks sends ACKs, of which a receiver sends one for each burst; nil: they take the way of the others.
	Acks *ip.Tx
	// ECN asks for ECN when we dial. Who asks us gets it in any case.
	ECN bool

	// Confirm, if not nil, is told of forward progress, about once a second for each
	// connection that makes some: what is sent to peer arrives (RFC 4861 section
	// 7.3.1). It must not block.
	Confirm func(peer netip.Addr)

	// Wakes, if not nil, gathers the wakes of those who block on a connection's
	// Recv, for the caller to wake; nil: they are woken at once.
	Wakes *sockq.Wakes

	// Hasher has the secret of initial sequence numbers and timestamps.
	Hasher wire.Hasher

	// FrameRoom is how many bytes of a packet one buffer takes, headers included,
	// if each packet begins in a buffer of its own; 0: payload fills buffers.
	FrameRoom int
	// Posted is how many buffers lie ready to receive into that the pool does not
	// count as free.
	Posted int

	// MaxHeld is the most buffers that one connection may keep from the others,
	// 0: no bound but the share of what is free (see window.go).
	MaxHeld int
	// MaxRecvWindow is the largest window to offer, in bytes, at most as large
	// as the region; 0: DefaultRecvWindow.
	MaxRecvWindow int
	// SendSpace bounds what a connection buffers to send, in bytes; 0:
	// DefaultSendSpace.
	SendSpace int
	// SendMemory bounds what all connections buffer to send together, in bytes, but
	// for 4 KiB of each; 0: DefaultSendMemory.
	SendMemory int
	// MaxSuper is the most payload bytes that one call of Transmit takes; 0:
	// DefaultMaxSuper.
	MaxSuper int
	// Congestion is the congestion control of new connections; 0: Cubic.
	Congestion Congestion
	// TimeWait is how long a connection stays in TIME-WAIT: 2 MSL; 0:
	// DefaultTimeWait.
	TimeWait time.Duration
	// MaxTimeWait is the most connections in TIME-WAIT, which the caller sees to; 0:
	// DefaultMaxTimeWait.
	MaxTimeWait int
	// UserTimeout is how long to retransmit without an answer before the
	// connection is given up with ETIMEDOUT; 0: DefaultUserTimeout. See
	// Conn.SetUserTimeout.
	UserTimeout time.Duration
}

// Shared is the common state of a stack's connections. Engine goroutine only.
type Shared struct {
	Config
	Stats Stats
	// Recovery counts what loss recovery did, beside Stats.
	Recovery RecoveryStats

	reserve    int // buffers that no window promises; see window.go
	shortBelow int // buffers: if fewer are free they are short
	sendMemory *sendMemory
	paths      pathCache

	dirty       dirtyList
	conns       int       // connections but for those in TIME-WAIT
	timeWaits   int       // connections in TIME-WAIT
	constrained []*Conn   // offer less window than they might; see window.go
	checkNext   int       // index there of the one that was looked at last
	spareLists  [][]held  // reassembly lists that no connection needs now
	spareBoards []*txList // scoreboards that no connection needs now

	spareReports []*[maxReported]heldRange // ranges that no connection needs now

	header wire.TCP  // scratch of the segment being sent
	ack    ackInfo   // scratch of congestion control
	one    [1]uint16 // scratch of Pool.Alloc
}

// NewShared makes the common state; zero fields of c get their defaults.
func NewShared(c Config) *Shared {
	setDefault(&c.MaxRecvWindow, DefaultRecvWindow)
	c.MaxRecvWindow = min(c.MaxRecvWindow, maxWindow, c.Pool.Region().Count()*c.Pool.Region().BufferSize())
	setDefault(&c.SendSpace, DefaultSendSpace)
	setDefault(&c.SendMemory, DefaultSendMemory)
	setDefault(&c.MaxSuper, DefaultMaxSuper)
	setDefault(&c.MaxTimeWait, DefaultMaxTimeWait)
	setDefault(&c.TimeWait, DefaultTimeWait)
	setDefault(&c.UserTimeout, DefaultUserTimeout)
	reserve := c.Pool.Region().Count() / 8
	return &Shared{
		Config:     c,
		sendMemory: &sendMemory{limit: int64(c.SendMemory)},
		reserve:    reserve,
		shortBelow: reserve - min(c.Posted, reserve/2),
	}
}

// SendWaits is how often a writer had to wait for Config.SendMemory. Any goroutine.
func (sh *Shared) SendWaits() uint64 { return sh.sendMemory.waits.Load() }

func setDefault[T int | time.Duration](v *T, d T) {
	if *v == 0 {
		*v = d
	}
}

// A Segment is a received TCP segment, or super-segment, with its checksum
// verified.
type Segment struct {
	// TCP is the header; the caller's, read until Input returns.
	TCP *wire.TCP
	// Frags is the payload and nothing else, each frag with one kernel
	// reference that Input takes over. The slice itself stays the caller's; its
	// elements mean nothing after Input.
	Frags []buf.Frag
	// Len is the payload's length: of all frags together, in bytes.
	Len int
	// ECN is the congestion codepoint of the packet that it came in.
	ECN wire.ECN
	// Count is how many segments of equal length the caller has put together, as far
	// as Conn.Mergeable allows; 0 and 1: it is one. TCP is the header of the first,
	// with PSH if any of them had it.
	Count int
}

// count is how many segments it stands for.
func (s *Segment) count() int { return max(s.Count, 1) }

// last is where the last one begins, if the first does at seq.
func (s *Segment) last(seq wire.Seq) wire.Seq {
	if s.Count <= 1 {
		return seq
	}
	return seq.Add(uint32(s.Len - s.Len/s.Count))
}
