package zctap_test

import (
	"io"
	"net"
	"testing"

	"github.com/zctap/zctap"
)

// benchmarkReceive is one op for each 60 KiB that arrive over a wire in memory
// from a second queue: the peer's sending and the wire's copies are in it, on
// both sides of the comparison alike.
func benchmarkReceive(b *testing.B, bufferSize int, receive func(q *zctap.Queue, c *zctap.Conn, total int64)) {
	const segment = 60 << 10
	q, peer, err := zctap.OpenPair(zctap.Config{BufferSize: bufferSize}, zctap.Config{})
	if err != nil {
		b.Fatal(err)
	}
	defer peer.Close()
	defer q.Close()
	ln, err := q.Listen("tcp", ":0")
	if err != nil {
		b.Fatal(err)
	}
	_, port, _ := net.SplitHostPort(ln.Addr().String())
	p, err := peer.Dial("tcp", net.JoinHostPort("192.0.2.1", port))
	if err != nil {
		b.Fatal(err)
	}
	c, err := ln.AcceptZC()
	if err != nil {
		b.Fatal(err)
	}
	b.SetBytes(segment)
	b.ReportAllocs()
	b.ResetTimer()
	total := int64(b.N) * segment
	go func() {
		block := make([]byte, segment)
		for range b.N {
			if _, err := p.Write(block); err != nil {
				return
			}
		}
	}()
	receive(q, c, total)
}

func BenchmarkRecvZC60K(b *testing.B) {
	for _, size := range []struct {
		name  string
		bytes int
	}{{"4KiB", 4 << 10}, {"64KiB", 64 << 10}} {
		b.Run(size.name, func(b *testing.B) {
			benchmarkReceive(b, size.bytes, func(q *zctap.Queue, c *zctap.Conn, total int64) {
				iovs := make([]zctap.Iov, 64)
				for got := int64(0); got < total; {
					n, err := c.RecvZC(iovs)
					if err != nil {
						b.Fatal(err)
					}
					for i := range iovs[:n] {
						got += int64(iovs[i].Len())
					}
					if _, err := q.Release(iovs[:n]); err != nil {
						b.Fatal(err)
					}
				}
			})
		})
	}
}

// The same connection, received with a copy.
func BenchmarkRead60K(b *testing.B) {
	benchmarkReceive(b, 4<<10, func(_ *zctap.Queue, c *zctap.Conn, total int64) {
		if _, err := io.CopyBuffer(struct{ io.Writer }{io.Discard}, io.LimitReader(struct{ io.Reader }{c}, total), make([]byte, 128<<10)); err != nil {
			b.Fatal(err)
		}
	})
}

// benchmarkDatagrams is one op for each datagram of 1,448 bytes that is received over
// a wire in memory from a second queue, which sends as fast as it can: its work and the
// wire's copies are in it, on both sides of the comparison alike.
func benchmarkDatagrams(b *testing.B, receive func(q *zctap.Queue, c *zctap.PacketConn, n int) error) {
	const size = 1448
	q, peer, err := zctap.OpenPair(zctap.Config{}, zctap.Config{})
	if err != nil {
		b.Fatal(err)
	}
	defer q.Close()
	c, err := q.ListenPacket("udp4", ":0")
	if err != nil {
		b.Fatal(err)
	}
	_, port, _ := net.SplitHostPort(c.LocalAddr().String())
	p, err := peer.DialPacket("udp4", net.JoinHostPort("192.0.2.1", port))
	if err != nil {
		b.Fatal(err)
	}
	sent := make(chan struct{})
	go func() {
		defer close(sent)
		for block := make([]byte, size); ; {
			if _, err := p.Write(block); err != nil {
				return // closed
			}
		}
	}()
	b.SetBytes(size)
	b.ReportAllocs()
	b.ResetTimer()
	if err := receive(q, c, b.N); err != nil {
		b.Fatal(err)
	}
	b.StopTimer()
	peer.Close()
	<-sent
}

func BenchmarkUDPRecvFromZC(b *testing.B) {
	benchmarkDatagrams(b, func(q *zctap.Queue, c *zctap.PacketConn, n int) error {
		iovs, dgrams := make([]zctap.Iov, 256), make([]zctap.Datagram, 256)
		for n > 0 {
			k, err := c.RecvFromZC(iovs, dgrams)
			if err != nil {
				return err
			}
			used := 0
			for i := range dgrams[:k] {
				used += dgrams[i].Iovs
			}
			if _, err := q.Release(iovs[:used]); err != nil {
				return err
			}
			n -= k
		}
		return nil
	})
}

// The same socket, received with a copy.
func BenchmarkUDPReadFrom(b *testing.B) {
	benchmarkDatagrams(b, func(_ *zctap.Queue, c *zctap.PacketConn, n int) error {
		p := make([]byte, 2048)
		for range n {
			if _, _, err := c.ReadFromAddrPort(p); err != nil {
				return err
			}
		}
		return nil
	})
}
