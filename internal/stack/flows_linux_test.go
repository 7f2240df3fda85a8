//go:build linux

package stack

import (
	"encoding/binary"
	"fmt"
	"net/netip"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/zctap/zctap/internal/buf"
	"github.com/zctap/zctap/internal/driver"
	"github.com/zctap/zctap/internal/stack/tcp"
	"github.com/zctap/zctap/internal/wire"
)

// flows are many connections whose peers the test plays: they send in turns.
type flows struct {
	r      *rig
	conns  []*tcp.Conn
	heads  []byte // IPv6 and TCP header of each one's next segment, side by side: what the test touches is few lines, in order
	head   int    // length of one
	next   int
	burst  int // segments of a flow in a batch
	size   int // segments of a batch
	batch  driver.Batch
	frames []driver.Frame
	buf    []byte // heads of a batch
	frags  []buf.Frag
	iovs   []buf.Iov
}

const (
	flowPayload = 1428
	flowBatch   = 128 // segments
)

func newFlows(t testing.TB, n, burst int) *flows {
	f := &flows{burst: burst, size: flowBatch, iovs: make([]buf.Iov, 64), frags: make([]buf.Frag, flowBatch), buf: make([]byte, 0, flowBatch*128)}
	f.r = newRig(t, func(c *Config, _ *driver.Caps) {
		c.Pool = newPool(t, 4096)
		c.MaxPending = 1 << 20
	})
	_, err := f.r.stack.Listen("tcp", netip.AddrPortFrom(us6.Addr(), ourPort), func() bool { return false },
		func(c *tcp.Conn) { f.conns = append(f.conns, c) })
	if err != nil {
		t.Fatal(err)
	}
	for i := range n {
		h := wire.TCP{SrcPort: uint16(1000 + i), DstPort: ourPort, Seq: 1000, Flags: wire.SYN, Window: 65535, Options: wire.TCPOptions{MSS: 1440, HasTimestamps: true, HasWindowScale: true}}
		out := f.r.deliver(tcpPacket(t, peer6, us6.Addr(), h, nil), whole)
		answer := parse(t, out[0]).tcp
		h.Seq, h.Ack, h.Flags = 1001, answer.Seq.Add(1), wire.ACK
		h.Options = wire.TCPOptions{HasTimestamps: true, TSVal: 1, TSEcr: answer.Options.TSVal}
		f.r.deliver(tcpPacket(t, peer6, us6.Addr(), h, nil), whole)
		p := tcpPacket(t, peer6, us6.Addr(), h, make([]byte, flowPayload))
		f.head = len(p) - flowPayload
		f.heads = append(f.heads, p[:f.head]...)
	}
	if len(f.conns) != n {
		t.Fatalf("%d connections, want %d", len(f.conns), n)
	}
	f.r.wire.quiet = true
	return f
}

// round delivers a batch of segments, and takes what was received.
func (f *flows) round(t testing.TB) {
	first, burst := f.next, f.burst
	var all [flowBatch]uint16
	ids := all[:f.size]
	if f.r.pool.Alloc(ids) != len(ids) {
		t.Fatal("no buffers")
	}
	f.frames, f.buf = f.frames[:0], f.buf[:0]
	for i := range ids {
		k := f.next
		if (i+1)%burst == 0 {
			f.next = (f.next + 1) % len(f.conns)
		}
		at := len(f.buf)
		its := f.heads[k*f.head:][:f.head]
		f.buf = append(f.buf, its...)
		head := f.buf[at:len(f.buf):len(f.buf)]
		seq := its[wire.IPv6HeaderLen+4:]
		binary.BigEndian.PutUint32(seq, binary.BigEndian.Uint32(seq)+flowPayload)
		f.frags[i] = f.r.pool.Frag(ids[i], 0, flowPayload)
		f.frames = append(f.frames, driver.Frame{Head: head, Frags: f.frags[i : i+1], Len: len(head) + flowPayload, Checksum: driver.Vouched})
	}
	f.batch.Frames = f.frames
	f.r.now = f.r.now.Add(flowBatch * time.Microsecond)
	f.r.stack.Deliver(f.r.now, &f.batch)
	f.r.stack.WindowCheck()
	f.r.stack.Advance(f.r.now)
	if err := f.r.stack.Flush(f.r.now); err != nil {
		t.Fatal(err)
	}
	for i := range f.size / burst {
		c := f.conns[(first+i)%len(f.conns)]
		for c.Recv.Buffered() > 0 {
			k, _, _, err := c.Recv.Poll(f.iovs, 1<<30)
			if err != nil {
				t.Fatal(err)
			}
			if _, err := f.r.pool.Return(f.iovs[:k]); err != nil {
				t.Fatal(err)
			}
		}
	}
	f.r.pool.Reclaim()
}

