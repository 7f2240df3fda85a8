//go:build linux

package kernel

import (
	"net"
	"net/netip"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/zctap/zctap/internal/buf"
	"github.com/zctap/zctap/internal/engine"
	"github.com/zctap/zctap/internal/sockq"
)

// BenchmarkReceive receives a bulk stream on loopback: with each variant of the
// engine, and with net.Conn for comparison.
func BenchmarkReceive(b *testing.B) {
	const piece = 1 << 18
	for _, conns := range []int{1, 16} {
		name := map[int]string{1: "1conn", 16: "16conns"}[conns]
		for _, v := range variants() {
			b.Run(name+"/"+v.name, func(b *testing.B) {
				region, err := buf.NewRegion(buf.RegionConfig{Buffers: 4096})
				if err != nil {
					b.Fatal(err)
				}
				cfg := engine.Config{Pool: buf.NewPool(region), CQ: sockq.NewCQ()}
				candidates, err := choose(v.o)
				if err != nil {
					b.Fatal(err)
				}
				t := defaults(cfg, v.o)
				t.plain = v.plain
				e, err := start(cfg, candidates, t)
				if err != nil {
					b.Fatal(err)
				}
				defer e.Close()
				ln, err := e.Listen("tcp", netip.AddrPortFrom(loopback4, 0), 0)
				if err != nil {
					b.Fatal(err)
				}
				flood(b, ln.Addr().String(), conns, piece)
				done := make(chan struct{}, conns)
				stop := cpuTime(b, piece)
				for i := range conns {
					c, err := ln.Backlog().Accept()
					if err != nil {
						b.Fatal(err)
					}
					go func() {
						defer func() { closeConn(c); done <- struct{}{} }()
						iovs := make([]buf.Iov, 64)
						left := piece * share(b.N, conns, i)
						for left > 0 {
							n, err := c.Queue().Recv(iovs, left)
							if err != nil {
								b.Error(err)
								return
							}
							for k := range iovs[:n] {
								left -= len(iovs[k].Bytes())
							}
							cfg.Pool.Return(iovs[:n])
						}
					}()
				}
				for range conns {
					<-done
				}
				stop()
			})
		}
		b.Run(name+"/net.Conn", func(b *testing.B) {
			ln, err := net.Listen("tcp", "127.0.0.1:0")
			if err != nil {
				b.Fatal(err)
			}
			defer ln.Close()
			flood(b, ln.Addr().String(), conns, piece)
			done := make(chan struct{}, conns)
			stop := cpuTime(b, piece)
			for i := range conns {
				c, err := ln.Accept()
				if err != nil {
					b.Fatal(err)
				}
				go func() {
					defer func() { c.Close(); done <- struct{}{} }()
					buffer := make([]byte, 1<<16)
					for left := piece * share(b.N, conns, i); left > 0; {
						n, err := c.Read(buffer[:min(left, len(buffer))])
						if err != nil {
							b.Error(err)
							return
						}
						left -= n
					}
				}()
			}
			for range conns {
				<-done
			}
			stop()
		})
	}
}

// cpuTime begins to measure; stop reports, beside the rate, the CPU time of the
// process, both ends and the kernel's part included: what a busy machine
// distorts less.
func cpuTime(b *testing.B, size int) (stop func()) {
	used := func() time.Duration {
		var r unix.Rusage
		if err := unix.Getrusage(unix.RUSAGE_SELF, &r); err != nil {
			b.Fatal(err)
		}
		return time.Duration(r.Utime.Nano() + r.Stime.Nano())
	}
	b.SetBytes(int64(size))
	before := used()
	return func() {
		b.StopTimer()
		b.ReportMetric((used()-before).Seconds()/float64(size*b.N)*1e9, "cpu-s/GB")
	}
}

// share is the i-th of n parts of total.
func share(total, n, i int) int { return total*(i+1)/n - total*i/n }

// flood sends without end on n connections, until each is reset.
func flood(b *testing.B, addr string, n, piece int) {
	for range n {
		c, err := net.Dial("tcp", addr)
		if err != nil {
			b.Fatal(err)
		}
		go func() {
			defer c.Close()
			buffer := make([]byte, piece)
			for {
				if _, err := c.Write(buffer); err != nil {
					return
				}
			}
		}()
	}
}
