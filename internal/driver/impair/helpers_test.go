package impair

import (
	"bytes"
	"encoding/binary"
	"net/netip"
	"testing"

	"github.com/zctap/zctap/internal/buf"
	"github.com/zctap/zctap/internal/buf/buftest"
	"github.com/zctap/zctap/internal/driver"
	"github.com/zctap/zctap/internal/driver/mem"
	"github.com/zctap/zctap/internal/mono"
	"github.com/zctap/zctap/internal/testenv"
	"github.com/zctap/zctap/internal/wire"
)

func TestMain(m *testing.M) { testenv.Main(m) }

// A rig is a bad wire: what sender sends, bad receives into pool.
type rig struct {
	t      testing.TB
	pool   *buf.Pool
	sender *mem.End
	inner  *mem.End
	bad    *Driver
	batch  *driver.Batch

	senderPool *buf.Pool
}

// options of a rig, besides the Config.
type options struct {
	sender, receiver mem.Config
	buffers          int // of the receiver; 0: 512
	frames, frags    int // of the batch; 0: 64, 128
}

func newRig(t testing.TB, c Config, o options) *rig {
	t.Helper()
	if o.buffers == 0 {
		o.buffers = 512
	}
	if o.frames == 0 {
		o.frames, o.frags = 64, 128
	}
	r := &rig{
		t: t, pool: buftest.Heap(t, o.buffers), senderPool: buftest.Heap(t, 32),
		batch: driver.NewBatch(o.frames, o.frags),
	}
	o.receiver.Pool, o.sender.Pool = r.pool, r.senderPool
	var err error
	if r.sender, r.inner, err = mem.Pipe(o.sender, o.receiver); err != nil {
		t.Fatal(err)
	}
	c.Pool = r.pool
	if r.bad, err = New(r.inner, c); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		for _, d := range []driver.Driver{r.bad, r.sender} {
			if err := d.Close(); err != nil {
				t.Errorf("Close: %v", err)
			}
		}
		r.balance()
	})
	return r
}

// balance checks that every frame is accounted for.
func (r *rig) balance() {
	r.t.Helper()
	c := r.bad.Counts()
	if c.Received+c.Duplicated != c.Delivered+c.Dropped+c.Overflowed+c.Discarded+c.Held {
		r.t.Errorf("frames appeared or vanished: %+v", c)
	}
}

// send sends frames numbered from first to last, which numbered makes.
func (r *rig) send(first, last int) {
	r.t.Helper()
	for n := first; n <= last; n++ {
		f := numbered(n)
		r.sendFrame(driver.TxFrame{Head: f})
	}
}

func (r *rig) sendFrame(f driver.TxFrame) {
	r.t.Helper()
	if n, err := r.sender.Send(0, []driver.TxFrame{f}); n != 1 || err != nil {
		r.t.Fatalf("Send: %d, %v", n, err)
	}
}

// poll polls at a time. The buffers are the test's, to put.
func (r *rig) poll(now mono.Time) []driver.Frame {
	r.t.Helper()
	if err := r.bad.Poll(now, r.batch); err != nil {
		r.t.Fatal(err)
	}
	return r.batch.Frames
}

func (r *rig) put() { r.pool.PutFrags(r.batch.Frags) }

// numbers polls at a time and puts the buffers back. It returns the numbers of
// the frames that came, in order: negative if it is not as it was sent.
func (r *rig) numbers(now mono.Time) (ns []int) {
	r.t.Helper()
	frames := r.poll(now)
	for i := range frames {
		b := r.contents(&frames[i])
		n := int(binary.BigEndian.Uint32(b[wire.IPv4HeaderLen+wire.UDPHeaderLen:]))
		if !bytes.Equal(b, numbered(n)) {
			n = -n
		}
		ns = append(ns, n)
	}
	r.put()
	return ns
}

// contents are the bytes of a received frame.
func (r *rig) contents(f *driver.Frame) []byte {
	b := bytes.Clone(f.Head)
	for _, g := range f.Frags {
		b = append(b, r.pool.Region().View(g)...)
	}
	if len(b) != f.Len {
		r.t.Errorf("a frame of length %d has %d bytes", f.Len, len(b))
	}
	return b
}

var (
	src4, dst4 = netip.MustParseAddr("192.0.2.1"), netip.MustParseAddr("192.0.2.2")
	src6, dst6 = netip.MustParseAddr("2001:db8::1"), netip.MustParseAddr("2001:db8::2")
)

// numbered is a UDP datagram whose payload begins with n, and is as long as n
// says.
func numbered(n int) []byte {
	return udpFrame(src4, dst4, pattern(n, 4+n%97))
}

// pattern is size bytes that tell n and their place.
func pattern(n, size int) []byte {
	b := make([]byte, size)
	binary.BigEndian.PutUint32(b, uint32(n))
	for i := 4; i < size; i++ {
		b[i] = byte(n*31 + i)
	}
	return b
}

// udpFrame and tcpFrame are packets with the right checksums.
func udpFrame(src, dst netip.Addr, payload []byte) []byte {
	h := make([]byte, wire.UDPHeaderLen)
	if _, err := wire.PutUDP(h, &wire.UDP{SrcPort: 1, DstPort: 2, PayloadLen: len(payload)}); err != nil {
		panic(err)
	}
	return packet(src, dst, wire.ProtoUDP, append(h, payload...))
}

func tcpFrame(src, dst netip.Addr, payload []byte) []byte {
	h := make([]byte, wire.TCPHeaderLen)
	if _, err := wire.PutTCP(h, &wire.TCP{SrcPort: 1, DstPort: 2, Flags: wire.ACK}); err != nil {
		panic(err)
	}
	return packet(src, dst, wire.ProtoTCP, append(h, payload...))
}

// packet puts an IP header before l4, and the checksum into it if it is of a
// protocol that has one.
func packet(src, dst netip.Addr, proto uint8, l4 []byte) []byte {
	ip := wire.IPHeader{Src: src, Dst: dst, Proto: proto, HopLimit: 64, PayloadLen: len(l4)}
	b := make([]byte, ip.Len())
	if _, err := wire.PutIP(b, &ip); err != nil {
		panic(err)
	}
	pseudo := wire.Sum{}
	if proto != wire.ProtoICMP {
		pseudo = wire.PseudoSum(src, dst, proto, len(l4))
	}
	if len(l4) >= wire.UDPHeaderLen {
		_ = wire.FillChecksum(l4, proto, pseudo)
	}
	return append(b, l4...)
}

// verify is what a stack says of an IP packet.
func verify(b []byte) wire.Cause {
	var p wire.Packet
	if c := wire.ParseIP(b, len(b), wire.Verify, &p); c != wire.OK {
		return c
	}
	c := wire.WrongProtocol
	switch p.Proto {
	case wire.ProtoTCP:
		var t wire.TCP
		c = wire.ParseTCP(b, &p, &t)
	case wire.ProtoUDP:
		var u wire.UDP
		c = wire.ParseUDP(b, &p, &u)
	case wire.ProtoICMP, wire.ProtoICMPv6:
		var i wire.ICMP
		c = wire.ParseICMP(b, &p, &i)
	}
	if c != wire.OK {
		return c
	}
	return p.VerifyL4(b)
}
