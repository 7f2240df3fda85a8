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
