package netstack

import (
	"net/netip"
	"testing"

	"gvisor.dev/gvisor/pkg/buffer"
	"gvisor.dev/gvisor/pkg/tcpip"
	"gvisor.dev/gvisor/pkg/tcpip/network/ipv4"
	"gvisor.dev/gvisor/pkg/tcpip/stack"
	"gvisor.dev/gvisor/pkg/tcpip/transport/tcp"
	"gvisor.dev/gvisor/pkg/tcpip/transport/udp"
	"gvisor.dev/gvisor/pkg/waiter"
)

// theirs is gVisor's stack behind a Link.
type theirs struct {
	tb    testing.TB
	link  *Link
	stack *stack.Stack

	// With posted frames are put into views that were posted before, as the readers of
	// gVisor's link/fdbased post views to the kernel, but each frame in one view: theirs
	// take five for a frame of 1,500 bytes. Otherwise the Link copies each frame once, as
	// internal/driver/mem does.
	posted bool
	views  []*buffer.View
	filled int // of views

	listener tcpip.Endpoint
	conns    []their
	socket   their
	flows    int // of UDP
}

// their is a socket, and how to wait for something to read.
type their struct {
	ep    tcpip.Endpoint
	ready chan struct{}
}

func newTheirs(tb testing.TB, w wireKind, verify, gro bool) *theirs {
	r := &theirs{tb: tb, posted: w == posted, link: &Link{mtu: 1500, rxValid: !verify || gro, groOn: gro, groVerify: verify}}
	var err error
	if r.stack, err = newStack(r.link, nil, 1, []netip.Prefix{usPrefix}); err != nil {
		tb.Fatal(err)
	}
	size := tcpip.TCPReceiveBufferSizeRangeOption{Min: 4096, Default: 4 << 20, Max: 8 << 20}
	if err := r.stack.SetTransportProtocolOption(tcp.ProtocolNumber, &size); err != nil {
		tb.Fatal(err)
	}
	r.post()
	return r
}

// post makes up for the views that were taken.
func (r *theirs) post() {
	for r.posted && len(r.views) < batchLen {
		r.views = append(r.views, buffer.NewViewSize(1500))
	}
}

func (r *theirs) connect(p *peer) {
	var wq waiter.Queue
	ep, err := r.stack.NewEndpoint(tcp.ProtocolNumber, ipv4.ProtocolNumber, &wq)
	if err != nil {
		r.tb.Fatal(err)
	}
	r.listener = ep
	if err := ep.Bind(tcpip.FullAddress{Port: port}); err != nil {
		r.tb.Fatal(err)
	}
	if err := ep.Listen(1000); err != nil {
		r.tb.Fatal(err)
	}
	for i := range p.flows {
		r.link.In(p.syn(i))
		r.link.Flush()
		r.settle()
		for _, b := range r.link.Out() {
			r.link.In(p.established(i, b))
			r.link.Flush()
		}
		r.settle()
		c, wq, err := ep.Accept(nil)
		if err != nil {
			r.tb.Fatalf("flow %d: %v", i, err)
		}
		r.conns = append(r.conns, newTheir(c, wq))
	}
	r.link.discard = true
}

func (r *theirs) settle() {
	r.stack.Pause()
	r.stack.Resume()
}

func newTheir(ep tcpip.Endpoint, wq *waiter.Queue) their {
	e, ch := waiter.NewChannelEntry(waiter.ReadableEvents)
	wq.EventRegister(&e)
	return their{ep, ch}
}

func (r *theirs) bind(p *peer) {
	var wq waiter.Queue
	ep, err := r.stack.NewEndpoint(udp.ProtocolNumber, ipv4.ProtocolNumber, &wq)
	if err != nil {
		r.tb.Fatal(err)
	}
	if err := ep.Bind(tcpip.FullAddress{Port: port}); err != nil {
		r.tb.Fatal(err)
	}
	ep.SocketOptions().SetReceiveBufferSize(4<<20, true)
	r.socket, r.flows = newTheir(ep, &wq), len(p.flows)
}

// send is what a NIC does by DMA, if views are posted.
func (r *theirs) send(frames [][]byte) {
	if !r.posted {
		return
	}
	for _, f := range frames {
		v := r.views[r.filled]
		v.CapLength(copy(v.AsSlice(), f))
		r.filled++
	}
}

// groBucketSize is the packets that each of GRO's buckets may have. Its Flush passes on the
// first of each only, for it asks that for the next one when it has been removed already; so with
// many flows it takes as many calls.
const groBucketSize = 8

func (r *theirs) deliver(frames [][]byte) {
	if r.posted {
		for _, v := range r.views[:r.filled] {
			r.link.deliver(stack.NewPacketBuffer(stack.PacketBufferOptions{Payload: buffer.MakeWithView(v)}))
		}
		r.views = r.views[:copy(r.views, r.views[r.filled:])]
		r.filled = 0
		r.post()
	} else {
		for _, f := range frames {
			r.link.In(f)
		}
	}
	for range max(1, min(len(r.conns), groBucketSize)) {
		r.link.Flush()
	}
}

// nowhere is where read bytes are written: nobody copies them.
type nowhere struct{}

func (nowhere) Write(p []byte) (int, error) { return len(p), nil }

func (r *theirs) take(first, flows, n int) (bytes int) {
	if r.socket.ep != nil {
		for bytes < n*payloadLen {
			bytes += r.socket.read(r.tb, payloadLen)
		}
		return bytes
	}
	each := n / flows * payloadLen
	for i := range flows {
		bytes += r.conns[(first+i)%len(r.conns)].read(r.tb, each)
	}
	return bytes
}

// read reads n bytes, waiting for them.
func (t *their) read(tb testing.TB, n int) (bytes int) {
	for bytes < n {
		res, err := t.ep.Read(nowhere{}, tcpip.ReadOptions{})
		bytes += res.Count
		switch err.(type) {
		case nil:
		case *tcpip.ErrWouldBlock:
			<-t.ready
		default:
			tb.Fatal(err)
		}
	}
	return bytes
}

func (r *theirs) after() {}

func (r *theirs) close() {
	for _, c := range append(r.conns, r.socket) {
		if c.ep != nil {
			c.ep.Abort()
			c.ep.Close()
		}
	}
	if r.listener != nil {
		r.listener.Close()
	}
	r.stack.Destroy()
	for _, v := range r.views {
		v.Release()
	}
}
