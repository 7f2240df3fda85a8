package packet

import (
	"bytes"
	"errors"
	"fmt"
	"net/netip"
	"time"

	"github.com/zctap/zctap/internal/buf"
	"github.com/zctap/zctap/internal/driver"
	"github.com/zctap/zctap/internal/driver/mem"
	"github.com/zctap/zctap/internal/mono"
	"github.com/zctap/zctap/internal/sockq"
	"github.com/zctap/zctap/internal/stack"
	"github.com/zctap/zctap/internal/stack/tcp"
)

// epoch is the stack's time when a run begins: no round number, and not 0, which
// stands for "never".
const epoch = mono.Time(12345678901)

// defaultBuffers is the size of the region, in buffers of 4 KiB.
const defaultBuffers = 512

// maxFrame is the length in bytes of the longest packet that a script can inject.
const maxFrame = 65535

// maxRounds is far more than the stack needs to come to rest after one packet.
const maxRounds = 10_000

// zctapTarget is our stack on one end of a wire in memory; the runner is the other
// end. Its clock stands still but in Sleep and Next.
type zctapTarget struct {
	now        mono.Time
	stack      *stack.Stack
	pool, peer *buf.Pool // the stack's, and the other end's
	wire, far  *mem.End
	batch      *driver.Batch
	farBatch   *driver.Batch
	sent       []*Sent
	sockets    []zctapSocket
}

// zctapSocket is one that the target closes at its end.
type zctapSocket interface{ discard() }

// NewZctap makes a target of our stack. The caller closes it.
func NewZctap(c Config, family int) (Target, error) {
	z := &zctapTarget{
		now:      epoch,
		batch:    driver.NewBatch(32, 1024),
		farBatch: driver.NewBatch(32, 1024),
	}
	buffers := c.Zctap.Buffers
	if buffers == 0 {
		buffers = defaultBuffers
	}
	var err error
	if z.pool, z.peer, z.wire, z.far, err = newWire(buffers, c.MTU); err != nil {
		return nil, err
	}
	w := worlds[family]
	congestion, err := tcp.ParseCongestion(c.Zctap.Congestion)
	if err != nil {
		return nil, err
	}
	pending := 0
	if c.Zctap.Cookies {
		pending = -1
	}
	z.stack, err = stack.New(stack.Config{
		Pool: z.pool, CQ: sockq.NewCQ(), Driver: z.wire,
		Prefixes:      []netip.Prefix{netip.PrefixFrom(w.stack, w.bits)},
		Seed:          [32]byte{1},
		TimeWait:      c.Zctap.TimeWait,
		UserTimeout:   c.Zctap.UserTimeout,
		MaxRecvWindow: c.Zctap.Window,
		SendSpace:     c.Zctap.SendSpace,
		MaxPending:    pending,
		ECN:           c.Zctap.ECN,
		Congestion:    congestion,
	})
	if err != nil {
		return nil, err
	}
	return z, nil
}

// newWire makes a wire in memory, and the pools of its ends: the stack's, of so many
// buffers, and the runner's, which may send more than the MTU allows.
func newWire(buffers, mtu int) (pool, peer *buf.Pool, wire, far *mem.End, err error) {
	if pool, err = newPool(buffers); err != nil {
		return nil, nil, nil, nil, err
	}
	if peer, err = newPool(defaultBuffers); err != nil {
		return nil, nil, nil, nil, err
	}
	wire, far, err = mem.Pipe(
		mem.Config{Pool: pool, MTU: mtu, Offload: mem.Plain},
		mem.Config{Pool: peer, MTU: maxFrame, Offload: mem.Plain},
	)
	return pool, peer, wire, far, err
}

func newPool(buffers int) (*buf.Pool, error) {
	region, err := buf.NewRegion(buf.RegionConfig{Buffers: buffers, Heap: true})
	if err != nil {
		return nil, err
	}
	return buf.NewPool(region), nil
}

func (z *zctapTarget) Name() string { return Zctap }

