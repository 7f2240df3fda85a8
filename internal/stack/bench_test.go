package stack

import (
	"encoding/binary"
	"net/netip"
	"testing"

	"github.com/zctap/zctap/internal/buf"
	"github.com/zctap/zctap/internal/driver"
	"github.com/zctap/zctap/internal/stack/tcp"
	"github.com/zctap/zctap/internal/wire"
)

// A bulk is a connection of a rig whose peer the benchmark plays: it sends
// segments of one length, in order, without loss.
type bulk struct {
	r      *rig
	conn   *tcp.Conn
	head   []byte // IP and TCP header of the next segment
	seq    uint32
	batch  driver.Batch
	frames []driver.Frame
	heads  []byte
	frags  []buf.Frag
	iovs   []buf.Iov
}

func newBulk(b *testing.B, payload int) *bulk {
	k := &bulk{r: newRig(b, func(c *Config, w *driver.Caps) {
		c.Pool = newPool(b, 1024)
		w.MTU = 65535
	})}
	l, err := k.r.stack.Listen("tcp", netip.AddrPortFrom(us4.Addr(), 80), func() bool { return false },
		func(c *tcp.Conn) { k.conn = c })
	if err != nil {
		b.Fatal(err)
	}
	h := wire.TCP{SrcPort: 999, DstPort: 80, Seq: 1000, Flags: wire.SYN, Window: 65535,
		Options: wire.TCPOptions{MSS: 1460, HasTimestamps: true, HasWindowScale: true}}
	out := k.r.deliver(tcpPacket(b, peer4, us4.Addr(), h, nil), whole)
	answer := parse(b, out[0])
	h.Flags, h.Seq, h.Ack = wire.ACK, 1001, answer.tcp.Seq.Add(1)
	h.Options = wire.TCPOptions{HasTimestamps: true, TSVal: 1, TSEcr: answer.tcp.Options.TSVal}
	k.r.deliver(tcpPacket(b, peer4, us4.Addr(), h, nil), whole)
	if k.conn == nil {
		b.Fatal("not connected")
	}
	k.r.wire.quiet = true
	l.Close()
	p := tcpPacket(b, peer4, us4.Addr(), h, make([]byte, payload))
	k.head = p[:len(p)-payload]
	k.seq = 1001
	k.iovs = make([]buf.Iov, 512)
	return k
}

// round delivers n frames of payload bytes each, as a driver with header split
// does: the head apart, the payload in buffers that nobody touches. Then it takes
// them from the queue, and returns them.
func (k *bulk) round(b *testing.B, n, payload int) {
	k.frames, k.frags, k.heads = k.frames[:0], k.frags[:0], k.heads[:0]
	for range n {
		first, at := len(k.frags), len(k.heads)
		for left := payload; left > 0; left -= 4096 {
			var id [1]uint16
			if k.r.pool.Alloc(id[:]) != 1 {
				b.Fatal("out of buffers")
			}
			k.frags = append(k.frags, k.r.pool.Frag(id[0], 0, min(left, 4096)))
		}
		k.heads = append(k.heads, k.head...)
		binary.BigEndian.PutUint32(k.heads[at+24:], k.seq)
		k.seq += uint32(payload)
		k.frames = append(k.frames, driver.Frame{
			Head:  k.heads[at:len(k.heads):len(k.heads)],
			Frags: k.frags[first:len(k.frags):len(k.frags)],
			Len:   len(k.head) + payload, Checksum: driver.Vouched,
		})
	}
	k.batch.Frames = k.frames
	k.r.now += 100_000
	k.r.stack.Deliver(k.r.now, &k.batch)
	k.r.stack.Advance(k.r.now)
	if err := k.r.stack.Flush(k.r.now); err != nil {
		b.Fatal(err)
	}
	for left := n * payload; left > 0; {
		n, bytes, _, err := k.conn.Recv.Poll(k.iovs, 1<<30)
		if n == 0 || err != nil {
			b.Fatalf("%d bytes missing: %v", left, err)
		}
		left -= bytes
		if _, err := k.r.pool.Return(k.iovs[:n]); err != nil {
			b.Fatal(err)
		}
	}
}

// benchmarkDeliver measures the way of a frame from the driver to the socket
// queue and back to the fill ring, in batches as an engine has them.
func benchmarkDeliver(b *testing.B, payload, batch int) {
	k := newBulk(b, payload)
	for range 50 {
		k.round(b, 1, payload) // the window opens
	}
	b.SetBytes(int64(payload))
	b.ReportAllocs()
	b.ResetTimer()
	for n := 0; n < b.N; n += batch {
		k.round(b, batch, payload)
	}
	b.StopTimer()
	k.conn.Recv.Close()
	k.conn.Abort(k.r.now)
	k.r.deliverFrame()
}

func BenchmarkDeliver1448(b *testing.B) { benchmarkDeliver(b, 1448, 32) }

func BenchmarkDeliver60K(b *testing.B) { benchmarkDeliver(b, 60<<10, 4) }
