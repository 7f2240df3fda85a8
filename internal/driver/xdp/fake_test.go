//go:build linux

package xdp

import (
	"encoding/binary"
	"net/netip"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/zctap/zctap/internal/buf"
	"github.com/zctap/zctap/internal/driver"
	"github.com/zctap/zctap/internal/shring"
	"github.com/zctap/zctap/internal/wire"
)

// A kernel is the other side of a queue's rings, on heap memory that the race
// detector watches, and the other end of what stands for its socket.
type kernel struct {
	t       testing.TB
	region  *buf.Region
	fill    *shring.Consumer
	free    []uint64 // chunks taken from fill and not used, as the kernel keeps them
	rx      *shring.Producer
	tx      *shring.Consumer
	done    *shring.Producer // completion
	addrs   []uint64         // of fill
	frames  []unix.XDPDesc   // of rx
	out     []unix.XDPDesc   // of tx
	sent    []uint64         // of done
	fd      int              // reads what kicks the driver made
	txFlags *uint32
	rxWords shring.Words
	dropped int // frames for which there was no buffer
	full    int // frames for which there was no room
}

var (
	mac4, mac6, ourMAC = [6]byte{2, 0, 0, 0, 0, 4}, [6]byte{2, 0, 0, 0, 0, 6}, [6]byte{2, 0, 0, 0, 0, 1}
	src4, dst4         = netip.MustParseAddr("192.0.2.1"), netip.MustParseAddr("192.0.2.2")
	src6, dst6         = netip.MustParseAddr("2001:db8::1"), netip.MustParseAddr("2001:db8::2")
)

// fakeConfig is a Config for fake, with so many buffers posted on each queue.
func fakeConfig(p *buf.Pool, fill, tx int) Config {
	return Config{
		Pool: p, Rings: Rings{Fill: fill, RX: int(ringFor(fill))}, TxBuffers: tx,
		Resolver: static{dst4: mac4, dst6: mac6},
	}
}

// fake makes a driver of queues that have fake kernels, for as long as the test
// lasts.
func fake(t testing.TB, c Config, queues int) (*Driver, []*kernel) {
	t.Helper()
	var qs []*queue
	var ks []*kernel
	for id := range queues {
		q, k := fakeQueue(t, id, &c)
		qs, ks = append(qs, q), append(ks, k)
	}
	d := newDriver(&c, qs, link{index: 1, name: "fake0", mac: ourMAC, mtu: 9000, up: true})
	fatal(t, d.start(&c))
	d.mode, d.partial = Copy, true
	t.Cleanup(func() {
		if err := d.Close(); err != nil {
			t.Errorf("Close: %v", err)
		}
		for _, k := range ks {
			unix.Close(k.fd)
		}
	})
	return d, ks
}

func fakeQueue(t testing.TB, id int, c *Config) (*queue, *kernel) {
	t.Helper()
	fds, err := unix.Socketpair(unix.AF_UNIX, unix.SOCK_SEQPACKET|unix.SOCK_NONBLOCK|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		t.Fatal(err)
	}
	q := &queue{id: id, fd: fds[0]}
	k := &kernel{t: t, region: c.Pool.Region(), fd: fds[1]}
	words := func(size int) shring.Words {
		return shring.Words{Producer: new(uint32), Consumer: new(uint32), Flags: new(uint32), Size: uint32(size)}
	}
	ours := func(w shring.Words) *shring.Producer { p, err := shring.NewProducer(w); fatal(t, err); return p }
	theirs := func(w shring.Words) *shring.Consumer { p, err := shring.NewConsumer(w); fatal(t, err); return p }

	size := int(ringFor(c.Rings.Fill))
	w := words(size)
	k.addrs = make([]uint64, size)
	q.fill, k.fill = fillRing{ours(w), k.addrs}, theirs(w)

	w = words(c.Rings.RX)
	k.rxWords = w
	k.frames = make([]unix.XDPDesc, c.Rings.RX)
	q.rx, k.rx = rxRing{theirs(w), k.frames}, ours(w)
	if id > 0 {
		return q, k
	}
	size = int(ringFor(c.TxBuffers))
	w = words(size)
	*w.Flags = shring.NeedWakeup // as the kernel has it in copy mode
	k.txFlags = w.Flags
	k.out = make([]unix.XDPDesc, size)
	q.tx, k.tx = txRing{ours(w), k.out}, theirs(w)

	w = words(size)
	k.sent = make([]uint64, size)
	q.completion, k.done = completionRing{theirs(w), k.sent}, ours(w)
	return q, k
}

