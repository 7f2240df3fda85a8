//go:build linux

package xdp

import (
	"net/netip"
	"testing"
	"time"

	"github.com/zctap/zctap/internal/driver"
	"github.com/zctap/zctap/internal/wire"
)

// BenchmarkPoll is what Poll costs for a frame, without the kernel: ns/frame is
// taken around Poll alone, ns/op has the fake kernel's part as well.
func BenchmarkPoll(b *testing.B) {
	udp, jumbo := packetTo(b, dst4, wire.ProtoUDP, noise(1, 1400)), packetTo(b, dst4, wire.ProtoUDP, noise(1, 8900))
	for _, bb := range []struct {
		name    string
		frame   []byte
		partial bool
	}{
		{"1500", whole(&udp), false},
		{"1500/partial", whole(&udp), true},
		{"9000/partial", whole(&jumbo), true},
	} {
		b.Run(bb.name, func(b *testing.B) {
			d, ks := fake(b, fakeConfig(newPool(b, 2048, false), 1024, 32), 1)
			d.partial = bb.partial
			batch := driver.NewBatch(256, 1024)
			var took time.Duration
			for n := 0; n < b.N; {
				burst := min(256, b.N-n)
				for range burst {
					ks[0].deliver(bb.frame)
				}
				began := time.Now()
				if err := d.Poll(0, batch); err != nil {
					b.Fatal(err)
				}
				took += time.Since(began)
				if len(batch.Frames) != burst {
					b.Fatal(len(batch.Frames))
				}
				n += burst
				put(d, batch)
			}
			b.ReportMetric(float64(took.Nanoseconds())/float64(b.N), "ns/frame")
		})
	}
}

// BenchmarkSend is what a frame costs to send, without the kernel.
func BenchmarkSend(b *testing.B) {
	for _, bb := range []struct {
		name string
		size int
	}{{"ACK", 0}, {"1500", 1440}, {"9000", 8900}} {
		b.Run(bb.name, func(b *testing.B) {
			d, ks := fake(b, fakeConfig(newPool(b, 1024, false), 64, 256), 1)
			*ks[0].txFlags = 0 // no system calls
			f := packetTo(b, dst4, wire.ProtoTCP, noise(1, bb.size))
			frames := make([]driver.TxFrame, 64)
			for i := range frames {
				frames[i] = f
			}
			b.SetBytes(int64(f.Len()))
			var took time.Duration
			for n := 0; n < b.N; {
				burst := min(len(frames), b.N-n)
				began := time.Now()
				if k, err := d.Send(0, frames[:burst]); k != burst || err != nil {
					b.Fatal(k, err)
				}
				took += time.Since(began)
				n += burst
				complete(ks[0])
			}
			b.ReportMetric(float64(took.Nanoseconds())/float64(b.N), "ns/frame")
		})
	}
}

// complete completes all that is in the TX ring, without a look at it.
func complete(k *kernel) {
	i, n := k.tx.Peek(k.tx.Size())
	for j := range n {
		k.complete(k.out[(i+j)&k.tx.Mask()].Addr)
	}
	k.tx.Release(n)
}

// BenchmarkNSVeth is the way of a datagram from the kernel's UDP over veth to a
// batch: nearly all of it is the kernel's, in ns/op; ns/frame is Poll's.
func BenchmarkNSVeth(b *testing.B) {
	w := newWorld(b, worldOptions{only4: true})
	d := w.open(w.config(2048))
	conn := w.dialUDP(netip.AddrPortFrom(ours4, 7))
	payload := noise(1, 1400)
	batch := driver.NewBatch(256, 512)
	var took time.Duration
	for n := 0; n < b.N; {
		burst := min(64, b.N-n)
		write(b, conn, payload, burst)
		for got := 0; got < burst; got += len(batch.Frames) {
			began := time.Now()
			if err := d.Poll(0, batch); err != nil {
				b.Fatal(err)
			}
			took += time.Since(began)
			put(d, batch)
		}
		n += burst
	}
	b.ReportMetric(float64(took.Nanoseconds())/float64(b.N), "ns/frame")
	if s := statsOf(d); s.RxNoBuffer != 0 {
		b.Errorf("%d frames dropped", s.RxNoBuffer)
	}
}