// Slack is none: whoever moves the clock is on time.
func (z *zctapTarget) Slack() (early, late time.Duration) { return 0, 0 }

func (z *zctapTarget) clock() mono.Time { return z.now }

func (z *zctapTarget) Now() time.Duration { return z.now.Sub(epoch) }

// round is one of the engine's loop, and reports whether anything crossed the wire.
func (z *zctapTarget) round() (busy bool, err error) {
	if err := z.wire.Poll(z.now, z.batch); err != nil {
		return false, err
	}
	z.pool.Reclaim()
	z.stack.Deliver(z.now, z.batch)
	z.stack.WindowCheck()
	z.stack.Advance(z.now)
	if err := z.stack.Flush(z.now); err != nil {
		return false, err
	}
	if err := z.far.Poll(z.now, z.farBatch); err != nil {
		return false, err
	}
	for i := range z.farBatch.Frames {
		z.sent = append(z.sent, &Sent{At: z.Now(), Raw: takeFrame(z.peer, &z.farBatch.Frames[i])})
	}
	return len(z.batch.Frames)+len(z.farBatch.Frames) > 0, nil
}

// takeFrame is a frame's bytes; its buffers go back.
func takeFrame(p *buf.Pool, f *driver.Frame) []byte {
	raw := bytes.Clone(f.Head)
	for _, g := range f.Frags {
		raw = append(raw, p.Region().View(g)...)
	}
	p.PutFrags(f.Frags)
	return raw
}

// settle runs rounds until the stack has nothing more to do at this time.
func (z *zctapTarget) settle() error {
	for range maxRounds {
		busy, err := z.round()
		if err != nil {
			return err
		}
		if next := z.stack.Next(); !busy && (next == 0 || z.now.Before(next)) {
			return nil
		}
	}
	return fmt.Errorf("after %d rounds at %v the stack still finds something to do", maxRounds, z.Now())
}

func (z *zctapTarget) Sleep(until time.Duration) error { return z.run(epoch.Add(until), false) }

// run lets time pass, from timer to timer, until then, or until something was sent
// if that is enough.
func (z *zctapTarget) run(until mono.Time, enough bool) error {
	for {
		if err := z.settle(); err != nil {
			return err
		}
		if enough && len(z.sent) > 0 || !z.now.Before(until) {
			return nil
		}
		next := until
		if t := z.stack.Next(); t != 0 && t.Before(next) {
			next = t
		}
		z.now = next
	}
}

func (z *zctapTarget) Inject(packet []byte) error {
	n, err := z.far.Send(z.now, []driver.TxFrame{{Head: packet}})
	if err != nil {
		return err
	}
	if n != 1 {
		return errors.New("the wire in memory is full")
	}
	return z.settle()
}

func (z *zctapTarget) Next(until time.Duration) (*Sent, error) {
	if err := z.run(epoch.Add(until), true); err != nil {
		return nil, err
	}
	if len(z.sent) == 0 {
		return nil, nil
	}
	s := z.sent[0]
	z.sent = z.sent[1:]
	return s, nil
}

// Close ends all connections, and checks that no buffer is out.
func (z *zctapTarget) Close() error {
	for _, s := range z.sockets {
		s.discard()
	}
	for _, c := range z.stack.Conns() {
		c.Abort(z.now)
	}
	err := z.stack.Flush(z.now)
	z.stack.DropFragments()
	err = errors.Join(err, z.wire.Close(), z.far.Close())
	return errors.Join(err, closePools(z.pool, z.peer))
}

// closePools closes pools, all of whose buffers have to be back.
func closePools(pools ...*buf.Pool) (err error) {
	for _, p := range pools {
		if c, e := p.Census(); e != nil || c.Out() != 0 {
			err = errors.Join(err, e, fmt.Errorf("buffers are not back at the end: %+v", c))
		}
		p.Close()
		if !p.Remove() {
			err = errors.Join(err, errors.New("the pool cannot be removed"))
		}
	}
	return err
}