// warm has the windows grow, by so little at a time that nothing is beyond them.
func (f *flows) warm(t testing.TB) {
	burst := f.burst
	f.burst, f.size = 1, min(len(f.conns), 8)
	for range max(40*len(f.conns), 1600) / f.size {
		f.round(t)
	}
	f.burst, f.size = burst, flowBatch
}

// cpu is the CPU time of this process: on a busy machine the time on the wall says nothing.
func cpu(b *testing.B) time.Duration {
	var u unix.Rusage
	if err := unix.Getrusage(unix.RUSAGE_SELF, &u); err != nil {
		b.Fatal(err)
	}
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}

// BenchmarkFlows is what a segment costs, from the driver to the application and back,
// with so many flows whose peers send in turns, so many segments at a time.
func BenchmarkFlows(b *testing.B) {
	for _, burst := range []int{16, 1} {
		for _, n := range []int{1, 8, 100, 10_000} {
			b.Run(fmt.Sprintf("burst=%d/flows=%d", burst, n), func(b *testing.B) {
				f := newFlows(b, n, burst)
				b.ReportAllocs()
				f.warm(b)
				b.ResetTimer()
				start := cpu(b)
				for i := 0; i < b.N; i += flowBatch {
					f.round(b)
				}
				b.StopTimer()
				b.ReportMetric(float64(cpu(b)-start)/float64(b.N), "cpu-ns/op")
				if d := f.r.stack.Stats().TCP.Drops; d != (tcp.Drops{}) {
					b.Errorf("dropped: %+v", d)
				}
				f.end()
			})
		}
	}
}

// BenchmarkFlowLines is what remains of BenchmarkFlows' segments, one of each flow in turn, if
// nothing is done with them but to find their connections and load those lines of these that
// they need, many at a time.
func BenchmarkFlowLines(b *testing.B) {
	for _, n := range []int{100, 10_000} {
		b.Run(fmt.Sprintf("flows=%d", n), func(b *testing.B) {
			f := newFlows(b, n, 1)
			f.warm(b)
			frames := make([]driver.Frame, n)
			for i := range frames {
				frames[i].Head = f.heads[i*f.head:][:f.head]
			}
			b.ResetTimer()
			start := cpu(b)
			s := f.r.stack
			size := min(flowBatch, n)
			for i, at := 0, 0; i < b.N; i += size {
				if at+size > n {
					at = 0
				}
				s.ahead.begin(s, frames[at:at+size])
				for k := range size {
					s.ahead.reach(s, k)
				}
				at += size
			}
			b.StopTimer()
			b.ReportMetric(float64(cpu(b)-start)/float64(b.N), "cpu-ns/op")
			f.r.stack.ahead.done()
			f.end()
		})
	}
}

// TestManyFlows: each of many flows that share a region gets all that was sent to it.
func TestManyFlows(t *testing.T) {
	f := newFlows(t, lookFlows+76, 1) // looked ahead for; each begins with a window of two segments
	const rounds = 500
	for range rounds {
		f.round(t)
	}
	st := f.r.stack.Stats().TCP
	if st.ZeroCopyBytes+st.CopiedBytes != rounds*flowBatch*flowPayload || st.Drops != (tcp.Drops{}) {
		t.Errorf("%d bytes received, %+v", st.ZeroCopyBytes+st.CopiedBytes, st.Drops)
	}
	f.end()
}

func (f *flows) end() {
	f.r.wire.quiet = false
	f.r.endAll(f.conns)
}
