package netstack

import (
	"net/netip"
	"testing"

	"github.com/zctap/zctap/internal/buf"
	"github.com/zctap/zctap/internal/driver"
	"github.com/zctap/zctap/internal/driver/mem"
	"github.com/zctap/zctap/internal/mono"
	"github.com/zctap/zctap/internal/sockq"
	"github.com/zctap/zctap/internal/stack"
	"github.com/zctap/zctap/internal/stack/tcp"
	"github.com/zctap/zctap/internal/stack/udp"
)

// ours is our stack behind internal/driver/mem, whose far end is the test's.
type ours struct {
	tb        testing.TB
	pool, far *buf.Pool
	end, wire *mem.End
	stack     *stack.Stack
	batch     *driver.Batch
	farBatch  *driver.Batch
	tx        []driver.TxFrame

	listener *stack.Listener
	accepted *tcp.Conn
	conns    []*tcp.Conn
	socket   *udp.Socket
	iovs     []buf.Iov
	msgs     []sockq.Message
}

// newOurs makes the receiver. With verify frames come with unverified checksums.
func newOurs(tb testing.TB, verify bool) *ours {
	r := &ours{tb: tb, batch: driver.NewBatch(batchLen, batchLen), farBatch: driver.NewBatch(batchLen, 16*batchLen),
		iovs: make([]buf.Iov, 512), msgs: make([]sockq.Message, batchLen)}
	r.pool, r.far = testPool(tb, 4096), testPool(tb, 256)
	c := mem.Config{Pool: r.far, Offload: mem.Local, QueueFrames: 4096, QueueBytes: 4 << 20}
	if verify {
		c.Offload = mem.Plain
	}
	var err error
	if r.end, r.wire, err = mem.Pipe(c, mem.Config{Pool: r.pool, Offload: mem.Plain, QueueFrames: 4096}); err != nil {
		tb.Fatal(err)
	}
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

// send puts frames on the wire.
func (r *ours) send(frames [][]byte) {
	r.tx = r.tx[:0]
	for _, f := range frames {
		r.tx = append(r.tx, driver.TxFrame{Head: f})
	}
	if n, err := r.end.Send(0, r.tx); n != len(frames) || err != nil {
		r.tb.Fatalf("%d of %d frames sent, %v", n, len(frames), err)
	}
}

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

// answers takes what was sent, and calls f with each frame.
func (r *ours) answers(f func([]byte)) {
	for {
		if err := r.end.Poll(0, r.farBatch); err != nil {
			r.tb.Fatal(err)
		}
		if len(r.farBatch.Frames) == 0 {
			return
		}
		for i := range r.farBatch.Frames {
			if f != nil {
				f(r.farBatch.Frames[i].Head)
			}
			r.far.PutFrags(r.farBatch.Frames[i].Frags)
		}
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
		r.answers(func(b []byte) { ack = p.established(i, b) })
		r.send([][]byte{ack})
		r.round()
		r.conns = append(r.conns, r.accepted)
	}
}

func (r *ours) bind(*peer) {
	var err error
	r.socket, err = r.stack.ListenPacket("udp4", netip.AddrPortFrom(usPrefix.Addr(), port), netip.AddrPort{})
	if err != nil {
		r.tb.Fatal(err)
	}
}

func (r *ours) deliver([][]byte) { r.round() }

// take has the applications of flows take what has come, and give it back. It
// returns the payload bytes.
func (r *ours) take(first, n int) (bytes int) {
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
	for i := range min(n, len(r.conns)) {
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

func (r *ours) after() { r.answers(nil) }

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
	for _, e := range []*mem.End{r.wire, r.end} {
		if err := e.Close(); err != nil {
			r.tb.Error(err)
		}
	}
	for _, p := range []*buf.Pool{r.pool, r.far} {
		if c, err := p.Census(); err != nil || c.Out() != 0 {
			r.tb.Errorf("buffers are left: %+v, %v", c, err)
		}
		p.Close()
		p.Remove()
	}
}
