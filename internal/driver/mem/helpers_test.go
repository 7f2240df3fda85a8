package mem

import (
	"bytes"
	"encoding/binary"
	"math/rand/v2"
	"net/netip"
	"testing"

	"github.com/zctap/zctap/internal/buf"
	"github.com/zctap/zctap/internal/buf/buftest"
	"github.com/zctap/zctap/internal/driver"
	"github.com/zctap/zctap/internal/testenv"
	"github.com/zctap/zctap/internal/wire"
)

func TestMain(m *testing.M) { testenv.Main(m) }

// pipe makes a wire, with pools of 64 buffers where the configs have none.
func pipe(t testing.TB, a, b Config) (*End, *End) {
	t.Helper()
	for _, c := range []*Config{&a, &b} {
		if c.Pool == nil {
			c.Pool = buftest.Heap(t, 64)
		}
	}
	x, y, err := Pipe(a, b)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		for _, e := range []*End{x, y} {
			if err := e.Close(); err != nil {
				t.Errorf("Close: %v", err)
			}
		}
	})
	return x, y
}

var (
	src4, dst4 = netip.MustParseAddr("192.0.2.1"), netip.MustParseAddr("192.0.2.2")
	src6, dst6 = netip.MustParseAddr("2001:db8::1"), netip.MustParseAddr("2001:db8::2")
)

// udpFrame is a datagram whose checksum the device is to complete.
func udpFrame(t testing.TB, src, dst netip.Addr, payload []byte) driver.TxFrame {
	t.Helper()
	return frame(t, src, dst, wire.ProtoUDP, 8, func(b []byte) (int, error) {
		return wire.PutUDP(b, &wire.UDP{SrcPort: 1, DstPort: 2, PayloadLen: len(payload)})
	}, payload)
}

// tcpFrame is a segment whose checksum the device is to complete.
func tcpFrame(t testing.TB, src, dst netip.Addr, o wire.TCPOptions, payload []byte) driver.TxFrame {
	t.Helper()
	h := wire.TCP{SrcPort: 1, DstPort: 2, Flags: wire.ACK, Options: o}
	return frame(t, src, dst, wire.ProtoTCP, h.HeaderLen(), func(b []byte) (int, error) {
		return wire.PutTCP(b, &h)
	}, payload)
}

func frame(t testing.TB, src, dst netip.Addr, proto uint8, l4 int, put func([]byte) (int, error), payload []byte) driver.TxFrame {
	t.Helper()
	ip := wire.IPHeader{Src: src, Dst: dst, Proto: proto, HopLimit: 64, PayloadLen: l4 + len(payload)}
	head := make([]byte, ip.Len()+l4)
	if _, err := wire.PutIP(head, &ip); err != nil {
		t.Fatal(err)
	}
	if _, err := put(head[ip.Len():]); err != nil {
		t.Fatal(err)
	}
	sum := wire.PseudoSum(src, dst, proto, ip.PayloadLen)
	if err := wire.FillPartialChecksum(head[ip.Len():], proto, sum); err != nil {
		t.Fatal(err)
	}
	half := len(payload) / 3
	offset := 16
	if proto == wire.ProtoUDP {
		offset = 6
	}
	return driver.TxFrame{
		Head: head, Payload: [2][]byte{payload[:half], payload[half:]},
		CsumStart: ip.Len(), CsumOffset: offset, IPv6: src.Is6(),
	}
}

// pattern is n bytes that tell their place and the number of their frame.
func pattern(seed uint64, n int) []byte {
	r := rand.New(rand.NewPCG(seed, 1))
	b := make([]byte, n+8)
	for i := 0; i < n; i += 8 {
		binary.LittleEndian.PutUint64(b[i:], r.Uint64())
	}
	return b[:n]
}

func flat(f *driver.TxFrame) []byte {
	return bytes.Join([][]byte{f.Head, f.Payload[0], f.Payload[1]}, nil)
}

// contents are the bytes of a received frame.
func contents(p *buf.Pool, f *driver.Frame) []byte {
	b := bytes.Clone(f.Head)
	for _, frag := range f.Frags {
		b = append(b, p.Region().View(frag)...)
	}
	return b
}

// send sends all frames, or fails the test.
func send(t testing.TB, e *End, frames ...driver.TxFrame) {
	t.Helper()
	if n, err := e.Send(0, frames); n != len(frames) || err != nil {
		t.Fatalf("Send = %d, %v; want %d", n, err, len(frames))
	}
}

// poll polls for want frames, or fails the test.
func poll(t testing.TB, e *End, b *driver.Batch, want int) []driver.Frame {
	t.Helper()
	if err := e.Poll(0, b); err != nil {
		t.Fatal(err)
	}
	if len(b.Frames) != want {
		t.Fatalf("Poll gave %d frames, want %d", len(b.Frames), want)
	}
	return b.Frames
}

// put puts the batch's buffers back.
func put(p *buf.Pool, b *driver.Batch) { p.PutFrags(b.Frags) }

func statsOf(e *End) (s driver.Stats) { e.Stats(&s); return s }
