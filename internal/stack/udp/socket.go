package udp

import (
	"net/netip"

	"github.com/zctap/zctap/internal/buf"
	"github.com/zctap/zctap/internal/sockq"
	"github.com/zctap/zctap/internal/wire"
)

// Bounds of what waits in one socket, beside that of its buffers: of all datagrams,
// since many that came in one frame share buffers, and of the empty ones, which hold
// none.
const (
	maxQueued = 32768
	maxEmpty  = 4096
)

// A Socket is one UDP socket. All but Queue and Send belongs to the engine's
// goroutine.
type Socket struct {
	// Queue is what was received.
	Queue *sockq.Datagrams
	// Send is what is to be sent.
	Send *SendQueue
	// Local is the socket's own end; its address is unspecified if it receives
	// on all of a version's. Remote is invalid unless the socket is connected.
	Local, Remote netip.AddrPort
	// Keys are what the stack finds the socket by.
	Keys []wire.Tuple
	// Groups are the multicast groups that were joined.
	Groups []netip.Addr
	// Sending: the stack has listed the socket as one with datagrams to send.
	Sending bool
	// Owner is whatever the engine keeps with the socket.
	Owner any

	shared  *Shared
	account *buf.Account // apart, since buffers remember it for long

	// limit is how many buffers the socket may hold in this batch, and queued
	// how many datagrams it was given in it. Both begin with the first one.
	limit, queued int
	touched       bool
}

// Shared is what all sockets of a stack have in common.
type Shared struct {
	Pool *buf.Pool
	// MaxHeld is the most buffers that one socket may hold, queued or in the
	// application's hands. 0: as many as are free, which leaves the other half
	// to the others.
	MaxHeld int
	// Wakes is who is to be woken, by the engine; nil: all at once.
	Wakes *sockq.Wakes
	// Epoch is the time of mono.Time 0, in nanoseconds since 1970: the engine
	// sets it, for time stamps.
	Epoch int64
	// Stats counts for all of them.
	Stats Stats
}

// Stats are counters of received datagrams.
type Stats struct {
	Datagrams     uint64 // queued
	Merged        uint64 // frames that several datagrams came in
	ZeroCopyBytes uint64 // their payload, left where the driver put it
	CopiedBytes   uint64 // their payload that had to be copied
}

// NewSocket makes a socket. See Socket for local and remote.
func NewSocket(sh *Shared, local, remote netip.AddrPort) *Socket {
	return &Socket{
		Queue: sockq.NewDatagrams(sh.Pool),
		Send:  newSendQueue(),
		Local: local, Remote: remote,
		shared: sh, account: new(buf.Account),
	}
}

// Input queues what came in one frame, whose references it takes over: a datagram,
// or those of segment bytes each, the last perhaps shorter, that somebody has put
// together (segment > 0). Or it reports that the socket is full: then the references
// stay the caller's. The application sees it after Publish. first says that the
// socket was not touched since the last Publish.
func (s *Socket) Input(m sockq.Message, frags []buf.Frag, segment int) (ok, first bool) {
	first = !s.touched
	if first {
		s.touch()
	}
	n := 1
	if segment > 0 {
		n = Datagrams(m.Len, segment)
	}
	if s.queued+n > maxQueued || len(frags) == 0 && s.queued >= maxEmpty || s.account.Held()+len(frags) > s.limit {
		return false, first
	}
	stats := &s.shared.Stats
	s.shared.Pool.ChargeFrags(frags, s.account)
	for _, f := range frags {
		if f.Copied() {
			stats.CopiedBytes += uint64(f.Len())
		} else {
			stats.ZeroCopyBytes += uint64(f.Len())
		}
	}
	if n > 1 {
		// All that m says there is has come, so that nothing is lost.
		s.Queue.PushSegments(m, frags, segment)
		stats.Merged++
	} else {
		s.Queue.Push(m, frags)
	}
	s.queued += n
	stats.Datagrams += uint64(n)
	return true, first
}

// Datagrams is how many datagrams of size bytes n bytes are.
func Datagrams(n, size int) int { return max((n+size-1)/size, 1) }

// touch begins a batch.
func (s *Socket) touch() {
	s.touched = true
	// Dynamic thresholds (Choudhury and Hahne 1998): a queue may hold as much as
	// is free, so that one slow reader leaves half to the others.
	s.limit = s.shared.Pool.Free()
	if s.shared.MaxHeld > 0 {
		s.limit = min(s.limit, s.shared.MaxHeld)
	}
	s.queued = s.Queue.Len()
}

// Publish shows the application what was queued since the last call.
func (s *Socket) Publish() {
	s.touched = false
	s.Queue.PublishTo(s.shared.Wakes)
}

// Held is the number of buffers that the socket and the application's views of
// its datagrams keep.
func (s *Socket) Held() int { return s.account.Held() }
