package sim

import (
	"cmp"
	"errors"
	"fmt"
	"net/netip"
	"time"

	"github.com/zctap/zctap/internal/buf"
	"github.com/zctap/zctap/internal/driver"
	"github.com/zctap/zctap/internal/driver/mem"
	"github.com/zctap/zctap/internal/mono"
	"github.com/zctap/zctap/internal/stack"
	"github.com/zctap/zctap/internal/stack/tcp"
)

// patience is the user timeout of simulated connections: long enough that bad luck
// on a bad wire does not end one.
const patience = 24 * time.Hour

// Settings are what a Local host is made with.
type Settings struct {
	Buffers   int // of 4 KiB, in its pool
	MaxHeld   int // stack.Config's
	Window    int // the largest receive window, bytes; 0: the stack's default
	SendSpace int // bytes; 0: the stack's default
	MTU       int // 0: 1500
	GSO       bool
	Ethernet  bool // a link header, and headers in one buffer with their payload
	Nagle     bool
	Patience  time.Duration // the user timeout; 0: patience
	Seed      uint64
	Prefixes  []netip.Prefix
}

// Wire is the mem.Config of a host's device.
func (s *Settings) Wire(p *buf.Pool) mem.Config {
	c := mem.Config{Pool: p, MTU: s.MTU, Offload: mem.Plain}
	if s.GSO {
		c.Offload, c.MaxGSO = mem.Completed, 65535
	}
	if s.Ethernet {
		c.LinkHeader, c.NoSplit = 14, true
	}
	return c
}

// Local is a host with our stack.
type Local struct {
	now   mono.Time // of the last round
	Stack *stack.Stack
	Pool  *buf.Pool

	wire      driver.Driver
	batch     *driver.Batch
	sent      uint64 // frames, at the last round
	listeners []*stack.Listener
	nagle     bool
	lent      int // views in the hands of applications
}

var _ Host = (*Local)(nil)

// NewLocal makes a host on d, which receives into p. Both are the host's from
// here on.
func NewLocal(s Settings, p *buf.Pool, d driver.Driver) (*Local, error) {
	h := &Local{Pool: p, wire: d, batch: driver.NewBatch(32, 1024), nagle: s.Nagle}
	var err error
	h.Stack, err = stack.New(stack.Config{
		Pool: p, Driver: d, Prefixes: s.Prefixes, MaxHeld: s.MaxHeld,
		MaxRecvWindow: s.Window, SendSpace: s.SendSpace, UserTimeout: cmp.Or(s.Patience, patience),
		Seed: [32]byte{byte(s.Seed), byte(s.Seed >> 8), byte(s.Seed >> 16), byte(s.Seed >> 24)},
	})
	return h, err
}

// Round is a Host's.
func (h *Local) Round(now mono.Time) (bool, error) {
	h.now = now
	if err := h.wire.Poll(now, h.batch); err != nil {
		return false, err
	}
	h.Stack.Deliver(now, h.batch)
	h.Stack.WindowCheck()
	h.Stack.Advance(now)
	if err := h.Stack.Flush(now); err != nil {
		return false, err
	}
	var st driver.Stats
	h.wire.Stats(&st)
	busy := len(h.batch.Frames) > 0 || st.TxFrames != h.sent
	h.sent = st.TxFrames
	return busy, nil
}

// Next is a Host's.
func (h *Local) Next() mono.Time { return h.Stack.Next() }

// Listen is a Host's.
func (h *Local) Listen(port uint16, accept func(Conn)) error {
	l, err := h.Stack.Listen("tcp", netip.AddrPortFrom(netip.Addr{}, port), func() bool { return false }, func(c *tcp.Conn) {
		accept(h.conn(c))
	})
	if err == nil {
		h.listeners = append(h.listeners, l)
	}
	return err
}

func (h *Local) clock() mono.Time { return h.now }

// Dial is a Host's.
func (h *Local) Dial(now mono.Time, remote netip.AddrPort) (Conn, error) {
	c, err := h.Stack.Dial(now, "tcp", netip.AddrPort{}, remote)
	if err != nil {
		return nil, err
	}
	return h.conn(c), nil
}

func (h *Local) conn(c *tcp.Conn) *localConn {
	l := &localConn{host: h, tcp: c}
	c.Nagle = h.nagle
	c.OnConnect = func(err error) { l.failed = err }
	return l
}

// Conns is a Host's.
func (h *Local) Conns() int { return h.Stack.Stats().Conns }

// Idle reports whether all that the connections have to send was sent and
// acknowledged: if nothing happens any more, it is not for want of anything of this
// host's.
func (h *Local) Idle() bool {
	for _, c := range h.Stack.Conns() {
		switch c.State() {
		case tcp.SynSent, tcp.SynReceived, tcp.FinWait1, tcp.Closing, tcp.LastAck:
			return false
		}
		if c.Send != nil && c.Send.Buffered() > 0 {
			return false
		}
	}
	return true
}

// Check counts the pool's buffers: each is in one place, as many are with the
// applications as they were given, and the connections' accounts agree with the
// pool.
func (h *Local) Check() error {
	c, err := h.Pool.Census()
	if err != nil {
		return err
	}
	if c.User > h.lent {
		return fmt.Errorf("%d buffers are with applications that hold %d views: %+v", c.User, h.lent, c)
	}
	held := 0
	for _, conn := range h.Stack.Conns() {
		if n := conn.Held(); n < 0 {
			return fmt.Errorf("%v keeps %d buffers", conn.Tuple(), n)
		}
		held += conn.Held()
	}
	if held > c.Out() {
		return fmt.Errorf("connections keep %d buffers of %d that are out: %+v", held, c.Out(), c)
	}
	return nil
}

// Close is a Host's: it fails if a connection or a buffer is left.
func (h *Local) Close() error {
	var errs []error
	for _, l := range h.listeners {
		l.Close()
	}
	if n := h.Conns(); n > 0 {
		errs = append(errs, fmt.Errorf("%d connections are left", n))
	}
	if h.Stack.Next() != 0 {
		errs = append(errs, fmt.Errorf("a timer is left, due at %v", h.Stack.Next()))
	}
	errs = append(errs, h.wire.Close(), closePool(h.Pool))
	return errors.Join(errs...)
}

// newPool makes a pool on the heap.
func newPool(buffers int) (*buf.Pool, error) {
	r, err := buf.NewRegion(buf.RegionConfig{Buffers: buffers, Heap: true})
	if err != nil {
		return nil, err
	}
	return buf.NewPool(r), nil
}

// closePool closes p, all of whose buffers have to be free.
func closePool(p *buf.Pool) error {
	c, err := p.Census()
	switch {
	case err != nil:
	case c.Out() != 0:
		err = fmt.Errorf("buffers are left: %+v", c)
	}
	p.Close()
	if !p.Remove() && err == nil {
		err = errors.New("the pool can't be removed, though all its buffers are free")
	}
	return err
}
