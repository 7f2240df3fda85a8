package netstack

import (
	"net/netip"
	"testing"

	"github.com/zctap/zctap/internal/buf"
	"github.com/zctap/zctap/internal/driver"
	"github.com/zctap/zctap/internal/mono"
	"github.com/zctap/zctap/internal/sockq"
	"github.com/zctap/zctap/internal/stack"
	"github.com/zctap/zctap/internal/stack/tcp"
	"github.com/zctap/zctap/internal/stack/udp"
)

// ours is our stack at the end of a wire.
type ours struct {
	tb    testing.TB
	pool  *buf.Pool
	wire  driver.Driver
	far   farEnd
	stack *stack.Stack
	batch *driver.Batch

	listener *stack.Listener
	accepted *tcp.Conn
	conns    []*tcp.Conn
	socket   *udp.Socket
	iovs     []buf.Iov
	msgs     []sockq.Message
}

// A farEnd is the test's end of a wire.
type farEnd interface {
	// send puts frames on the wire.
	send(frames [][]byte)
	// answers takes what was sent, and calls f with each frame.
	answers(f func([]byte))
	// established says that from here on answers are of no interest.
	established()
	close()
}

// newOurs makes the receiver. With verify frames come with unverified checksums.
func newOurs(tb testing.TB, w wireKind, verify bool) *ours {
	r := &ours{tb: tb, pool: testPool(tb, 4096), batch: driver.NewBatch(batchLen, batchLen),
		iovs: make([]buf.Iov, 512), msgs: make([]sockq.Message, batchLen)}
	if w == posted {
		p := newPostedWire(tb, r.pool, verify)
		r.wire, r.far = p, p
	} else {
		r.wire, r.far = newCopyingWire(tb, r.pool, verify)
	}
	var err error
	r.stack, err = stack.New(stack.Config{
		Pool: r.pool, Driver: r.wire, Prefixes: []netip.Prefix{usPrefix}, CQ: sockq.NewCQ(), Seed: [32]byte{1},
	})
	if err != nil {
		tb.Fatal(err)
	}
	return r
}

func testPool(tb testing.TB, buffers int) *buf.Pool {
	region, err := buf.NewRegion(buf.RegionConfig{Buffers: buffers})
	if err != nil {
		tb.Fatal(err)
	}
	return buf.NewPool(region)
}

func (r *ours) send(frames [][]byte) { r.far.send(frames) }

// round is one of the engine's loop.
func (r *ours) round() {
	now := mono.Now()
	if err := r.wire.Poll(now, r.batch); err != nil {
		r.tb.Fatal(err)
	}
	r.stack.Deliver(now, r.batch)
	r.stack.WindowCheck()
	r.stack.Advance(now)
	if err := r.stack.Flush(now); err != nil {
		r.tb.Fatal(err)
	}
}

func (r *ours) connect(p *peer) {
	var err error
	r.listener, err = r.stack.Listen("tcp4", netip.AddrPortFrom(usPrefix.Addr(), port), func() bool { return false },
		func(c *tcp.Conn) { r.accepted = c })
	if err != nil {
		r.tb.Fatal(err)
	}
	for i := range p.flows {
		r.send([][]byte{p.syn(i)})
		r.round()
		var ack []byte
		r.far.answers(func(b []byte) { ack = p.established(i, b) })
		r.send([][]byte{ack})
		r.round()
		r.conns = append(r.conns, r.accepted)
	}
	r.far.established()
}

func (r *ours) bind(*peer) {
	var err error
	r.socket, err = r.stack.ListenPacket("udp4", netip.AddrPortFrom(usPrefix.Addr(), port), netip.AddrPort{})
	if err != nil {
		r.tb.Fatal(err)
	}
}

func (r *ours) deliver([][]byte) { r.round() }

// take has the applications give back what they take.
func (r *ours) take(first, flows, _ int) (bytes int) {
	if r.socket != nil {
		msgs, iovs, _, err := r.socket.Queue.Poll(r.iovs, r.msgs)
		if err != nil {
			r.tb.Fatal(err)
		}
		for i := range r.msgs[:msgs] {
			bytes += r.msgs[i].Len
		}
		r.giveBack(iovs)
		return bytes
	}
	for i := range flows {
		k, b, _, err := r.conns[(first+i)%len(r.conns)].Recv.Poll(r.iovs, 1<<30)
		if err != nil {
			r.tb.Fatal(err)
		}
		r.giveBack(k)
		bytes += b
	}
	return bytes
}

func (r *ours) giveBack(n int) {
	if _, err := r.pool.Return(r.iovs[:n]); err != nil {
		r.tb.Fatal(err)
	}
}

func (r *ours) after() { r.far.answers(nil) }

func (r *ours) close() {
	for _, c := range r.conns {
		c.Recv.Close()
		c.Abort(0)
	}
	if r.socket != nil {
		r.socket.Queue.Close()
		r.stack.CloseSocket(r.socket)
		r.socket.Queue.Drain()
	}
	r.round()
	if err := r.wire.Close(); err != nil {
		r.tb.Error(err)
	}
	r.far.close()
	closePool(r.tb, r.pool)
}

func closePool(tb testing.TB, p *buf.Pool) {
	if c, err := p.Census(); err != nil || c.Out() != 0 {
		tb.Errorf("buffers are left: %+v, %v", c, err)
	}
	p.Close()
	p.Remove()
}
