//go:build linux

package tun

import (
	"bytes"
	"encoding/binary"
	"math/rand/v2"
	"net/netip"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/zctap/zctap/internal/buf"
	"github.com/zctap/zctap/internal/buf/buftest"
	"github.com/zctap/zctap/internal/driver"
	"github.com/zctap/zctap/internal/wire"
)

// newPool makes a pool, of heap memory unless mapped is set, and checks at the
// test's end that every buffer is back.
func newPool(t testing.TB, buffers int, mapped bool) *buf.Pool {
	t.Helper()
	return buftest.Pool(t, buf.RegionConfig{Buffers: buffers, Heap: !mapped})
}

// fake is a driver of one end of a pair of sockets that, as a TUN device file
// does, keep the boundaries of what is written; kernel is the other end.
func fake(t testing.TB, buffers int) (d *Driver, kernel int) {
	t.Helper()
	fds, err := unix.Socketpair(unix.AF_UNIX, unix.SOCK_SEQPACKET|unix.SOCK_NONBLOCK|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		t.Fatal(err)
	}
	d, err = newDriver(fds[0], "fake0", 1500, newPool(t, buffers, false))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := d.Close(); err != nil {
			t.Errorf("Close: %v", err)
		}
		if err := unix.Close(fds[1]); err != nil {
			t.Error(err)
		}
	})
	return d, fds[1]
}

// deliver has the kernel hand over a packet.
func deliver(t testing.TB, kernel int, v wire.VnetHdr, packet []byte) {
	t.Helper()
	b := make([]byte, vnetLen, vnetLen+len(packet))
	if _, err := wire.PutVnetHdr(b, len(packet), &v); err != nil {
		t.Fatal(err)
	}
	deliverRaw(t, kernel, append(b, packet...))
}

func deliverRaw(t testing.TB, kernel int, b []byte) {
	t.Helper()
	if _, err := unix.Write(kernel, b); err != nil {
		t.Fatalf("write %d bytes: %v", len(b), err)
	}
}

// taken is what the driver has sent to the kernel: one packet.
func taken(t testing.TB, kernel int) (v wire.VnetHdr, packet []byte) {
	t.Helper()
	b := make([]byte, 1<<17)
	n, err := unix.Read(kernel, b)
	if err != nil {
		t.Fatal(err)
	}
	if n < vnetLen {
		t.Fatalf("a packet of %d bytes", n)
	}
	if c := wire.ParseVnetHdr(b[:vnetLen], n-vnetLen, &v); c != wire.OK {
		t.Fatalf("virtio_net_hdr %x: %v", b[:vnetLen], c)
	}
	return v, b[vnetLen:n]
}

var (
	src4, dst4 = netip.MustParseAddr("192.0.2.1"), netip.MustParseAddr("192.0.2.2")
	src6, dst6 = netip.MustParseAddr("2001:db8::1"), netip.MustParseAddr("2001:db8::2")
)

// A flow makes packets from one address and port to another.
type flow struct {
	src, dst netip.AddrPort
}

var (
	flow4 = flow{netip.AddrPortFrom(src4, 1000), netip.AddrPortFrom(dst4, 2000)}
	flow6 = flow{netip.AddrPortFrom(src6, 1000), netip.AddrPortFrom(dst6, 2000)}
)

// udp is a datagram whose checksum the other side is to complete.
func (f flow) udp(t testing.TB, payload []byte) driver.TxFrame {
	t.Helper()
	return f.frame(t, wire.ProtoUDP, wire.UDPHeaderLen, 6, payload, func(b []byte) (int, error) {
		return wire.PutUDP(b, &wire.UDP{SrcPort: f.src.Port(), DstPort: f.dst.Port(), PayloadLen: len(payload)})
	})
}

// tcp is a segment whose checksum the other side is to complete. h's ports are
// the flow's.
func (f flow) tcp(t testing.TB, h wire.TCP, payload []byte) driver.TxFrame {
	t.Helper()
	h.SrcPort, h.DstPort = f.src.Port(), f.dst.Port()
	return f.frame(t, wire.ProtoTCP, h.HeaderLen(), tcpChecksum, payload, func(b []byte) (int, error) {
		return wire.PutTCP(b, &h)
	})
}

// frame is a packet with a transport header that put writes.
func (f flow) frame(t testing.TB, proto uint8, l4, sum int, payload []byte, put func([]byte) (int, error)) driver.TxFrame {
	t.Helper()
	src, dst := f.src.Addr(), f.dst.Addr()
	ip := wire.IPHeader{Src: src, Dst: dst, Proto: proto, HopLimit: 64, PayloadLen: l4 + len(payload)}
	head := make([]byte, ip.Len()+l4)
	if _, err := wire.PutIP(head, &ip); err != nil {
		t.Fatal(err)
	}
	if _, err := put(head[ip.Len():]); err != nil {
		t.Fatal(err)
	}
	pseudo := wire.PseudoSum(src, dst, proto, ip.PayloadLen)
	if err := wire.FillPartialChecksum(head[ip.Len():], proto, pseudo); err != nil {
		t.Fatal(err)
	}
	third := len(payload) / 3
	return driver.TxFrame{
		Head: head, Payload: [2][]byte{payload[:third], payload[third:]},
		CsumStart: ip.Len(), CsumOffset: sum, IPv6: src.Is6(),
	}
}

func flat(f driver.TxFrame) []byte {
	return bytes.Join([][]byte{f.Head, f.Payload[0], f.Payload[1]}, nil)
}

// noise is n bytes that tell their place, the same for equal seeds.
func noise(seed uint64, n int) []byte {
	r := rand.New(rand.NewPCG(seed, 1))
	b := make([]byte, n+8)
	for i := 0; i < n; i += 8 {
		binary.LittleEndian.PutUint64(b[i:], r.Uint64())
	}
	return b[:n]
}

// contents are the bytes of a received frame.
func contents(p *buf.Pool, f *driver.Frame) []byte {
	b := bytes.Clone(f.Head)
	for _, frag := range f.Frags {
		b = append(b, p.Region().View(frag)...)
	}
	return b
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

// put puts the batch's buffers back.
func put(d *Driver, b *driver.Batch) { d.rx.pool.PutFrags(b.Frags) }

func statsOf(d *Driver) (s driver.Stats) { d.Stats(&s); return s }