func fatal(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// alloc takes chunks from the fill ring, or none at all.
func (k *kernel) alloc(n int) (addrs []uint64, ok bool) {
	if need := n - len(k.free); need > 0 {
		i, got := k.fill.Peek(uint32(need))
		for j := range got {
			k.free = append(k.free, k.addrs[(i+j)&k.fill.Mask()])
		}
		k.fill.Release(got)
	}
	if len(k.free) < n {
		return nil, false
	}
	addrs, k.free = k.free[:n:n], k.free[n:]
	return addrs, true
}

// deliver does with a frame what the kernel does in copy mode; false if it is
// dropped.
func (k *kernel) deliver(frame []byte) bool {
	room := k.region.BufferSize() - kernelHeadroom
	n := max((len(frame)+room-1)/room, 1)
	i, free := k.rx.Reserve(uint32(n))
	if int(free) < n {
		k.full++
		return false
	}
	addrs, ok := k.alloc(n)
	if !ok {
		k.dropped++
		return false
	}
	for j, a := range addrs {
		part := frame[:min(len(frame), room)]
		frame = frame[len(part):]
		copy(k.region.Memory()[a+kernelHeadroom:], part)
		desc := unix.XDPDesc{Addr: a + kernelHeadroom, Len: uint32(len(part))}
		if j < n-1 {
			desc.Options = unix.XDP_PKT_CONTD
		}
		k.frames[(i+uint32(j))&k.rx.Mask()] = desc
	}
	k.rx.Submit(uint32(n))
	return true
}

// raw publishes RX descriptors as they are.
func (k *kernel) raw(descs ...unix.XDPDesc) {
	k.t.Helper()
	i, free := k.rx.Reserve(uint32(len(descs)))
	if int(free) < len(descs) {
		k.t.Fatal("the RX ring is full")
	}
	for j, d := range descs {
		k.frames[(i+uint32(j))&k.rx.Mask()] = d
	}
	k.rx.Submit(uint32(len(descs)))
}

// transmit takes up to limit frames from the TX ring and completes them.
func (k *kernel) transmit(limit int) (frames [][]byte) {
	k.t.Helper()
	for len(frames) < limit {
		i, n := k.tx.Peek(k.tx.Size())
		if n == 0 {
			break
		}
		var frame []byte
		var used uint32
		for more := true; more; used++ {
			if used == n {
				k.t.Fatal("a frame in the TX ring has no end")
			}
			d := k.out[(i+used)&k.tx.Mask()]
			frame = append(frame, k.region.Memory()[d.Addr:d.Addr+uint64(d.Len)]...)
			more = continued(&d)
			k.complete(d.Addr)
		}
		k.tx.Release(used)
		frames = append(frames, frame)
	}
	return frames
}

func (k *kernel) complete(addr uint64) {
	k.t.Helper()
	i, n := k.done.Reserve(1)
	if n == 0 {
		k.t.Fatal("the completion ring is full")
	}
	k.sent[i&k.done.Mask()] = addr
	k.done.Submit(1)
}

// kicks is how many system calls the driver made to send since the last time.
func (k *kernel) kicks() (n int) {
	for {
		if _, err := unix.Read(k.fd, make([]byte, 1)); err != nil {
			return n
		}
		n++
	}
}

// poll polls for want frames, or fails the test.
func poll(t testing.TB, d *Driver, b *driver.Batch, want int) []driver.Frame {
	t.Helper()
	if err := d.Poll(0, b); err != nil {
		t.Fatal(err)
	}
	if len(b.Frames) != want {
		t.Fatalf("Poll gave %d frames, want %d; %+v", len(b.Frames), want, statsOf(d))
	}
	return b.Frames
}

// packetTo is an IP packet to dst of a transport header and payload, its checksum
// left to the device.
func packetTo(t testing.TB, dst netip.Addr, proto uint8, payload []byte) driver.TxFrame {
	t.Helper()
	src := src4
	if dst.Is6() {
		src = src6
	}
	l4 := wire.UDPHeaderLen
	if proto == wire.ProtoTCP {
		l4 = wire.TCPHeaderLen
	}
	head := make([]byte, 14+40+20)
	e := wire.Ethernet{EtherType: wire.EtherTypeIPv4}
	if dst.Is6() {
		e.EtherType = wire.EtherTypeIPv6
	}
	_, err := wire.PutEthernet(head, &e)
	fatal(t, err)
	n, err := wire.PutIP(head[14:], &wire.IPHeader{Src: src, Dst: dst, Proto: proto, HopLimit: 64, PayloadLen: l4 + len(payload)})
	fatal(t, err)
	n += 14
	f := driver.TxFrame{CsumStart: n, CsumOffset: udpChecksum, IPv6: dst.Is6()}
	if proto == wire.ProtoTCP {
		f.CsumOffset = tcpChecksum
		_, err = wire.PutTCP(head[n:], &wire.TCP{SrcPort: 1000, DstPort: 2000, Seq: 1, Flags: wire.ACK})
	} else {
		_, err = wire.PutUDP(head[n:], &wire.UDP{SrcPort: 1000, DstPort: 2000, PayloadLen: len(payload)})
	}
	fatal(t, err)
	fatal(t, wire.FillPartialChecksum(head[n:], proto, wire.PseudoSum(src, dst, proto, l4+len(payload))))
	f.Head = head[:n+l4]
	third := len(payload) / 3
	f.Payload = [2][]byte{payload[:third], payload[third:]}
	return f
}

// whole is f as one piece, as it is before it is sent.
func whole(f *driver.TxFrame) []byte {
	b := append([]byte(nil), f.Head...)
	return append(append(b, f.Payload[0]...), f.Payload[1]...)
}

// tagged is an Ethernet frame with a VLAN tag put into it.
func tagged(frame []byte, tci uint16) []byte {
	b := append([]byte(nil), frame[:12]...)
	b = binary.BigEndian.AppendUint16(b, 0x8100)
	b = binary.BigEndian.AppendUint16(b, tci)
	return append(b, frame[12:]...)
}

// count is the number of buffers at a place.
func (l *ledger) count(at place) (n int) {
	for _, p := range l.places {
		if p == at {
			n++
		}
	}
	return n
}
